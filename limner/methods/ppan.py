"""PPAN: one pyramid of features that paints every size, with discriminators and a perceptual loss (Gao et al., AAAI 2019).

Lianli Gao, Daiyuan Chen, Jingkuan Song, Xing Xu, Dongxiang Zhang and Heng Tao Shen, "Perceptual Pyramid Adversarial Networks for
Text-to-Image Synthesis". The authors published no code. From the paper:

- one generator, fed with noise and the conditioning augmentation of the sentence, paints 64, 128 and 256 px in one pass from a pyramid of
  features with lateral connections, convolutions doing the up-sampling;
- three independent discriminators, one a size, with several purposes: does the picture match the text (true, generated and mismatched
  pairs), is it real place by place, and, at the largest size, of which class is it;
- the generator's loss has a perceptual term: features of a frozen VGG, of the generated picture and of the real one of the same caption.

Reconstructed, because the paper does not say: a trunk of transposed convolutions doubles a 4x4 map up to the full size, as wide as
StackGAN++'s; the pyramid is a feature pyramid network's (Lin et al., CVPR 2017), of one width: a level is a 1x1 convolution of the trunk's
map plus the coarser level, doubled, and a 3x3 convolution of it gives its picture. The discriminators are StackGAN++'s trunks with
GAN-CLS's pair head and weights (1, 1/2, 1/2) and, on the 8x8 map, HDGAN's patch map; the class loss is AC-GAN's, in both networks. The
stage of the VGG, the weights of all terms but the pairs' (1 each; 2 for the divergence, as in StackGAN) and the schedule are choices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import ConditionedNoise, gaussian
from limner.core.settings import Preset, at_least, place
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import PairMethod, smoothed
from limner.families.auxiliary import class_loss, classes_of, require_classes
from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.matching_aware import bce, mean_sentence, mismatched_logits
from limner.families.pair_head import PairHead
from limner.families.stacked import FIRST_SIDE, doubling, doublings, picture_code, to_picture
from limner.features.perceptual import PerceptualLoss
from limner.nn.initialization import dcgan_initialization, he_initialization

SMALLEST_PICTURE = 16
NARROWEST = 8
"""Channels that no feature map of the trunk goes below."""


@dataclass(frozen=True, kw_only=True)
class PPANSettings(
    shared.MismatchWeightSettings,
    shared.MismatchSettings,
    shared.CaptionSettings,
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of PPAN; the defaults are the paper's where it states them, else StackGAN++'s."""

    text_width: int = 128
    """Numbers of a condition that the augmentation samples, and width of the sentence in the discriminators."""
    scales: int = 3
    """Sizes at which pictures are painted, each with a discriminator and half as large as the next: 64, 128 and 256 px as published."""
    generator_channels: int = 64
    """Channels of the trunk's map at 64x64; coarser ones double up to 16 times, finer ones halve down to 8."""
    lateral: bool = True
    """Paint from the pyramid, whose levels join the trunk's maps by lateral connections; without it, from the trunk's maps themselves."""
    pyramid_channels: int = 64
    """Channels of every level of the pyramid."""
    discriminator_channels: int = 64
    """Channels of each discriminator's first feature map; later ones double."""
    perceptual: float = 1.0
    """Weight of the perceptual loss; 0 trains without it, and needs no network."""
    perceptual_network: str = place("vgg19", named=True)
    """The frozen network of the perceptual loss: a name of docs/features.md, or NAME=FILE."""
    perceptual_stage: str = "relu5_4"
    """The stage of that network whose output is compared."""
    perceptual_sizes: Literal["all", "largest"] = "all"
    """The pictures that it compares: those of all sizes, of which the mean counts, or the largest alone."""
    local_weight: float = 1.0
    """Weight of the loss of the discriminators' patch maps, which judge pictures place by place; 0 trains without it."""
    class_weight: float = 1.0
    """Weight of the class loss in both networks; 0 trains without it, which pictures without classes need."""
    divergence_weight: float = 2.0
    """Weight of the augmentation's KL divergence from the standard normal."""
    halve_every: float = 100.0
    """Epochs between halvings of the learning rate; 0 keeps it constant."""
    batch_size: int = 24
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 0, "perceptual", "local_weight", "class_weight", "divergence_weight")
        at_least(self, "method", 1, "text_width", "scales", "generator_channels", "pyramid_channels", "discriminator_channels")


class PPAN(PairMethod[ConditionedNoise]):
    """The pyramid generator, a discriminator for each size, and a frozen network that compares pictures."""

    Settings = PPANSettings
    title = "PPAN"
    paper = "Gao et al., Perceptual Pyramid Adversarial Networks for Text-to-Image Synthesis, AAAI 2019"
    presets = {
        "as-published": Preset(
            sentence="Wide networks, three sizes up to 256 px and VGG-19's features, for a GPU; needs VGG-19's weights.",
            resolution=256,
        ),
        "cpu": Preset(
            sentence="Narrow networks, sizes 32 and 64 px and counterfactual captions, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_PAIRS,
                "scales": 2,
                "generator_channels": 8,
                "pyramid_channels": 16,
                "discriminator_channels": 16,
                "perceptual_network": "garden",
                "perceptual_stage": "layer2",
                "perceptual_sizes": "largest",
                "divergence_weight": 0.05,
            },
        ),
    }
    settings: PPANSettings
    generator: Generator

    def __init__(self, settings: PPANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        doublings(conditions.resolution, "ppan", SMALLEST_PICTURE)
        self.sides = [conditions.resolution >> halvings for halvings in reversed(range(settings.scales))]
        if self.sides[0] < SMALLEST_PICTURE:
            raise SettingsError(
                f"method.scales is {settings.scales}, but the smallest picture at {conditions.resolution} px would have a side of "
                f"{self.sides[0]}: it must have {SMALLEST_PICTURE}"
            )
        if settings.class_weight:
            require_classes(conditions, "ppan", "set --method.class-weight 0")
        self.generator = Generator(settings, conditions, self.sides)
        classes = [0] * (settings.scales - 1) + [conditions.class_count if settings.class_weight else 0]
        self.discriminators = nn.ModuleList(
            Discriminator(settings, conditions, side, count) for side, count in zip(self.sides, classes, strict=True)
        )
        self.generator.apply(dcgan_initialization)
        self.discriminators.apply(dcgan_initialization if settings.discriminator_normalization else he_initialization)

    def players(self) -> dict[str, Player]:
        return {"discriminator": self.player(self.discriminators), "generator": self.player(self.generator, averaged=True)}

    def load_guides(self, phase: Phase) -> None:
        if self.settings.perceptual and "perceptual" not in self.guides:
            self.guide("perceptual", PerceptualLoss(self.settings.perceptual_network, self.settings.perceptual_stage))

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        sentence = mean_sentence(batch)  # [B, D]
        noise = self.noise(batch, "train")
        fakes, condition = self.generator(noise, sentence)
        yield self._discriminator_update(batch, sentence, [fake.detach() for fake in fakes], self.penalty(progress))
        yield self._generator_update(batch, sentence, fakes, condition)

    def _discriminator_update(self, batch: Batch, sentence: Tensor, fakes: list[Tensor], penalty: float) -> Update:
        """The sum of the losses of all sizes; the logged metrics of pairs are those of the largest."""
        settings, weight = self.settings, self.settings.mismatch_weight
        loss, metrics = sentence.new_zeros(()), dict[str, Tensor]()
        for discriminator, side, fake in zip(self._scale_discriminators(), self.sides, fakes, strict=True):
            view = at_side(batch, side)
            real, generated = discriminator(view.pictures, sentence), discriminator(fake, sentence)
            loss = loss + bce(real.pair, 1.0) + (1.0 - weight) * bce(generated.pair, 0.0)
            metrics |= {"real": real.pair.detach().sigmoid().mean(), "fake": generated.pair.detach().sigmoid().mean()}
            if weight:
                mismatched = mismatched_logits(discriminator, view, real.code, sentence, settings.mismatch, settings.counterfactual)
                loss = loss + weight * bce(mismatched, 0.0)
                metrics["mismatched"] = mismatched.detach().sigmoid().mean()
            if settings.local_weight:
                loss = loss + settings.local_weight * (bce(real.places, 1.0) + bce(generated.places, 0.0))
            if real.classes is not None and generated.classes is not None:
                of_class = class_loss(real.classes, classes_of(batch), "softmax")
                loss = loss + settings.class_weight * (of_class + class_loss(generated.classes, classes_of(batch), "softmax"))
                metrics["classes"] = of_class.detach()
        realism = [partial(discriminator.realism, sentence=sentence.float()) for discriminator in self._scale_discriminators()]
        seen = zip(realism, map(batch.image, self.sides), strict=True)
        return smoothed(Update("discriminator", loss, metrics), penalty, *seen)

    def _generator_update(self, batch: Batch, sentence: Tensor, fakes: list[Tensor], condition: GaussianCondition) -> Update:
        settings, divergence = self.settings, condition.divergence()
        loss, metrics = settings.divergence_weight * divergence, {"divergence": divergence.detach()}
        for discriminator, fake in zip(self._scale_discriminators(), fakes, strict=True):
            verdict = discriminator(fake, sentence)
            loss = loss + bce(verdict.pair, 1.0)
            if settings.local_weight:
                loss = loss + settings.local_weight * bce(verdict.places, 1.0)
            if verdict.classes is not None:
                of_class = class_loss(verdict.classes, classes_of(batch), "softmax")
                loss, metrics["classes"] = loss + settings.class_weight * of_class, of_class.detach()
        if settings.perceptual:
            difference = self._difference(batch, fakes)
            loss, metrics["perceptual"] = loss + settings.perceptual * difference, difference.detach()
        return Update("generator", loss, metrics)

    def _difference(self, batch: Batch, fakes: list[Tensor]) -> Tensor:
        """The perceptual loss between generated pictures and the real ones of the same captions."""
        compare = self.guides["perceptual"]
        compared = fakes if self.settings.perceptual_sizes == "all" else fakes[-1:]
        return torch.stack([compare(fake, batch.image(fake.shape[-1])) for fake in compared]).mean()

    def _scale_discriminators(self) -> list[Discriminator]:
        return [discriminator for discriminator in self.discriminators if isinstance(discriminator, Discriminator)]

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> ConditionedNoise:
        widths = {"z": self.settings.noise_width, "epsilon": self.settings.text_width}
        return ConditionedNoise(**{name: gaussian((width,), seed, samples, f"{stream} {name}") for name, width in widths.items()})

    def paint(self, text: TextFeatures, noise: ConditionedNoise) -> Painting:
        *rough, images = self.generator(noise, text.sentence)[0]
        return Painting(images, stages=tuple(rough))

    def look(self, pictures: Tensor) -> Tensor:
        """The largest size's discriminator before it reads the text, place by place: [B, 16 C]."""
        return self._scale_discriminators()[-1].look(pictures).flatten(1)


class Generator(nn.Module):
    """The trunk, the pyramid on its maps, and a picture from each of the pyramid's last levels."""

    def __init__(self, settings: PPANSettings, conditions: Conditions, sides: list[int]) -> None:
        super().__init__()
        maps = [FIRST_SIDE << level for level in range(doublings(conditions.resolution, "ppan", SMALLEST_PICTURE) + 1)]
        top = settings.generator_channels
        widths = [max(top * 64 // side, NARROWEST) for side in maps]
        self.augmentation = ConditioningAugmentation(conditions.sentence_width, settings.text_width, "leaky-relu", "log-deviation")
        inner = widths[0] * FIRST_SIDE**2
        self.start = nn.Sequential(
            nn.Linear(settings.text_width + settings.noise_width, inner, bias=False),
            nn.BatchNorm1d(inner),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (widths[0], FIRST_SIDE, FIRST_SIDE)),
        )
        self.trunk = nn.ModuleList(nn.Sequential(*doubling(wide, narrow)) for wide, narrow in zip(widths, widths[1:], strict=False))
        level = settings.pyramid_channels
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, level, 1, bias=False), nn.BatchNorm2d(level)) for width in widths if settings.lateral
        )
        painted = [level] * len(sides) if settings.lateral else widths[-len(sides) :]
        self.pictures = nn.ModuleList(to_picture(width) for width in painted)

    def forward(self, noise: ConditionedNoise, sentence: Tensor) -> tuple[list[Tensor], GaussianCondition]:
        """noise and [B, D] -> pictures from rough to fine, [B, 3, r, r] each in [-1, 1], and the Gaussian of the sentence's conditions."""
        condition: GaussianCondition = self.augmentation(sentence)
        maps = [self.start(torch.cat([condition.sample(noise.epsilon), noise.z], dim=1))]
        for double in self.trunk:
            maps.append(double(maps[-1]))
        if len(self.lateral):
            maps = self._pyramid(maps)
        return [paint(level) for paint, level in zip(self.pictures, maps[-len(self.pictures) :], strict=True)], condition

    def _pyramid(self, maps: list[Tensor]) -> list[Tensor]:
        """Each level is the projected trunk's map plus the coarser level, doubled, so that coarse levels reach every finer picture."""
        levels: list[Tensor] = []
        for lateral, features in zip(self.lateral, maps, strict=True):
            level = lateral(features)
            if levels:
                level = level + F.interpolate(levels[-1], scale_factor=2.0, mode="nearest")
            levels.append(F.relu(level))
        return levels


class PyramidVerdict(NamedTuple):
    """A discriminator's logits and its code of pictures."""

    pair: Tensor
    """[B] logits: real, and described by the sentence."""
    places: Tensor
    """[B, 5, 5] logits: real, place by place."""
    classes: Tensor | None
    """[B, class count] logits, or None."""
    code: Tensor
    """[B, C, 4, 4], to be matched with other sentences."""


class Discriminator(nn.Module):
    """Judges pictures of one size: an 8x8 map place by place, and the 4x4 code after it with the sentence and by class."""

    def __init__(self, settings: PPANSettings, conditions: Conditions, side: int, class_count: int) -> None:
        super().__init__()
        base, normalize = settings.discriminator_channels, settings.discriminator_normalization
        levels = doublings(side, "ppan", SMALLEST_PICTURE)
        layers = picture_code(base, side, normalize=normalize)
        to_eight = 2 + (levels - 2) * (3 if normalize else 2)  # layers before the convolution from 8x8 to 4x4
        width = base << min(levels - 1, 3)
        self.rough, self.fine = layers[:to_eight], layers[to_eight:]
        self.places = nn.Conv2d(base << (levels - 2), 1, FIRST_SIDE)
        self.pair = PairHead(width, conditions.sentence_width, settings.text_width, normalize=normalize)
        self.classes = nn.Linear(width * FIRST_SIDE**2, class_count) if class_count else None

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C, 4, 4]."""
        return self.fine(self.rough(pictures))

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """[B, C, 4, 4] and [B, D] -> [B] logits."""
        return self.pair(features, sentence)

    def realism(self, pictures: Tensor, sentence: Tensor) -> Tensor:
        """The pair's logit plus the mean of the patch map, for the gradient penalty: [B]."""
        verdict: PyramidVerdict = self(pictures, sentence)
        return verdict.pair + verdict.places.mean((1, 2))

    def forward(self, pictures: Tensor, sentence: Tensor) -> PyramidVerdict:
        """[B, 3, R, R] in [-1, 1] and [B, D]."""
        rough = self.rough(pictures)
        code = self.fine(rough)
        classes = None if self.classes is None else self.classes(code.flatten(1))
        return PyramidVerdict(self.match(code, sentence), self.places(rough).squeeze(1), classes, code)


def at_side(batch: Batch, side: int) -> Batch:
    """The batch with its pictures, and those of its mismatched batch, at a lower side."""
    return replace(batch, pictures=batch.image(side), draw_batch=lambda kind: at_side(batch.draw(kind), side), _drawn={})
