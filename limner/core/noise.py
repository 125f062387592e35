"""Every random input of a painting, as a value that can be stored, mixed and injected."""

from __future__ import annotations

import dataclasses
import math
import zlib
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core import random
from limner.core.random import GOLDEN, MIX_1, MIX_2

NoiseType = TypeVar("NoiseType", bound="Noise")

FEW = 1 << 14
"""Numbers up to which NumPy draws them faster on a CPU."""


def lerp(start: Tensor, end: Tensor, fraction: float) -> Tensor:
    """Straight from one to the other, as uniform noise wants it: any shapes that are alike."""
    return start.lerp(end, fraction)


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
        """The noise at `fraction` (0..1) of the way to `other`, each field walked in its own way: along the great circle (`slerp`) unless
        the field names another function as `field(metadata={"between": lerp})`."""
        mine, theirs = self._tensors(), other._tensors()
        ways = {item.name: item.metadata.get("between", slerp) for item in dataclasses.fields(self)}
        return type(self)(**{name: ways[name](mine[name], theirs[name], fraction) for name in mine})

    def _tensors(self) -> dict[str, Tensor]:
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}


@dataclass(frozen=True)
class VectorNoise(Noise):
    """z: [B, Z], what nearly all methods paint from."""

    z: Tensor


@dataclass(frozen=True)
class UniformNoise(Noise):
    """z: [B, Z], uniform numbers, which are walked straight."""

    z: Tensor = field(metadata={"between": lerp})


@dataclass(frozen=True)
class ConditionedNoise(Noise):
    """z: [B, Z]. epsilon: [B, C], which of the conditions that fit a caption is painted (conditioning augmentation)."""

    z: Tensor
    epsilon: Tensor


def gaussian(shape: tuple[int, ...], seed: int | Tensor, samples: ArrayLike | Tensor, stream: str) -> Tensor:
    """Standard normal noise [B, *shape] that depends on (seed, stream, sample number) alone: `random.normal`, made on the default device.

    Within `with torch.device("cuda"):` it is made there, without passing through the CPU. All devices agree to float32 rounding. Seed and
    samples may both be tensors of int64 [B]: then every operation is one on tensors, so that drawing can be exported.
    """
    count = math.prod(shape)
    if not isinstance(seed, Tensor) and count * np.size(samples) <= FEW and torch.empty(0).device.type == "cpu":
        return torch.from_numpy(random.normal(shape, seed, stream, np.atleast_1d(samples)))
    rows = _hashed(seed, stream, samples)
    radius = torch.log1p(-_uniform(rows, 0, count)).mul_(-2.0).sqrt_()
    values = radius.mul_(_uniform(rows, 1, count).mul_(2.0 * math.pi).cos_())
    return values.float().view(-1, *shape)


def uniform(shape: tuple[int, ...], seed: int | Tensor, samples: ArrayLike | Tensor, stream: str) -> Tensor:
    """Noise [B, *shape] in float64, uniform in [0, 1), made as `gaussian` is."""
    return _uniform(_hashed(seed, stream, samples), 0, math.prod(shape)).view(-1, *shape)


def _hashed(seed: int | Tensor, stream: str, samples: ArrayLike | Tensor) -> Tensor:
    """[B, 1] int64 on the default device, with the bits of `random.hash64`."""
    if isinstance(seed, Tensor):
        assert isinstance(samples, Tensor)
        state = torch.zeros((), dtype=torch.int64)
        for part in (seed, torch.tensor(zlib.crc32(stream.encode())), samples):
            state = _mixed(state * _signed(MIX_1) + part + _signed(GOLDEN))
        return state.view(-1, 1)
    found = np.atleast_1d(random.hash64(seed, stream, np.asarray(samples)))
    return torch.from_numpy(found.view(np.int64)).to(torch.empty(0).device, non_blocking=True)[:, None]


def _uniform(rows: Tensor, stream: int, count: int) -> Tensor:
    """`random.uniform_of`: [B, 1] -> [B, count] float64. int64 holds the bits of unsigned numbers: products are the same modulo 2^64."""
    counters = torch.arange(count, dtype=torch.int64).mul_(2).add_(stream + 1)
    return _shifted(_mixed(rows + counters.mul_(_signed(GOLDEN))), 11).double().mul_(2.0**-53)


def _mixed(value: Tensor) -> Tensor:
    """SplitMix64's finaliser."""
    value = (value ^ _shifted(value, 30)).mul_(_signed(MIX_1))
    value = (value ^ _shifted(value, 27)).mul_(_signed(MIX_2))
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Shifted right as unsigned numbers are."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >= 1 << 63 else bits


def switched(start: Tensor, end: Tensor, fraction: float) -> Tensor:
    """Number by number from one to the other, the first ones first, as independent draws want it: [B, L] and [B, L] -> [B, L]."""
    places = torch.arange(start.shape[1], device=start.device)
    return torch.where(places < round(fraction * start.shape[1]), end, start)


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
