"""TAC-GAN: GAN-CLS with an auxiliary classifier (Dash et al., 2017).

Ayushman Dash, John Gamboa, Sheraz Ahmed, Marcus Liwicki and Muhammad Zeshan Afzal, "TAC-GAN - Text Conditioned Auxiliary Classifier
Generative Adversarial Network", arXiv:1703.06412. The generator reads a caption; the discriminator reads it too, and says of every picture
whether it is real *and* fits the caption, and what class it is. Networks, losses and the order of updates follow the authors' TensorFlow
code (github.com/dashayushman/TAC-GAN, commit f6e7257), which was read, not run:

- the class loss is a binary cross-entropy for each class, the mean over batch and classes;
- the mismatched pair is a wrong *picture* with the right caption, and keeps the class of that picture;
- the discriminator's loss includes the classes of generated pictures; no term has a weight;
- the generator takes two steps on the same captions and noise for each of the discriminator's;
- batch normalisation has a shift and no scale, epsilon 1e-3 and statistics with a decay of .999;
- widths, batch and epochs are those of the command that the README gives for the paper, not the defaults of the script.

Differences from the code: pictures lie in [-1, 1] and not in 0..1; a wrong picture is of another class, as in every method here, while the
code draws from all pictures and may draw the same one; strided convolutions pad two pixels on either side, while TensorFlow pads one and
two, which shifts filters by a pixel; painting uses running statistics, while the authors paint batches of 64 and use their statistics.

Sizes other than 128 px keep four levels, as `image_size` does there: the smallest map is a sixteenth of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import UniformNoise, VectorNoise, gaussian, uniform
from limner.core.settings import Preset, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import PairMethod, smoothed
from limner.families.auxiliary import ClassLoss, Verdict, VerdictHeads, class_accuracy, class_loss, classes_of, require_classes
from limner.families.matching_aware import bce, mean_sentence, mismatched_pairs, neighbours
from limner.nn.initialization import he_initialization

LEVELS = 4
"""How often the generator doubles and the discriminator halves."""


@dataclass(frozen=True, kw_only=True)
class TACGANSettings(
    shared.MismatchSettings,
    shared.CaptionSettings,
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of TAC-GAN; the defaults are those of the authors' flowers model."""

    noise: Literal["uniform", "normal"] = "uniform"
    """Distribution of z: uniform between -1 and 1, as in the authors' code, or standard normal, which the style encoder needs."""
    text_width: int = 100
    """Width to which the sentence embedding is projected in both networks (the script's default is 256)."""
    generator_channels: int = 64
    """Channels of the generator's last hidden feature map; earlier ones double."""
    discriminator_channels: int = 64
    """Channels of the discriminator's first feature map; later ones double."""
    class_loss: ClassLoss = "sigmoid"
    """The class loss: `sigmoid`, a binary cross-entropy for each class, as in the authors' code, or `softmax`, one over all classes."""
    class_weight: float = 1.0
    """Weight of every class term; 0 trains without classes."""
    class_of_generated: bool = True
    """Whether the discriminator learns classes from generated pictures too, as published; the two networks may then collude."""
    generator_steps: int = 2
    """Steps of the generator, on the same captions and noise, for each of the discriminator's."""
    statistics_decay: float = 0.999
    """Decay of the running statistics of batch normalisation, which are used for painting."""
    epochs: float = 400.0
    """Passes over the training pictures."""
    batch_size: int = 128
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 1, "text_width", "generator_channels", "discriminator_channels", "generator_steps")
        at_least(self, "method", 0, "class_weight")
        shared.below_one(self, "statistics_decay")


class TACGAN(PairMethod[VectorNoise | UniformNoise]):
    """The authors' networks and losses."""

    Settings = TACGANSettings
    title = "TAC-GAN"
    paper = "Dash et al., TAC-GAN - Text Conditioned Auxiliary Classifier Generative Adversarial Network, 2017, arXiv:1703.06412"
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule at 128 px, for a GPU.",
            resolution=128,
            training={"ema_half_life": 0.0},  # the authors keep no running average
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_PAIRS,
                "noise": "normal",
                "generator_channels": 16,
                "discriminator_channels": 16,
                "class_of_generated": False,
                "generator_steps": 1,
                "statistics_decay": 0.9,
            },
        ),
    }
    settings: TACGANSettings
    generator: Generator
    discriminator: Discriminator

    def __init__(self, settings: TACGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        if settings.class_weight:
            require_classes(conditions, "tac-gan", "train gan-cls, or tac-gan with method.class-weight 0")
        self.generator = Generator(settings, conditions)
        self.discriminator = Discriminator(settings, conditions)
        self.apply(xavier_initialization)
        if not settings.discriminator_normalization:
            self.discriminator.apply(he_initialization)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        condition = mean_sentence(batch)  # [B, D]
        z = self.noise(batch, "train").z
        fake = self.generator(z, condition)  # [B, 3, R, R]
        yield self._discriminator_update(batch, condition, fake.detach(), self.penalty(progress))
        for number in range(self.settings.generator_steps):
            if number:
                fake = self.generator(z, condition)  # again: the generator has changed
            yield self._generator_update(batch, condition, fake)

    def _discriminator_update(self, batch: Batch, condition: Tensor, fake: Tensor, penalty: float) -> Update:
        settings = self.settings
        features = self.discriminator.look(batch.pictures)  # [B, 8 C, R / 16, R / 16]
        other, wrong = mismatched_pairs(self.discriminator.look, batch, features, condition, settings.mismatch, settings.counterfactual)
        verdicts = {
            "real": self.discriminator.match(features, condition),
            "mismatched": self.discriminator.match(other, wrong),
            "fake": self.discriminator(fake, condition),
        }
        terms = {name: bce(verdict.source, float(name == "real")) for name, verdict in verdicts.items()}
        metrics = {name: verdict.source.detach().sigmoid().mean() for name, verdict in verdicts.items()}
        if settings.class_weight:
            own = classes_of(batch)
            classes = {"real": own, "mismatched": self._classes_of_mismatched(batch), "fake": own}
            if not settings.class_of_generated:
                del classes["fake"]
            for name, ids in classes.items():
                terms[f"{name}_class"] = settings.class_weight * class_loss(verdicts[name].classes, ids, settings.class_loss)
            metrics["class"] = terms["real_class"].detach()
            metrics["class_accuracy"] = class_accuracy(verdicts["real"].classes, own)
        loss = torch.stack(list(terms.values())).sum()
        update = Update("discriminator", loss, metrics)
        return smoothed(update, penalty, (lambda pictures: self.discriminator(pictures, condition.float()).source, batch.pictures))

    def _classes_of_mismatched(self, batch: Batch) -> Tensor:
        """The classes of the mismatched pairs' pictures, whatever their captions say: [B]."""
        if self.settings.mismatch == "caption":
            return classes_of(batch)
        if self.settings.mismatch == "neighbour":
            return neighbours(classes_of(batch), batch, self.settings.counterfactual)
        count = batch.rows_of(self.settings.counterfactual)  # these keep their pictures
        return torch.cat([classes_of(batch)[:count], classes_of(batch.mismatched)[count:]])

    def _generator_update(self, batch: Batch, condition: Tensor, fake: Tensor) -> Update:
        """BCE(fake, 1) and the class of the caption's own picture."""
        settings = self.settings
        verdict = self.discriminator(fake, condition)
        loss = bce(verdict.source, 1.0)
        if not settings.class_weight:
            return Update("generator", loss)
        of_class = settings.class_weight * class_loss(verdict.classes, classes_of(batch), settings.class_loss)
        metrics = {"class": of_class.detach(), "class_accuracy": class_accuracy(verdict.classes, classes_of(batch))}
        return Update("generator", loss + of_class, metrics)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise | UniformNoise:
        width = (self.settings.noise_width,)
        if self.settings.noise == "uniform":
            return UniformNoise((2.0 * uniform(width, seed, samples, stream) - 1.0).float())
        return VectorNoise(gaussian(width, seed, samples, stream))

    def paint(self, text: TextFeatures, noise: VectorNoise | UniformNoise) -> Painting:
        return Painting(self.generator(noise.z, text.sentence))

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's map before it reads the text, place by place: [B, 8 C R / 16 R / 16]."""
        return self.discriminator.look(pictures).flatten(1)


class Generator(nn.Module):
    """Noise and projected sentence, one linear map to the smallest feature map, and 5x5 transposed convolutions up."""

    def __init__(self, settings: TACGANSettings, conditions: Conditions) -> None:
        super().__init__()
        widths = [settings.generator_channels * 2**level for level in reversed(range(LEVELS))]  # coarse to fine
        self.side = smallest_side(conditions.resolution)
        self.text = nn.Sequential(nn.Linear(conditions.sentence_width, settings.text_width), nn.LeakyReLU(0.2, inplace=True))
        self.first = nn.Linear(settings.noise_width + settings.text_width, widths[0] * self.side**2)
        layers: list[nn.Module] = []
        for wide, narrow in zip(widths, [*widths[1:], 3], strict=True):
            layers += [ShiftedBatchNorm(wide, settings.statistics_decay), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(wide, narrow, 5, 2, padding=2, output_padding=1)]
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor, sentence: Tensor) -> Tensor:
        """z: [B, Z], sentence: [B, D] -> [B, 3, R, R] in [-1, 1]."""
        first = self.first(torch.cat([z, self.text(sentence)], dim=1))  # noise first, as in the authors' code
        return self.layers(first.unflatten(1, (-1, self.side, self.side)))


class Discriminator(nn.Module):
    """Is the picture real *and* of this sentence, and what class is it? The sentence joins every place of the last map."""

    def __init__(self, settings: TACGANSettings, conditions: Conditions) -> None:
        super().__init__()
        widths = [settings.discriminator_channels * 2**level for level in range(LEVELS)]
        side, top = smallest_side(conditions.resolution), widths[-1]

        def after(width: int) -> list[nn.Module]:
            normalized = [ShiftedBatchNorm(width, settings.statistics_decay)] if settings.discriminator_normalization else []
            return [*normalized, nn.LeakyReLU(0.2, inplace=True)]

        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 5, 2, padding=2), nn.LeakyReLU(0.2, inplace=True)]
        for narrow, wide in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(narrow, wide, 5, 2, padding=2), *after(wide)]
        self.picture = nn.Sequential(*layers)
        self.text = nn.Sequential(nn.Linear(conditions.sentence_width, settings.text_width), nn.LeakyReLU(0.2, inplace=True))
        self.joint = nn.Sequential(nn.Conv2d(top + settings.text_width, top, 1), *after(top), nn.Flatten())
        self.heads = VerdictHeads(top * side**2, conditions.class_count if settings.class_weight else 0)

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C, R / 16, R / 16]: features that serve several captions."""
        return self.picture(pictures)

    def match(self, features: Tensor, sentence: Tensor) -> Verdict:
        """[B, C, R / 16, R / 16] and [B, D] -> logits of source and class, both of which see the sentence."""
        text = self.text(sentence)[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return self.heads(self.joint(torch.cat([features, text], dim=1)))

    def forward(self, pictures: Tensor, sentence: Tensor) -> Verdict:
        """[B, 3, R, R] in [-1, 1] and [B, D] -> logits of source and class."""
        return self.match(self.look(pictures), sentence)


class ShiftedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with the defaults of TensorFlow-Slim: a shift, no scale, epsilon 1e-3."""

    def __init__(self, channels: int, decay: float) -> None:
        super().__init__(channels, eps=1e-3, momentum=1.0 - decay)
        self.register_parameter("weight", None)


def xavier_initialization(module: nn.Module) -> None:
    """Glorot and Bengio (AISTATS 2010), uniform, with biases 0, for every convolution and linear map. For `Module.apply`."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def smallest_side(resolution: int) -> int:
    """Side of the smallest feature map. Raises SettingsError for a resolution that cannot be halved so often."""
    if resolution < 2**LEVELS or resolution & (resolution - 1):
        raise SettingsError(f"tac-gan cannot paint at {resolution} px: choose a power of two from {2**LEVELS} (128 as published)")
    return resolution >> LEVELS
