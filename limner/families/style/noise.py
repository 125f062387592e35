"""The random inputs of pictures painted from styles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core.noise import Noise, gaussian


@dataclass(frozen=True)
class StyleNoise(Noise):
    """z: [B, Z], which becomes the style. maps: [B, M], the noise added to the layers' maps, one map after the other."""

    z: Tensor
    maps: Tensor

    def split(self, sides: Sequence[int]) -> list[Tensor]:
        """The noise of each map, of these sides: [B, 1, r, r] each."""
        parts = self.maps.split([side**2 for side in sides], dim=1)
        return [part.unflatten(1, (1, side, side)) for part, side in zip(parts, sides, strict=True)]


def drawn(width: int, sides: Sequence[int], seed: int, samples: ArrayLike, stream: str) -> StyleNoise:
    """The noise of these sample numbers, for a latent of `width` numbers and maps of these sides."""
    count = sum(side**2 for side in sides)
    return StyleNoise(gaussian((width,), seed, samples, stream), gaussian((count,), seed, samples, f"{stream}, maps"))


def drawn_maps(sides: Sequence[int], count: int, like: Tensor) -> list[Tensor]:
    """For training, noise of `count` pictures drawn on the device of `like`: [count, 1, r, r] for each side."""
    return [torch.randn(count, 1, side, side, device=like.device, dtype=like.dtype) for side in sides]
