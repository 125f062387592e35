"""Every random input of a painting, as a value that can be stored, mixed and injected."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core import random

NoiseType = TypeVar("NoiseType", bound="Noise")


@dataclass(frozen=True)
class Noise:
    """Base of each method's noise: a dataclass whose fields are tensors with the samples along the first dimension."""

    def to(self: NoiseType, device: torch.device | str) -> NoiseType:
        """The same noise on another device."""
        return type(self)(**{name: value.to(device, non_blocking=True) for name, value in self._tensors().items()})

    def __len__(self) -> int:
        return next(iter(self._tensors().values())).shape[0]

    def __getitem__(self: NoiseType, rows: slice | Tensor) -> NoiseType:
        return type(self)(**{name: value[rows] for name, value in self._tensors().items()})

    def between(self: NoiseType, other: NoiseType, fraction: float) -> NoiseType:
        """The noise at `fraction` (0..1) of the way to `other` along the great circle, where Gaussian noise keeps its length."""
        mine, theirs = self._tensors(), other._tensors()
        return type(self)(**{name: slerp(mine[name], theirs[name], fraction) for name in mine})

    def _tensors(self) -> dict[str, Tensor]:
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}


@dataclass(frozen=True)
class VectorNoise(Noise):
    """z: [B, Z], what nearly all methods paint from."""

    z: Tensor


@dataclass(frozen=True)
class ConditionedNoise(Noise):
    """z: [B, Z]. epsilon: [B, C], which of the conditions that fit a caption is painted (conditioning augmentation)."""

    z: Tensor
    epsilon: Tensor


def gaussian(shape: tuple[int, ...], seed: int, samples: ArrayLike, stream: str) -> Tensor:
    """Standard normal noise [B, *shape] that depends on (seed, stream, sample number) alone."""
    return torch.from_numpy(random.normal(shape, seed, stream, np.asarray(samples)))


def slerp(start: Tensor, end: Tensor, fraction: float) -> Tensor:
    """Spherical interpolation of each row: [B, ...] and [B, ...] -> [B, ...]."""
    a, b = start.flatten(1), end.flatten(1)
    lengths = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    cosine = (a * b).sum(1, keepdim=True) / (lengths[0] * lengths[1]).clamp_min(1e-12)
    angle = torch.arccos(cosine.clamp(-1, 1)).clamp(1e-4, math.pi - 1e-4)
    mixed = (torch.sin((1 - fraction) * angle) * a + torch.sin(fraction * angle) * b) / torch.sin(angle)
    return mixed.view_as(start)


def squeezed(noise: Tensor, bound: float) -> Tensor:
    """Standard normal noise brought between -bound and bound: the normal distribution cut there, each number keeping its rank."""
    lowest = torch.special.ndtr(torch.tensor(-bound, dtype=torch.float64))
    rank = lowest + torch.special.ndtr(noise.double()) * (1.0 - 2.0 * lowest)
    return torch.special.ndtri(rank).to(noise.dtype)
