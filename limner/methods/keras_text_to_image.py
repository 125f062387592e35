"""The Keras DCGAN with word vectors: the plainest system of all, three small variants of one idea.

Chen Caishun, github.com/chen0040/keras-text-to-image (2018), after Radford et al., "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks", ICLR 2016, arXiv:1511.06434. There is no paper; this file follows the code, commit 97a2d2a:

- the sentence is the sum of the caption's word vectors (GloVe, 100 numbers a word; `limner import glove`), read by one linear layer;
- generator: linear layers of noise and sentence, concatenated, tanh, a linear layer to a map of a quarter of the side, batch normalisation
  of each number of that map separately, tanh, then twice: nearest-neighbour upsampling, a 5x5 convolution, tanh;
- discriminator: 5x5 convolutions, tanh and max-pooling twice, a linear layer, joined with the sentence's, tanh, one logit;
- v1 gives the noise as many numbers as the sentence, v2 has no noise at all (a caption has one picture), v3 leaves the noise at its width;
- the discriminator sees real and generated pictures only with the right caption, never a real picture with a wrong one, so it learns what
  fits only as far as generated pictures do not fit;
- the generated pictures that it sees use the moving statistics, as in painting after training; the generator's own step uses those of
  the batch. Each step draws its own noise, uniform in [-1, 1];
- stochastic gradient descent by Nesterov's rule for both, 5e-4 and 0.9; initial weights by Glorot and Bengio (AISTATS 2010).

The class's defaults (7 px, one channel) cannot run; the published settings are those of the repository's demonstrations on Pokémon: 32 px
for v1 and v3, 64 px for v2, with noise widths of 200, 100 and none. The code drops an epoch's last, incomplete batch, and never shuffles;
Limner's loader shuffles every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import UniformNoise, uniform
from limner.core.optimizers import SGD
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.matching_aware import bce, mean_sentence

DOUBLINGS = 2
KERNEL = 5
SMALLEST = 12
"""Side in pixels below which nothing is left of a picture after the discriminator's second convolution and pooling."""


@dataclass(frozen=True, kw_only=True)
class KerasSettings(shared.CaptionSettings, shared.ScheduleSettings, shared.NoiseSettings):
    """Settings of the Keras DCGAN; the defaults are those of the repository's demonstration of v1."""

    version: Literal["v1", "v2", "v3"] = "v1"
    """How noise enters: widened to the sentence's width (v1), not at all (v2), or at its own width (v3)."""
    noise_width: int = 200
    """Numbers in the noise vector z: 200 in the demonstration of v1, 100 in that of v3; v2 has none whatever this says."""
    hidden_width: int = 1024
    """Width of the linear layers that read sentence, noise and picture."""
    inner_channels: int = 128
    """Channels of the maps at a quarter of the side: the generator's first map and the discriminator's second."""
    outer_channels: int = 64
    """Channels of the maps at half and at the whole of the side."""
    learning_rate: float = 5e-4
    """Learning rate of both players' stochastic gradient descent."""
    momentum: float = 0.9
    """Nesterov momentum of both players; 0 is plain gradient descent."""
    epochs: float = 1000.0
    """Passes over the training pictures."""
    batch_size: int = 16
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 1, "hidden_width", "inner_channels", "outer_channels")
        above_zero(self, "method", "learning_rate")
        shared.below_one(self, "momentum")


class KerasTextToImage(Method[UniformNoise]):
    """The three variants under one loss."""

    Settings = KerasSettings
    title = "Keras DCGAN"
    paper = "Chen, github.com/chen0040/keras-text-to-image, 2018, after Radford et al., ICLR 2016, arXiv:1511.06434"
    presets = {
        "as-published": Preset(
            sentence="The repository's demonstration: v1 at 32 px, noise of 200 numbers, 1,000 epochs of batches of 16.",
            resolution=32,
            training={"ema_half_life": 0.0},  # the code keeps no running average
        ),
        "cpu": Preset(
            sentence="Narrow networks, sized for two CPU cores.",
            resolution=64,
            method={
                "hidden_width": 256,
                "inner_channels": 32,
                "outer_channels": 16,
                "noise_width": 100,
                "epochs": 40.0,
            },
        ),
    }
    settings: KerasSettings

    def __init__(self, settings: KerasSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        side = conditions.resolution
        if side < SMALLEST or side % 2**DOUBLINGS:
            raise SettingsError(f"keras-text-to-image cannot paint at {side} px: choose a multiple of 4 from {SMALLEST} (32 as published)")
        self.generator = Generator(settings, conditions)
        self.discriminator = Discriminator(settings, conditions)
        self.apply(keras_initialization)

    def players(self) -> dict[str, Player]:
        settings = self.settings
        optimizer = SGD(learning_rate=settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0)
        return {
            "discriminator": Player(module=self.discriminator, optimizer=optimizer),
            "generator": Player(module=self.generator, optimizer=optimizer, averaged=True),
        }

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="gan",
                resolution=self.conditions.resolution,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                captions=settings.captions,
            )
        ]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """An update of the discriminator and one of the generator, with the same captions and noise of its own for each."""
        condition = mean_sentence(batch)  # [B, D]
        with torch.no_grad():
            fake = self.generator(self.noise(batch, "discriminator").z, condition, moving=True)  # [B, 3, R, R]
        yield self.discriminator_update(batch.pictures, fake, condition)
        yield self.generator_update(self.noise(batch, "generator").z, condition)

    def discriminator_update(self, real: Tensor, fake: Tensor, condition: Tensor) -> Update:
        """(BCE(real, 1) + BCE(fake, 0)) / 2: one batch of both in the code. real, fake: [B, 3, R, R]; condition: [B, D]."""
        logits = self.discriminator(real, condition), self.discriminator(fake, condition)  # [B] each
        loss = (bce(logits[0], 1.0) + bce(logits[1], 0.0)) / 2
        return Update("discriminator", loss, {name: value.detach().sigmoid().mean() for name, value in zip(("real", "fake"), logits)})

    def generator_update(self, z: Tensor, condition: Tensor) -> Update:
        """BCE(fake, 1). z: [B, Z], condition: [B, D]."""
        return Update("generator", bce(self.discriminator(self.generator(z, condition), condition), 1.0))

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> UniformNoise:
        if self.settings.version == "v2":
            return UniformNoise(torch.zeros(samples.numel() if isinstance(samples, Tensor) else np.size(samples), 0))
        return UniformNoise(uniform((self.settings.noise_width,), seed, samples, stream).mul_(2.0).sub_(1.0).float())

    def paint(self, text: TextFeatures, noise: UniformNoise) -> Painting:
        return Painting(self.generator(noise.z, text.sentence))

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's map before it reads the text, place by place: [B, C R' R']."""
        return self.discriminator.picture(pictures).flatten(1)


class Generator(nn.Module):
    """Noise and sentence, each through a linear layer, to a map of a quarter of the side; doubled twice by nearest neighbours."""

    def __init__(self, settings: KerasSettings, conditions: Conditions) -> None:
        super().__init__()
        side, inner = conditions.resolution // 2**DOUBLINGS, settings.inner_channels
        widths = {"v1": settings.hidden_width, "v2": 0, "v3": settings.noise_width}
        self.noise = nn.Linear(settings.noise_width, widths[settings.version]) if widths[settings.version] else None
        self.text = nn.Linear(conditions.sentence_width, settings.hidden_width)
        self.joint = nn.Linear(widths[settings.version] + settings.hidden_width, inner * side**2)
        self.normalization = KerasBatchNorm(inner * side**2)
        self.layers = nn.Sequential(
            nn.Tanh(),
            nn.Unflatten(1, (inner, side, side)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(inner, settings.outer_channels, KERNEL, padding=KERNEL // 2),
            nn.Tanh(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(settings.outer_channels, 3, KERNEL, padding=KERNEL // 2),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, sentence: Tensor, *, moving: bool = False) -> Tensor:
        """z: [B, Z], sentence: [B, D] -> [B, 3, R, R] in [-1, 1]. moving: normalise by the moving statistics in training, too."""
        parts = [self.text(sentence)] if self.noise is None else [self.noise(z), self.text(sentence)]
        joint = self.joint(torch.cat(parts, dim=1).tanh())
        return self.layers(self.normalization(joint, moving=moving))


class Discriminator(nn.Module):
    """Does the picture look real? Two convolutions with max-pooling, and a linear layer whose answer stands next to the sentence's."""

    def __init__(self, settings: KerasSettings, conditions: Conditions) -> None:
        super().__init__()
        side = (conditions.resolution // 2 - (KERNEL - 1)) // 2
        self.picture = nn.Sequential(
            nn.Conv2d(3, settings.outer_channels, KERNEL, padding=KERNEL // 2),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Conv2d(settings.outer_channels, settings.inner_channels, KERNEL),
            nn.Tanh(),
            nn.MaxPool2d(2),
        )
        self.seen = nn.Linear(settings.inner_channels * side**2, settings.hidden_width)
        self.text = nn.Linear(conditions.sentence_width, settings.hidden_width)
        self.joint = nn.Linear(2 * settings.hidden_width, 1)

    def forward(self, pictures: Tensor, sentence: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] and [B, D] -> [B] logits."""
        seen = self.seen(self.picture(pictures).flatten(1))
        return self.joint(torch.cat([seen, self.text(sentence)], dim=1).tanh()).flatten()


class KerasBatchNorm(nn.BatchNorm1d):
    """Batch normalisation as Keras has it for flat maps: epsilon 1e-3, statistics that move by a hundredth, and of them the variance of the
    batch itself, which PyTorch's layer multiplies by B / (B - 1)."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor, *, moving: bool = False) -> Tensor:
        """[B, N] -> [B, N]. moving: normalise by the moving statistics, and leave them as they are, in training, too."""
        if moving or not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        assert self.momentum is not None
        with torch.no_grad():
            seen = x.to(self.running_mean.dtype)  # of bfloat16 under autocast
            self.running_mean.lerp_(seen.mean(0), self.momentum)
            self.running_var.lerp_(seen.var(0, unbiased=False), self.momentum)
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


def keras_initialization(module: nn.Module) -> None:
    """Keras's default: uniform by Glorot and Bengio (AISTATS 2010), biases 0. For `Module.apply`."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
