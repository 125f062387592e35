"""The picture side of a matching model."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError


class PictureEncoder(nn.Module):
    """Pictures to embeddings: [B, 3, resolution, resolution] in [-1, 1] -> [B, width], of length 1 unless `normalize` is False.

    Residual stages (He et al., CVPR 2016) halve the picture down to 4 x 4; one linear map reads all of these places.
    Group normalisation (Wu and He, ECCV 2018, arXiv:1803.08494) keeps each picture's embedding independent of its batch.
    """

    def __init__(self, width: int, channels: int, resolution: int, normalize: bool = True) -> None:
        super().__init__()
        self.normalize = normalize
        stages = round(math.log2(resolution)) - 2
        if stages < 1 or resolution != 4 * 2**stages:
            raise SettingsError(f"pictures of {resolution} px cannot be matched: choose a power of two from 8 on, such as 32 or 64")
        widths = [min(channels * 2**stage, 4 * channels) for stage in range(stages)]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=2, padding=1), PreactivatedResidual(widths[0])]
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [normalisation(before), nn.ReLU(), nn.Conv2d(before, after, 3, stride=2, padding=1), PreactivatedResidual(after)]
        self.body = nn.Sequential(*layers, normalisation(widths[-1]), nn.ReLU())
        self.to_embedding = nn.Linear(16 * widths[-1], width)

    def forward(self, pictures: Tensor) -> Tensor:
        pictures = pictures.contiguous(memory_format=torch.channels_last)  # a quarter faster on a CPU
        features = self.body(pictures)  # [B, C, 4, 4]
        embedded: Tensor = self.to_embedding(features.flatten(1))
        return F.normalize(embedded, dim=1) if self.normalize else embedded


class PreactivatedResidual(nn.Module):
    """x + convolution(relu(normalised x)), of x's shape [B, channels, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(normalisation(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.change(features)


def normalisation(channels: int) -> nn.GroupNorm:
    """Group normalisation in groups of 16 channels, or of as many as divide them."""
    return nn.GroupNorm(channels // math.gcd(channels, 16), channels)
