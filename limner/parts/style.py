"""The style encoder S, which finds the noise that a picture was painted from.

Reed et al. (ICML 2016, arXiv:1605.05396, section 4.4) train S by L = E_{t, z} || z - S(G(z, phi(t))) ||^2 with G fixed. Here the loss
is the mean over z's numbers instead of their sum, so that it is 1 for an S that always answers 0, the mean of z, whatever z's width. The
authors released no code of it, and the paper does not say what network S is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core import folder
from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Method
from limner.core.noise import Noise
from limner.core.optimizers import Adam
from limner.core.settings import Preset, StyleSettings, place
from limner.core.trainable import Conditions, Kept, Phase, Player, Progress, Trainable, Update
from limner.nn.initialization import he_initialization
from limner.text.encoder import TextEncoder
from limner.text.saving import load_encoder

if TYPE_CHECKING:
    from typing_extensions import Self

WARM_UP_STEPS = 50
_DRAWN = 1024
"""Samples drawn to see what a method's noise is."""


@dataclass(frozen=True, kw_only=True)
class StyleTrainingSettings(StyleSettings):
    """How a style encoder is trained for a model that exists already."""

    steps: int = 3000
    """Steps of training S."""
    model: str = place("")
    """Run folder, model folder or shipped name of the model whose pictures S learns to read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise SettingsError(f"method.steps is {self.steps}, but must be at least 1")


class StyleInversion(Trainable):
    """Trains S on what a method paints of the batch's captions; the method stands still.

    painter: the method, with the weights that will be inverted by the time this trains; without it, `settings.model` is loaded. It is not
    part of this module: its weights are neither trained nor stored here. name: the painter's, for errors.
    """

    kind = "method"
    Settings: ClassVar[type] = StyleTrainingSettings
    title: ClassVar[str] = "Style encoder"
    paper: ClassVar[str] = "Reed et al., Generative Adversarial Text to Image Synthesis, ICML 2016, arXiv:1605.05396, section 4.4"
    presets: ClassVar[Mapping[str, Preset]] = {
        "as-published": Preset(sentence="The library's own defaults: the paper states none.", resolution=64),
        "cpu": Preset(sentence="The same, on two CPU cores.", resolution=64),
    }
    settings: StyleSettings

    def __init__(
        self,
        settings: StyleSettings,
        conditions: Conditions,
        encoder: TextEncoder | None = None,
        *,
        painter: Method | None = None,
        name: str = "",
    ) -> None:
        made: dict[str, Any] = {}
        if painter is None:
            assert isinstance(settings, StyleTrainingSettings)
            with folder.located(settings.model, "method") as found:
                saved = folder.read(found, "method")
            with saved.being_read():
                painter, name = cast("Method", folder.restored(saved, "method")), str(saved.config["name"])
            made = saved.config["about"]
        super().__init__(settings, painter.conditions)
        self.name, self.made = name, made
        self._painter = (painter,)  # in a tuple, or torch would make it a part of this module
        self.encoder = StyleEncoder(noise_widths(painter, name), settings.channels, painter.conditions.resolution)

    @classmethod
    def of(cls, style: StyleEncoder, painter: Method, name: str) -> StyleInversion:
        """A trained S together with its painter, to be saved."""
        made = cls(StyleSettings(channels=style.channels), painter.conditions, painter=painter, name=name)
        made.encoder = style
        return made

    @classmethod
    def own_encoder(cls, settings: StyleTrainingSettings, captions: Iterable[str]) -> TextEncoder:
        """The text encoder of the model, with its weights."""
        if not settings.model:
            raise SettingsError("a style encoder belongs to a model: give it by --method.model RUN, a model folder or a shipped name")
        return load_encoder(settings.model).requires_grad_(False)

    @property
    def painter(self) -> Method:
        """The method whose noise S finds."""
        return self._painter[0]

    def keeps(self) -> Kept:
        """The painter's folder, with S in it."""
        kept = self.painter.keeps()
        style = {"widths": self.encoder.widths, "channels": self.encoder.channels}
        parts = {**kept.parts, "style": self.encoder.state_dict()}
        return dataclasses.replace(kept, name=self.name, config={**kept.config, "style": style}, parts=parts)

    def history(self, facts: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
        return {**(self.made if before is None else before), "style_steps": facts["steps"]}

    def summary(self) -> str:
        return f"{self.painter.summary()} Its style encoder finds the noise of a picture: `limner explore restyle`."

    def usage(self) -> str:
        return self.painter.usage()

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        return (("style", 'limner explore restyle RUN PICTURE --captions "..." --out restyled.png'),)

    def couples_rows(self) -> str | None:
        return None

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
        settings = self.settings
        return [Phase(name="style", resolution=self.resolution, batch_size=settings.batch_size, steps=settings.steps)]

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
        return rise * 0.5 * (1 + math.cos(math.pi * progress.spent))


class StyleEncoder(nn.Module):
    """Pictures to noise: [B, 3, R, R] in [-1, 1] -> a tensor [B, W] for each field of a method's noise.

    DCGAN's strided convolutions down to 4x4, whose places a linear map reads all at once. There is no normalisation: what noise changes
    in a picture is small compared with what the caption changes, and normalised layers took many times as long to see it. Nor does a
    picture's style depend on the batch it is in. It starts by answering 0, the best guess before it has learned anything.
    widths: W of each field, by its name.
    """

    def __init__(self, widths: Mapping[str, int], channels: int, resolution: int) -> None:
        super().__init__()
        self.widths, self.channels = dict(widths), channels
        stages = round(math.log2(resolution)) - 2
        if stages < 1 or resolution != 4 * 2**stages:
            raise SettingsError(
                f"no style encoder for pictures of {resolution} px: choose a power of two from 8 on, or leave style.steps out"
            )
        outputs = [min(channels * 2**stage, 8 * channels) for stage in range(stages)]
        layers: list[nn.Module] = []
        for before, after in zip([3, *outputs], outputs, strict=False):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.to_noise = nn.Linear(16 * outputs[-1], sum(widths.values()))
        self.body.apply(he_initialization)
        nn.init.zeros_(self.to_noise.weight)
        nn.init.zeros_(self.to_noise.bias)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        features = self.body(pictures)  # [B, C, 4, 4]
        parts = self.to_noise(features.flatten(1)).split(list(self.widths.values()), dim=1)
        return dict(zip(self.widths, parts, strict=True))


def noise_widths(method: Method, name: str) -> dict[str, int]:
    """Width of each field of a method's noise. `name` is the method's, for errors.

    Raises SettingsError for a method without noise, or with noise other than vectors of independent standard normal numbers.
    """
    problem = why_no_style(method)
    if problem is not None:
        raise SettingsError(f"{name} {problem}: leave style.steps out")
    return {field: value.shape[1] for field, value in noise_fields(method.draw_noise(0, np.arange(_DRAWN))).items()}


def why_no_style(method: Method) -> str | None:
    """Why a method can have no style encoder, as the end of a sentence; None where it can."""
    fields = noise_fields(method.draw_noise(0, np.arange(_DRAWN)))
    for field, value in fields.items():
        if not (value.ndim == 2 and value.is_floating_point() and _is_standard_normal(value)):
            return f"paints from a noise '{field}' that is not a vector of standard normal numbers, which no style encoder finds"
    return None if fields else "uses no noise, so it has no style to find"


def noise_fields(noise: Noise) -> dict[str, Tensor]:
    """The tensors of a noise by name."""
    return {item.name: getattr(noise, item.name) for item in dataclasses.fields(noise)}


def flat_noise(fields: Mapping[str, Tensor]) -> Tensor:
    """All fields side by side, in float32: {name: [B, W]} -> [B, sum of W]."""
    return torch.cat([value.float() for value in fields.values()], dim=1)


def _is_standard_normal(values: Tensor) -> bool:
    """Whether numbers could be N(0, 1): mean, mean square and mean fourth power within five standard errors of 0, 1 and 3."""
    count = values.numel()
    moments = ((values, 0.0, 1.0), (values**2, 1.0, 2.0), (values**4, 3.0, 96.0))  # and the variance of each under N(0, 1)
    return all(abs(float(value.double().mean()) - mean) < 5 * math.sqrt(variance / count) for value, mean, variance in moments)
