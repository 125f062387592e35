"""Scenes: what is to be painted, as attribute codes and a key from which every natural variation follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limner.core.random import hash64, uniform_of
from limner.data.garden.attributes import NAMES, decode


@dataclass(frozen=True)
class Scene:
    """One picture to paint."""

    codes: tuple[int, ...]
    """Attribute codes, in the order of `ATTRIBUTES`."""
    key: int
    """64-bit integer that decides tilt, place, shading, leaves and the details of the background."""

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes' values."""
        return decode(self.codes)


@dataclass(frozen=True)
class Scenes:
    """Several scenes as arrays."""

    codes: NDArray[np.int64]
    """[N 6] attribute codes."""
    keys: NDArray[np.uint64]
    """[N] keys."""

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Scenes:
        return Scenes(self.codes[rows], self.keys[rows])

    def __iter__(self) -> Iterator[Scene]:
        for codes, key in zip(self.codes.tolist(), self.keys.tolist(), strict=True):
            yield Scene(tuple(codes), key)

    def draws(self, purpose: str, count: int) -> NDArray[np.float32]:
        """`count` uniform draws in [0, 1) for each scene: [N, count]; each depends on the scene's key and the purpose alone."""
        return uniform_of(hash64(self.keys, purpose)[:, None], 0, count).astype(np.float32)


def gather(scenes: Scenes | Scene | Iterable[Scene]) -> Scenes:
    """Make one `Scenes` of what a caller may hand in."""
    if isinstance(scenes, Scenes):
        return scenes
    rows = [scenes] if isinstance(scenes, Scene) else list(scenes)
    codes = np.array([row.codes for row in rows], dtype=np.int64).reshape(len(rows), len(NAMES))
    return Scenes(codes, np.array([row.key for row in rows], dtype=np.uint64))
