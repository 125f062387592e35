"""AC-GAN: a discriminator that also says what it sees (Odena et al., ICML 2017).

Augustus Odena, Christopher Olah and Jonathon Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", arXiv:1610.09585.
There is no official code. The paper itself was not read for this file: its losses and settings are those on record elsewhere, and the
table of layers is the one that public reimplementations repeat:

- losses L_S (is it real?) and L_C (what is it?), the discriminator for L_S + L_C, the generator for L_C - L_S, a softmax over classes, and
  L_C on real and generated pictures alike;
- generator: 110 numbers (100 of noise and one for each of ten classes), a linear map to 768 channels, 5x5 transposed convolutions to 384,
  256, 192, 64 and 3, batch normalisation, ReLU, tanh; discriminator: 3x3 convolutions to 16, 32, ..., 512 with strides 2, 1, 2, 1, 2, 1,
  batch normalisation after all but the first, LeakyReLU 0.2, dropout 0.5; Adam 2e-4 and 0.5, batches of 100, 50,000 steps, weights
  N(0, 0.02), biases 0.

Reconstructed: the linear map gives a 4x4 map at 128 px (the only side from which five doublings lead there); padding keeps sides; dropout
comes last in a layer; no normalisation before tanh and after the linear map; the generator fools by - log D, as is usual; a batch is as
large for real as for generated pictures, whose classes are the batch's own. Noise on activations, which the paper tried at deviations
0, 0.1 and 0.2 without its choice being on record, is left out. Sizes other than 128 px, but for CIFAR-10's, were never published: the
generator has the channels that the same maps have at 128 px, the discriminator the same six layers.

**Captions.** The paper's generator reads a class. `condition: class` keeps that: a caption is painted as the class whose captions it is
nearest to. `condition: sentence` gives the generator the sentence instead; the discriminator still reads no text. Then it can learn of a
caption only what the discriminator asks back, and a class says little of what a caption does. `auxiliary: caption` asks for the caption
itself: the discriminator answers with a vector, and its class is which of the batch's sentences lies nearest, wrong ones changed in one
attribute among them. This is Limner's, not the paper's, to which a class is one kind of side information to ask for. It needs no classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import VectorNoise, gaussian
from limner.core.settings import Preset, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import AdversarialMethod, smoothed
from limner.families.auxiliary import (
    Verdict,
    VerdictHeads,
    add_sentences,
    class_accuracy,
    class_loss,
    classes_of,
    nearest_class,
    require_classes,
    sentence_logits,
)
from limner.families.matching_aware import bce, mean_sentence
from limner.families.stacked import FIRST_SIDE, doublings
from limner.nn.initialization import dcgan_initialization, he_initialization

WIDTHS = (1, 3, 4, 6, 12)
"""The generator's channels from its last hidden map to the 4x4 map of 128 px, in units of the last."""
ALTERNATING = (2, 1, 2, 1, 2, 1)
"""Strides of the published discriminator."""


@dataclass(frozen=True, kw_only=True)
class ACGANSettings(
    shared.CaptionSettings,
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.NoiseSettings,
):
    """Settings of AC-GAN; the defaults are those of the paper's ImageNet models."""

    condition: Literal["class", "sentence"] = "class"
    """What the generator reads in addition to its noise: the class, as published, or the sentence."""
    auxiliary: Literal["class", "caption"] = "class"
    """What the discriminator must recognise in every picture: its class, as published, or its caption among the batch's (needs
    `sentence`)."""
    auxiliary_weight: float = 1.0
    """Weight of that term (L_C) in both players' losses; 0 trains without it."""
    auxiliary_of_generated: bool = True
    """Whether the discriminator learns that term from generated pictures too, as published; the two networks may then collude."""
    text_width: int = 128
    """Width to which the generator projects the sentence."""
    generator_channels: int = 64
    """Channels of the generator's last hidden feature map; earlier ones have 3, 4, 6, 12, then 24 ... times as many."""
    discriminator_channels: int = 16
    """Channels of the discriminator's first feature map; later ones double."""
    discriminator_layers: Literal["alternating", "strided"] = "alternating"
    """Six 3x3 convolutions of which every other one halves the map, as published, or 4x4 convolutions that all halve it, down to 4x4."""
    dropout: float = 0.5
    """Share of the discriminator's activations that are dropped after every layer."""
    captions: int = 1
    """Captions of a picture whose mean embedding stands for it."""
    counterfactual: float = 0.0
    """With `auxiliary: caption`, the share of pictures for which their own caption with one attribute or word changed is a choice too."""
    steps: int = 50_000
    """Steps to train."""
    batch_size: int = 100
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 1, "text_width", "generator_channels", "discriminator_channels", "steps")
        at_least(self, "method", 2, "batch_size")
        at_least(self, "method", 0, "auxiliary_weight")
        shared.share(self, "counterfactual")
        shared.below_one(self, "dropout")
        if self.auxiliary == "caption" and self.condition == "class":
            raise SettingsError("method.auxiliary caption asks for what the generator has not read: set method.condition sentence")
        if self.counterfactual and self.auxiliary == "class":
            raise SettingsError("method.counterfactual needs captions to recognise: set method.auxiliary caption, or this to 0")


class ACGAN(AdversarialMethod[VectorNoise]):
    """The published training; with captions, also the network that reads them."""

    Settings = ACGANSettings
    title = "AC-GAN"
    paper = "Odena et al., Conditional Image Synthesis with Auxiliary Classifier GANs, ICML 2017, arXiv:1610.09585"
    presets = {
        "as-published": Preset(
            sentence="The paper's networks and schedule at 128 px, painting captions by their classes, for a GPU.",
            resolution=128,
            training={"ema_half_life": 0.0},  # the paper speaks of no running average
        ),
        "cpu": Preset(
            sentence="Narrow networks that read sentences and ask for them back, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_STEPS,
                "condition": "sentence",
                "auxiliary": "caption",
                "auxiliary_of_generated": False,
                "generator_channels": 16,
                "discriminator_channels": 16,
                "discriminator_layers": "strided",
                "discriminator_normalization": False,
                "dropout": 0.0,
            },
        ),
    }
    settings: ACGANSettings
    generator: Generator
    discriminator: Discriminator
    class_sentences: Tensor
    class_captions: Tensor

    def __init__(self, settings: ACGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        if settings.condition == "class" or (settings.auxiliary == "class" and settings.auxiliary_weight):
            require_classes(conditions, "ac-gan", "set method.condition sentence and method.auxiliary caption")
        self.generator = Generator(settings, conditions)
        self.discriminator = Discriminator(settings, conditions)
        self.apply(gaussian_initialization)
        if not settings.discriminator_normalization:
            self.discriminator.apply(he_initialization)
        if settings.condition == "class":  # sums over the training captions of each class, and how many there were
            self.register_buffer("class_sentences", torch.zeros(conditions.class_count, conditions.sentence_width))
            self.register_buffer("class_captions", torch.zeros(conditions.class_count))

    def phases(self) -> list[Phase]:
        return [self.phase(steps=self.settings.steps, captions=self.settings.captions)]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        sentence = mean_sentence(batch)  # [B, D]
        if self.settings.condition == "class":
            add_sentences(self.class_sentences, self.class_captions, sentence, classes_of(batch))
            condition = self._one_hot(classes_of(batch), sentence)
        else:
            condition = sentence
        fake = self.generator(self.noise(batch, "train").z, condition)  # [B, 3, R, R]
        yield self._discriminator_update(batch, sentence, fake.detach(), self.penalty(progress))
        yield self._generator_update(batch, sentence, fake)

    def _one_hot(self, classes: Tensor, like: Tensor) -> Tensor:
        return F.one_hot(classes, self.conditions.class_count).to(like.dtype)

    def _discriminator_update(self, batch: Batch, sentence: Tensor, fake: Tensor, penalty: float) -> Update:
        """The loss - (L_S + L_C); each of the two terms is a sum of means over real and over generated pictures."""
        real, generated = self.discriminator(batch.pictures), self.discriminator(fake)
        loss = bce(real.source, 1.0) + bce(generated.source, 0.0)
        metrics = {"real": real.source.detach().sigmoid().mean(), "fake": generated.source.detach().sigmoid().mean()}
        if self.settings.auxiliary_weight:
            of_real, accuracy = self._auxiliary(real, batch, sentence)
            loss = loss + self.settings.auxiliary_weight * of_real
            if self.settings.auxiliary_of_generated:
                loss = loss + self.settings.auxiliary_weight * self._auxiliary(generated, batch, sentence)[0]
            metrics |= {self._asked: of_real.detach(), f"{self._asked}_accuracy": accuracy}
        update = Update("discriminator", loss, metrics)
        return smoothed(update, penalty, (lambda pictures: self._penalised(pictures, batch, sentence), batch.pictures))

    def _generator_update(self, batch: Batch, sentence: Tensor, fake: Tensor) -> Update:
        """The loss - log D, instead of L_S, and - L_C of the generated pictures."""
        verdict = self.discriminator(fake)
        loss = bce(verdict.source, 1.0)
        if not self.settings.auxiliary_weight:
            return Update("generator", loss)
        of_fake, accuracy = self._auxiliary(verdict, batch, sentence)
        metrics = {self._asked: of_fake.detach(), f"{self._asked}_accuracy": accuracy}
        return Update("generator", loss + self.settings.auxiliary_weight * of_fake, metrics)

    @property
    def _asked(self) -> str:
        return self.settings.auxiliary

    def _auxiliary(self, verdict: Verdict, batch: Batch, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """The loss - L_C of pictures of the batch's classes and captions, and the share of right answers: two scalars."""
        logits, own = self._choices(verdict, batch, sentence)
        return class_loss(logits, own, "softmax"), class_accuracy(logits, own)

    def _choices(self, verdict: Verdict, batch: Batch, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classes [B, K] or captions [B, B + 1] to choose from, and the right ones [B]."""
        if self.settings.auxiliary == "class":
            return verdict.classes, classes_of(batch)
        count = batch.rows_of(self.settings.counterfactual)
        changed = batch.counterfactual.sentence[:count] if count and batch.counterfactual is not None else None
        return sentence_logits(verdict.classes, sentence, changed), torch.arange(len(batch), device=sentence.device)

    def _penalised(self, pictures: Tensor, batch: Batch, sentence: Tensor) -> Tensor:
        """What R1 keeps smooth: the logit of the source plus that of the right class or caption, [B]."""
        verdict = self.discriminator(pictures)
        if not self.settings.auxiliary_weight:
            return verdict.source
        logits, own = self._choices(verdict, batch, sentence)
        return verdict.source + self.settings.auxiliary_weight * logits.gather(1, own[:, None]).flatten()

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        return VectorNoise(gaussian((self.settings.noise_width,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: VectorNoise) -> Painting:
        if self.settings.condition == "sentence":
            return Painting(self.generator(noise.z, text.sentence))
        classes = self.classes_for(text.sentence)
        return Painting(self.generator(noise.z, self._one_hot(classes, noise.z)), extras={"classes": classes})

    def classes_for(self, sentence: Tensor) -> Tensor:
        """With `condition: class`, the class as which each caption [B, D] is painted, one of those seen in training: [B]."""
        return nearest_class(sentence, self.class_sentences, self.class_captions)

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's last map, place by place: [B, W]."""
        return self.discriminator.look(pictures)


class Generator(nn.Module):
    """Noise and condition to a picture: a linear map to 4x4, then 5x5 transposed convolutions that double it."""

    def __init__(self, settings: ACGANSettings, conditions: Conditions) -> None:
        super().__init__()
        levels = doublings(conditions.resolution, "ac-gan")
        factors = [*WIDTHS, *(WIDTHS[-1] * 2**more for more in range(1, levels))][:levels]
        widths = [settings.generator_channels * factor for factor in reversed(factors)]  # coarse to fine
        self.text: nn.Module = nn.Identity()  # a class is read as it is
        width = conditions.class_count
        if settings.condition == "sentence":
            width = settings.text_width
            self.text = nn.Sequential(nn.Linear(conditions.sentence_width, width), nn.LeakyReLU(0.2, inplace=True))
        self.first = nn.Sequential(nn.Linear(settings.noise_width + width, widths[0] * FIRST_SIDE**2), nn.ReLU(inplace=True))
        layers: list[nn.Module] = []
        for wide, narrow in zip(widths, widths[1:], strict=False):
            layers += [nn.ConvTranspose2d(wide, narrow, 5, 2, padding=2, output_padding=1, bias=False)]
            layers += [nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 3, 5, 2, padding=2, output_padding=1), nn.Tanh())

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """z: [B, Z], condition: one-hot classes [B, K] or sentences [B, D] -> [B, 3, R, R] in [-1, 1]."""
        first = self.first(torch.cat([z, self.text(condition)], dim=1))
        return self.layers(first.unflatten(1, (-1, FIRST_SIDE, FIRST_SIDE)))


class Discriminator(nn.Module):
    """Is the picture real, and what does it show? It never reads text."""

    def __init__(self, settings: ACGANSettings, conditions: Conditions) -> None:
        super().__init__()
        levels = doublings(conditions.resolution, "ac-gan")
        kernel, strides = (3, ALTERNATING) if settings.discriminator_layers == "alternating" else (4, (2,) * levels)
        widths = [3, *(settings.discriminator_channels * 2**level for level in range(len(strides)))]
        layers: list[nn.Module] = []
        for level, stride in enumerate(strides):
            normalize = settings.discriminator_normalization and level > 0
            layers.append(nn.Conv2d(widths[level], widths[level + 1], kernel, stride, padding=1, bias=not normalize))
            layers += [nn.BatchNorm2d(widths[level + 1])] if normalize else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            layers += [nn.Dropout(settings.dropout)] if settings.dropout else []
        side = conditions.resolution // 2 ** strides.count(2)
        self.picture = nn.Sequential(*layers, nn.Flatten())
        answer = conditions.class_count if settings.auxiliary == "class" else conditions.sentence_width
        self.heads = VerdictHeads(widths[-1] * side**2, answer if settings.auxiliary_weight else 0)

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, W], flat."""
        return self.picture(pictures)

    def forward(self, pictures: Tensor) -> Verdict:
        """[B, 3, R, R] in [-1, 1] -> logits of source and class; with `auxiliary: caption`, vectors [B, D] to compare with sentences."""
        return self.heads(self.look(pictures))


def gaussian_initialization(module: nn.Module) -> None:
    """The paper's N(0, 0.02) with biases 0, for linear maps too. For `Module.apply`."""
    dcgan_initialization(module)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)
