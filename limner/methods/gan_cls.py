"""GAN-CLS, GAN-INT and GAN-INT-CLS: a conditional DCGAN with a matching-aware discriminator (Reed et al., ICML 2016).

Scott Reed, Zeynep Akata, Xinchen Yan, Lajanugen Logeswaran, Bernt Schiele and Honglak Lee, "Generative Adversarial Text to Image
Synthesis", arXiv:1605.05396. The networks and losses follow the authors' code (`main_cls.lua`, `main_cls_int.lua`) where paper and code
differ:

- the mismatched pair is another class's *picture* with the right caption (the paper's text reads as the reverse);
- the condition is the mean embedding of four captions of the picture;
- the losses of mismatched and generated pairs are weighted w and 1 - w; w = 1/2 gives the paper's algorithm;
- their code sets every convolution's bias to zero before each use, so here convolutions have none.

Sizes other than 64 px, which were never published, add or drop up- and downsampling blocks at the high-resolution end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.method import Painting
from limner.core.noise import VectorNoise, gaussian
from limner.core.settings import Preset, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import PairMethod, smoothed
from limner.families.matching_aware import bce, channels, mean_sentence, mismatched_logits
from limner.nn.initialization import dcgan_initialization, he_initialization


@dataclass(frozen=True, kw_only=True)
class GANCLSSettings(
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
    """Settings of GAN-CLS; the defaults are those of the authors' flowers and birds models."""

    text_width: int = 128
    """Width to which the sentence embedding is projected in both networks."""
    generator_channels: int = 128
    """Channels of the generator's last hidden feature map at 64 px; earlier ones double."""
    discriminator_channels: int = 64
    """Channels of the discriminator's first feature map at 64 px; later ones double."""
    residual: bool = True
    """Residual blocks at the coarse resolutions, as in the authors' code; without it, plain DCGAN blocks."""
    text_normalization: bool = True
    """Batch normalisation of the discriminator's projected text; main_cls_int.lua has it, main_cls.lua does not."""
    third_activation: bool = False
    """LeakyReLU after the discriminator's last-but-one convolution; main_cls.lua has it, main_cls_int.lua does not."""
    captions: int = 4
    """Captions per picture, whose mean embedding is the condition."""
    interpolation: float = 0.0
    """Weight of the generator's loss on midpoints between two captions (GAN-INT); the authors' models use 1."""
    halve_every: float = 100.0
    """Epochs between halvings of the learning rate; 0 keeps it constant."""

    def check(self) -> None:
        at_least(self, "method", 1, "text_width", "generator_channels", "discriminator_channels")
        at_least(self, "method", 0, "interpolation")


class GANCLS(PairMethod[VectorNoise]):
    """Reed's generator and matching-aware discriminator, with their published losses."""

    Settings = GANCLSSettings
    title = "GAN-CLS, GAN-INT, GAN-INT-CLS"
    paper = "Reed et al., Generative Adversarial Text to Image Synthesis, ICML 2016, arXiv:1605.05396"
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule at 64 px, for a GPU.",
            resolution=64,
            training={"ema_half_life": 0.0},  # the authors keep no running average
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_PAIRS,
                "generator_channels": 16,
                "discriminator_channels": 16,
                "third_activation": True,
                "captions": 1,
            },
        ),
    }
    settings: GANCLSSettings
    generator: Generator
    discriminator: Discriminator

    def __init__(self, settings: GANCLSSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.generator = Generator(settings, conditions)
        self.discriminator = Discriminator(settings, conditions)
        self.generator.apply(dcgan_initialization)
        self.discriminator.apply(dcgan_initialization if settings.discriminator_normalization else he_initialization)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        condition = mean_sentence(batch)  # [B, D]
        noise = self.noise(batch, "discriminator")
        fake = self.generator(noise.z, condition)  # [B, 3, R, R]
        yield self._discriminator_update(batch, condition, fake.detach(), self.penalty(progress))
        if self.settings.interpolation:
            # The authors' code draws new noise for the generator's update, and adds a condition for every two of the batch.
            condition = with_midpoints(condition)  # [1.5 B, D]
            z = torch.cat([self.noise(batch, stream).z for stream in ("generator", "midpoints")])[: len(condition)]
            fake = self.generator(z, condition)
        yield self._generator_update(fake, condition, len(batch))

    def _discriminator_update(self, batch: Batch, condition: Tensor, fake: Tensor, penalty: float) -> Update:
        """BCE(real, 1) + w BCE(mismatched, 0) + (1 - w) BCE(fake, 0); the paper's Algorithm 1, lines 6 to 10, at w = 1/2."""
        weight = self.settings.mismatch_weight
        features = self.discriminator.look(batch.pictures)  # [B, 8 C, 4, 4]
        real = self.discriminator.match(features, condition)  # [B]
        generated = self.discriminator(fake, condition)
        loss = bce(real, 1.0) + (1.0 - weight) * bce(generated, 0.0)
        metrics = {"real": real.detach().sigmoid().mean(), "fake": generated.detach().sigmoid().mean()}
        if weight:
            mismatched = self._mismatched(batch, features, condition)
            loss = loss + weight * bce(mismatched, 0.0)
            metrics["mismatched"] = mismatched.detach().sigmoid().mean()
        update = Update("discriminator", loss, metrics)
        return smoothed(update, penalty, (lambda pictures: self.discriminator(pictures, condition.float()), batch.pictures))

    def _mismatched(self, batch: Batch, features: Tensor, condition: Tensor) -> Tensor:
        """Logits of real pictures with captions that do not describe them: [B]."""
        settings = self.settings
        return mismatched_logits(self.discriminator, batch, features, condition, settings.mismatch, settings.counterfactual)

    def _generator_update(self, fake: Tensor, condition: Tensor, batch_size: int) -> Update:
        """BCE(fake, 1), where the interpolated conditions after the batch's own are weighted by `interpolation` (Eq. 5 of the paper)."""
        logits = self.discriminator(fake, condition)
        weight = torch.ones_like(logits)
        weight[batch_size:] = self.settings.interpolation
        return Update("generator", F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits), weight))

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        return VectorNoise(gaussian((self.settings.noise_width,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: VectorNoise) -> Painting:
        return Painting(self.generator(noise.z, text.sentence))

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's map before it reads the text, place by place: [B, 16 C]. A mean over places would lose what is where."""
        return self.discriminator.look(pictures).flatten(1)


class Generator(nn.Module):
    """Noise and sentence to a picture: z and a projection of the text, then transposed convolutions from 1x1 to the full size."""

    def __init__(self, settings: GANCLSSettings, conditions: Conditions) -> None:
        super().__init__()
        widths = channels(settings.generator_channels, conditions.resolution, "gan-cls")[::-1]  # coarse to fine
        inner = max(1, widths[0] // 4)
        self.text = nn.Sequential(nn.Linear(conditions.sentence_width, settings.text_width), nn.LeakyReLU(0.2, inplace=True))
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(settings.noise_width + settings.text_width, widths[0], 4, bias=False),
            nn.BatchNorm2d(widths[0]),
            *self._after(widths[0], inner, settings.residual),
        ]
        for level, (wide, narrow) in enumerate(zip(widths, widths[1:], strict=False)):
            layers += [
                nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False),
                nn.BatchNorm2d(narrow),
                *self._after(narrow, max(1, narrow // 4), settings.residual and level == 0),
            ]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1, bias=False), nn.Tanh())

    @staticmethod
    def _after(width: int, inner: int, residual: bool) -> list[nn.Module]:
        block: list[nn.Module] = [Bottleneck(width, inner, nn.ReLU(inplace=True))] if residual else []
        return [*block, nn.ReLU(inplace=True)]

    def forward(self, z: Tensor, sentence: Tensor) -> Tensor:
        """z: [B, Z], sentence: [B, D] -> [B, 3, R, R] in [-1, 1]."""
        return self.layers(torch.cat([z, self.text(sentence)], dim=1)[:, :, None, None])  # noise first, as in the authors' code


class Discriminator(nn.Module):
    """Does the picture look real *and* match the sentence? Strided convolutions to 4x4, where the projected text joins every place."""

    def __init__(self, settings: GANCLSSettings, conditions: Conditions) -> None:
        super().__init__()
        widths = channels(settings.discriminator_channels, conditions.resolution, "gan-cls")
        top, inner = widths[-1], max(1, widths[-1] // 4)
        normalize = settings.discriminator_normalization
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1, bias=not normalize), nn.LeakyReLU(0.2, inplace=True)]
        for level, (narrow, wide) in enumerate(zip(widths, widths[1:], strict=False), start=2):
            layers += normalized(nn.Conv2d(narrow, wide, 4, 2, 1, bias=not normalize), normalize)
            if level < len(widths) - 1 or (level == len(widths) - 1 and settings.third_activation):
                layers.append(nn.LeakyReLU(0.2, inplace=True))
        if settings.residual:
            layers.append(Bottleneck(top, inner, nn.LeakyReLU(0.2, inplace=True), normalize))
        self.picture = nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True))
        text = nn.Linear(conditions.sentence_width, settings.text_width)
        text_normalization = [nn.BatchNorm1d(settings.text_width)] if normalize and settings.text_normalization else []
        self.text = nn.Sequential(text, *text_normalization, nn.LeakyReLU(0.2, inplace=True))
        self.joint = nn.Sequential(
            *normalized(nn.Conv2d(top + settings.text_width, top, 1, bias=not normalize), normalize),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(top, 1, 4, bias=not normalize),
        )

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C, 4, 4]: features that serve several captions."""
        return self.picture(pictures)

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """[B, C, 4, 4] and [B, D] -> [B] logits."""
        text = self.text(sentence)[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return self.joint(torch.cat([features, text], dim=1)).flatten()

    def forward(self, pictures: Tensor, sentence: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] and [B, D] -> [B] logits."""
        return self.match(self.look(pictures), sentence)


class Bottleneck(nn.Module):
    """x + BN(conv3(act BN(conv3(act BN(conv1(x)))))): the bottleneck of the authors' code."""

    def __init__(self, width: int, inner: int, activation: nn.Module, normalize: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *normalized(nn.Conv2d(width, inner, 1, bias=not normalize), normalize),
            activation,
            *normalized(nn.Conv2d(inner, inner, 3, padding=1, bias=not normalize), normalize),
            activation,
            *normalized(nn.Conv2d(inner, width, 3, padding=1, bias=not normalize), normalize),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def normalized(convolution: nn.Conv2d, normalize: bool) -> list[nn.Module]:
    """A convolution, followed by batch normalisation where `normalize` is True."""
    return [convolution, nn.BatchNorm2d(convolution.out_channels)] if normalize else [convolution]


def with_midpoints(condition: Tensor) -> Tensor:
    """Add the conditions half-way between the batch's first and second half: [B, D] -> [B + B // 2, D]."""
    half = condition.shape[0] // 2
    return torch.cat([condition, 0.5 * (condition[:half] + condition[half : 2 * half])])
