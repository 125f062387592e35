"""Learning to invert the generator: the training of the style encoder S.

Reed et al. (ICML 2016, arXiv:1605.05396, section 4.4) train S by L = E_{t, z} || z - S(G(z, phi(t))) ||^2 with G fixed. Here the loss
is the mean over z's numbers instead of their sum, so that it is 1 for an S that always answers 0, the mean of z, whatever z's width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F

from limner.core.batch import Batch
from limner.core.method import Adam, Method, Phase, Player, Progress, Update
from limner.core.settings import Preset, StyleSettings
from limner.model.style import StyleEncoder, flat_noise, noise_fields, noise_widths

if TYPE_CHECKING:
    from typing_extensions import Self

WARM_UP_STEPS = 50


class StyleInversion(Method):
    """Trains S on what a method paints of the batch's captions; the method stands still.

    method: the painter, with the weights that shall be inverted by the time this trains. It is no part of this module: its weights are
    neither trained nor stored here. name: the method's, for errors.
    """

    Settings = StyleSettings
    title = "style encoder"
    paper = "Reed et al., Generative Adversarial Text to Image Synthesis, ICML 2016, arXiv:1605.05396, section 4.4"
    presets: ClassVar[dict[str, Preset]] = {}
    settings: StyleSettings

    def __init__(self, settings: StyleSettings, method: Method, name: str) -> None:
        super().__init__(settings, method.conditions)
        self._painter = (method,)  # in a tuple, or torch would make it a part of this module
        self.encoder = StyleEncoder(noise_widths(method, name), settings.channels, method.conditions.resolution)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._painter[0].eval().requires_grad_(False)
        return self

    def players(self) -> dict[str, Player]:
        optimizer = Adam(learning_rate=self.settings.learning_rate, betas=(0.9, 0.99))
        return {
            "style": Player(module=self.encoder, optimizer=optimizer, learning_rate_factor=self._learning_rate_factor, gradient_clip=1.0)
        }

    def phases(self) -> list[Phase]:
        return [Phase(name="style", resolution=self.conditions.resolution, batch_size=self.settings.batch_size, steps=self.settings.steps)]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        painter = self._painter[0]
        noise = painter.noise(batch, "style")
        with torch.no_grad():
            pictures = painter.paint(batch.text, noise).images.float()  # [B, 3, R, R]
        z = flat_noise(noise_fields(noise))  # [B, Z]
        loss = F.mse_loss(flat_noise(self.encoder(pictures)), z)
        yield Update("style", loss, {"explained": 1 - loss.detach() / z.square().mean()})

    def _learning_rate_factor(self, progress: Progress) -> float:
        rise = min((progress.step + 1) / WARM_UP_STEPS, 1.0)
        return rise * 0.5 * (1 + math.cos(math.pi * min(progress.fraction, 1.0)))
