"""DCGAN-CLS and WGAN-CLS: plain DCGAN blocks and a sentence, the first PyTorch port of GAN-CLS that many built on.

Amr Elnouby and others, github.com/aelnouby/Text-to-Image-Synthesis (2018), after Reed et al., "Generative Adversarial Text to Image
Synthesis", ICML 2016, arXiv:1605.05396, and Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", ICLR 2016, arXiv:1511.06434. There is no paper; this file follows the port's code, commit f6d47e4:

- the sentence comes before the noise, and both networks normalise its projection over the batch;
- mismatched and generated pairs weigh one each, where Reed et al. give each a half; real pairs have the smoothed target 0.9;
- the generator also matches the mean features of the real batch, and each picture itself by L1, which ties the sentence to pixels;
- the Wasserstein form (its `--type wgan`) clips the critic's weights as Arjovsky et al. (ICML 2017, arXiv:1701.07875) do, but keeps
  Adam where they advise RMSprop, and has neither feature matching nor L1. Its critic gets -E[real] + E[mismatched] + E[generated].

What differs: an epoch's end does not cut a run of critic steps short, and the mismatched picture is of another class wherever classes are
known (the port compares handles of a file instead of classes, and so may draw the same one).
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
from limner.core.method import Method, Painting
from limner.core.noise import VectorNoise, gaussian
from limner.core.optimizers import Adam
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.matching_aware import bce, channels, mean_sentence, mismatched_logits
from limner.nn.initialization import dcgan_initialization

FIRST_TURNS, LONG_EVERY = 25, 500
"""The generator's first 25 updates, and every 500th later one, come after a long run of critic steps."""


@dataclass(frozen=True, kw_only=True)
class DCGANCLSSettings(shared.MismatchSettings, shared.CaptionSettings, shared.AdamSettings, shared.ScheduleSettings, shared.NoiseSettings):
    """Settings of DCGAN-CLS; the defaults are the port's."""

    objective: Literal["cross-entropy", "wasserstein"] = "cross-entropy"
    """The loss: binary cross-entropy of a discriminator, or the Wasserstein loss of a critic with clipped weights (WGAN-CLS)."""
    text_width: int = 128
    """Width to which the sentence embedding is projected in both networks."""
    generator_channels: int = 64
    """Channels of the generator's last hidden feature map at 64 px; earlier ones double."""
    discriminator_channels: int = 64
    """Channels of the discriminator's first feature map at 64 px; later ones double."""
    minibatch_kernels: int = 0
    """Kernels of minibatch discrimination, whose outputs are concatenated with the discriminator's text; the port has the layer but does
    not use it: 0."""
    mismatch: Literal[shared.Mismatch, "none"] = "picture"  # type: ignore[assignment]  # wider than in other methods
    """What a mismatched pair is made of: another picture, as in the port; another caption; two neighbours in the batch; `none` trains
    without such pairs (no CLS)."""
    real_target: float = 0.9
    """The discriminator's target for real pairs (one-sided label smoothing); cross-entropy only."""
    negative_weight: float = 1.0
    """Weight of each kind of pair that the discriminator must refuse, mismatched and generated; Reed et al. have 0.5."""
    feature_matching: float = 100.0
    """Weight of the squared distance between the mean features of real and generated batch; cross-entropy only."""
    picture_distance: float = 50.0
    """Weight of the L1 distance between a generated picture and the real one of its caption; cross-entropy only."""
    weight_clip: float = 0.01
    """Bound to which every weight of the critic is clipped after each of its steps; Wasserstein only."""
    critic_steps: int = 5
    """Steps of the critic, each on a batch of its own, before a step of the generator; Wasserstein only."""
    long_critic_steps: int = 100
    """The same for the generator's first 25 steps and every 500th; Wasserstein only."""
    epochs: float = 200.0
    """Passes over the training pictures."""

    def check(self) -> None:
        at_least(self, "method", 1, "text_width", "generator_channels", "discriminator_channels")
        at_least(self, "method", 1, "critic_steps", "long_critic_steps")
        at_least(self, "method", 0, "minibatch_kernels", "negative_weight", "feature_matching", "picture_distance")
        above_zero(self, "method", "weight_clip")
        shared.share(self, "real_target")
        if self.counterfactual and self.mismatch == "none":
            raise SettingsError("method.counterfactual needs mismatched pairs: set method.mismatch to caption or picture, or this to 0")


class DCGANCLS(Method[VectorNoise]):
    """The port's networks under its two objectives."""

    Settings = DCGANCLSSettings
    title = "DCGAN-CLS, WGAN-CLS"
    paper = "Elnouby et al., github.com/aelnouby/Text-to-Image-Synthesis, 2018, after Reed et al., ICML 2016, arXiv:1605.05396"
    presets = {
        "as-published": Preset(
            sentence="The port's networks and losses at 64 px, for a GPU.",
            resolution=64,
            training={"ema_half_life": 0.0},  # the port keeps no running average
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions, sized for two CPU cores.",
            resolution=64,
            method={
                "generator_channels": 16,
                "discriminator_channels": 16,
                "mismatch": "caption",
                "counterfactual": 0.75,
                "batch_size": 32,
                "learning_rate": 4e-4,
                "epochs": 40.0,
            },
        ),
    }
    settings: DCGANCLSSettings

    def __init__(self, settings: DCGANCLSSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.generator = Generator(settings, conditions)
        self.discriminator = Discriminator(settings, conditions)
        self.apply(dcgan_initialization)

    def players(self) -> dict[str, Player]:
        optimizer = Adam(learning_rate=self.settings.learning_rate, betas=(self.settings.beta1, 0.999))
        return {
            "discriminator": Player(module=self.discriminator, optimizer=optimizer),
            "generator": Player(module=self.generator, optimizer=optimizer, averaged=True),
        }

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name=self._kind,
                resolution=self.conditions.resolution,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                captions=settings.captions,
                counterfactuals=int(settings.counterfactual > 0),
                fewest=shared.fewest(settings),
            )
        ]

    @property
    def _kind(self) -> Literal["gan", "wgan"]:
        return "wgan" if self.settings.objective == "wasserstein" else "gan"

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """An update of the discriminator and one of the generator, with the same batch; a critic's generator waits for the end of a run of
        steps."""
        settings = self.settings
        condition = mean_sentence(batch)  # [B, D]
        with torch.no_grad():
            fake = self.generator(self.noise(batch, "discriminator").z, condition)  # [B, 3, R, R]
        yield self._discriminator_update(batch, condition, fake)
        if self._kind == "wgan":
            clip_weights(self.discriminator, settings.weight_clip)
            if not is_generator_turn(progress.step, settings.critic_steps, settings.long_critic_steps):
                return
        yield self._generator_update(batch, condition)

    def _discriminator_update(self, batch: Batch, condition: Tensor, fake: Tensor) -> Update:
        settings = self.settings
        features = self.discriminator.look(batch.pictures)  # [B, 8 C, 4, 4]
        logits = {"real": self.discriminator.match(features, condition), "fake": self.discriminator(fake, condition)}  # [B] each
        if settings.mismatch != "none":
            logits["mismatched"] = mismatched_logits(
                self.discriminator, batch, features, condition, settings.mismatch, settings.counterfactual
            )
        scores = {name: value.detach() if self._kind == "wgan" else value.detach().sigmoid() for name, value in logits.items()}
        return Update("discriminator", self.discriminator_loss(**logits), {name: value.mean() for name, value in scores.items()})

    def discriminator_loss(self, real: Tensor, fake: Tensor, mismatched: Tensor | None = None) -> Tensor:
        """BCE(real, 0.9) + BCE(fake, 0) + BCE(mismatched, 0) of logits [B]; a critic's: mean fake + mean mismatched - mean real."""
        weight = self.settings.negative_weight
        negatives = [fake] if mismatched is None else [fake, mismatched]
        if self._kind == "wgan":
            return weight * torch.stack([logits.mean() for logits in negatives]).sum() - real.mean()
        return bce(real, self.settings.real_target) + weight * torch.stack([bce(logits, 0.0) for logits in negatives]).sum()

    def _generator_update(self, batch: Batch, condition: Tensor) -> Update:
        fake = self.generator(self.noise(batch, "generator").z, condition)  # with noise of its own, as in the port
        features = self.discriminator.look(fake)
        logits = self.discriminator.match(features, condition)
        if self._kind == "wgan":
            return Update("generator", -logits.mean())
        with torch.no_grad():
            real_features = self.discriminator.look(batch.pictures)
        terms = generator_terms(logits, features, real_features, fake, batch.pictures)
        return Update("generator", self.generator_loss(terms), {name: value.detach() for name, value in terms.items()})

    def generator_loss(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of `generator_terms`."""
        return terms["fooling"] + self.settings.feature_matching * terms["features"] + self.settings.picture_distance * terms["pictures"]

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        return VectorNoise(gaussian((self.settings.noise_width,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: VectorNoise) -> Painting:
        return Painting(self.generator(noise.z, text.sentence))

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's map before it reads the text, place by place: [B, 16 C]. A mean over places would lose what is where."""
        return self.discriminator.look(pictures).flatten(1)


class Generator(nn.Module):
    """Sentence and noise to a picture: a normalised projection of the text before z, then transposed convolutions from 1x1 up."""

    def __init__(self, settings: DCGANCLSSettings, conditions: Conditions) -> None:
        super().__init__()
        widths = channels(settings.generator_channels, conditions.resolution, "dcgan-cls")[::-1]  # coarse to fine
        self.text = projection(conditions.sentence_width, settings.text_width)
        layers = [nn.ConvTranspose2d(settings.text_width + settings.noise_width, widths[0], 4, bias=False), *self._after(widths[0])]
        for wide, narrow in zip(widths, widths[1:], strict=False):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False), *self._after(narrow)]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1, bias=False), nn.Tanh())

    @staticmethod
    def _after(width: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]

    def forward(self, z: Tensor, sentence: Tensor) -> Tensor:
        """z: [B, Z], sentence: [B, D] -> [B, 3, R, R] in [-1, 1]."""
        return self.layers(torch.cat([self.text(sentence), z], dim=1)[:, :, None, None])  # text first, as in the port


class Discriminator(nn.Module):
    """Does the picture look real *and* match the sentence? Strided convolutions to 4x4, then one convolution of map and text."""

    def __init__(self, settings: DCGANCLSSettings, conditions: Conditions) -> None:
        super().__init__()
        widths = channels(settings.discriminator_channels, conditions.resolution, "dcgan-cls")
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        for narrow, wide in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2, inplace=True)]
        self.picture = nn.Sequential(*layers)
        self.text = projection(conditions.sentence_width, settings.text_width)
        kernels = settings.minibatch_kernels
        self.closeness = MinibatchDiscrimination(widths[-1] * 16, kernels) if kernels else None
        self.joint = nn.Conv2d(widths[-1] + settings.text_width + kernels, 1, 4, bias=False)

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C, 4, 4]: the features that are matched, and features that serve several captions."""
        return self.picture(pictures)

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """[B, C, 4, 4] and [B, D] -> [B] logits, or a critic's scores."""
        parts = [self.text(sentence)] if self.closeness is None else [self.text(sentence), self.closeness(features.flatten(1))]
        maps = torch.cat(parts, dim=1)[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return self.joint(torch.cat([features, maps], dim=1)).flatten()

    def forward(self, pictures: Tensor, sentence: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] and [B, D] -> [B] logits, or a critic's scores."""
        return self.match(self.look(pictures), sentence)


def projection(sentence_width: int, width: int) -> nn.Sequential:
    """A projection of the sentence embedding, normalised over the batch."""
    return nn.Sequential(nn.Linear(sentence_width, width), nn.BatchNorm1d(width), nn.LeakyReLU(0.2, inplace=True))


def generator_terms(logits: Tensor, features: Tensor, real_features: Tensor, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
    """The three parts of the generator's loss, unweighted.

    logits: [B], of generated pairs; features, real_features: [B, C, 4, 4]; fake, real: [B, 3, R, R], pictures of the same captions.
    """
    return {
        "fooling": bce(logits, 1.0),
        "features": F.mse_loss(features.mean(0), real_features.mean(0)),
        "pictures": F.l1_loss(fake, real),
    }


@torch.no_grad()
def clip_weights(critic: nn.Module, bound: float) -> None:
    """Clip every parameter to [-bound, bound], batch normalisation's among them."""
    for parameter in critic.parameters():
        parameter.clamp_(-bound, bound)


def is_generator_turn(step: int, short: int, long: int) -> bool:
    """Whether a run of critic steps ends with this step, counted from 0.

    Runs have `long` steps before the generator's updates 0 to 24 and every 500th, and `short` steps before the others.
    """
    done = step + 1
    if done <= FIRST_TURNS * long:
        return done % long == 0
    done -= FIRST_TURNS * long
    first_short = (LONG_EVERY - FIRST_TURNS) * short
    if done <= first_short:
        return done % short == 0
    place = (done - first_short) % (long + (LONG_EVERY - 1) * short)  # of a cycle of one long run and 499 short ones; 0 is its end
    return place == 0 or (place >= long and (place - long) % short == 0)


class MinibatchDiscrimination(nn.Module):
    """How alike the pictures of a batch are, which gives away a generator that paints the same picture again and again.

    Every picture's features are projected to `kernels` vectors of `width` numbers; each kernel's answer for a picture is the sum over the
    batch, itself included, of exp(-L1 distance) between the vectors.
    """

    def __init__(self, features: int, kernels: int, width: int = 16) -> None:
        super().__init__()
        self.kernels, self.width = kernels, width
        self.projection = nn.Parameter(torch.empty(features, kernels * width))
        nn.init.normal_(self.projection, 0.0, 0.1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, features] -> [B, kernels], each between 1 and B."""
        vectors = (features @ self.projection).view(-1, self.kernels, self.width)  # [B, K, W]
        distances = (vectors[:, None] - vectors[None]).abs().sum(3)  # [B, B, K]
        return torch.exp(-distances).sum(1)
