"""The style encoder S: from a picture back to the noise that it was painted from.

Scott Reed et al., "Generative Adversarial Text to Image Synthesis", ICML 2016, arXiv:1605.05396, section 4.4. The authors released no code
of it, and the paper does not say what network S is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.core.method import Method
from limner.core.noise import Noise
from limner.nn.initialization import he_initialization

_DRAWN = 1024
"""Samples drawn to see what a method's noise is."""


class StyleEncoder(nn.Module):
    """Pictures to noise: [B, 3, R, R] in [-1, 1] -> a tensor [B, W] for each field of a method's noise.

    DCGAN's strided convolutions down to 4x4, whose places a linear map reads all at once. There is no normalisation: what noise changes
    in a picture is small beside what the caption changes, and normalised layers took many times as long to see it. Nor does a picture's
    style depend on the batch it is in. The answer to every picture is 0 at the start, the best one for who knows nothing.
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
    try:
        noise = method.draw_noise(0, np.arange(_DRAWN))
    except NotImplementedError:
        raise SettingsError(f"{name} paints from no noise, so there is no style to find: leave style.steps out") from None
    fields = noise_fields(noise)
    for field, value in fields.items():
        if not (value.ndim == 2 and value.is_floating_point() and _is_standard_normal(value)):
            raise SettingsError(f"{name}'s noise '{field}' is no vector of standard normal numbers: leave style.steps out")
    if not fields:
        raise SettingsError(f"{name} paints from no noise, so there is no style to find: leave style.steps out")
    return {field: value.shape[1] for field, value in fields.items()}


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
