"""Random numbers that depend on what they are for, and on nothing else.

Every draw is a pure function of integers (a seed, a sample's index, a stream): the same picture, crop or caption comes out whatever the
batch size, the process, the number of devices or what was drawn before, and a resumed run needs no generator state. The hash is
SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014), applied once per part; integer draws and uniforms are exact on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""The constants of SplitMix64."""
_GOLDEN, _MIX_1, _MIX_2 = np.uint64(GOLDEN), np.uint64(MIX_1), np.uint64(MIX_2)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


def hash64(*parts: ArrayLike | str) -> NDArray[np.uint64]:
    """Hash the parts, broadcast against each other, to uniformly distributed 64-bit integers.

    A part is an integer, an array of integers, or a string, which names a stream: `hash64(seed, "crop", indices)`.
    """
    state = np.zeros((), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            if isinstance(part, str):
                part = zlib.crc32(part.encode())
            if isinstance(part, int):
                part &= 0xFFFF_FFFF_FFFF_FFFF
                value = np.asarray(part, dtype=np.uint64)
            else:
                value = np.asarray(part).astype(np.int64).astype(np.uint64)
            state = _mix(state * _MIX_1 + value + _GOLDEN)
    return state


def uniform(*parts: ArrayLike | str) -> NDArray[np.float64]:
    """Uniform draws in [0, 1), with 53 random bits each."""
    return (hash64(*parts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def integers(bound: int, *parts: ArrayLike | str) -> NDArray[np.int64]:
    """Uniform integers in [0, bound)."""
    return np.minimum(np.floor(uniform(*parts) * bound), bound - 1).astype(np.int64)


def normal(shape: Sequence[int], *parts: ArrayLike | str) -> NDArray[np.float32]:
    """Standard normal draws by the Box-Muller transform: one array of `shape` for every element of the parts.

    Parts that broadcast to [B] give [B, *shape]; the draws of one row do not depend on the other rows.
    """
    count = int(np.prod(shape, dtype=np.int64))
    rows = hash64(*parts)[..., None]
    radius = np.sqrt(-2.0 * np.log1p(-uniform_of(rows, 0, count)))
    values = radius * np.cos(2.0 * np.pi * uniform_of(rows, 1, count))
    return values.astype(np.float32).reshape(*rows.shape[:-1], *shape)


def uniform_of(rows: NDArray[np.uint64], stream: int, count: int) -> NDArray[np.float64]:
    """`count` uniform draws in [0, 1) for each hashed row: [..., 1] -> [..., count]."""
    with np.errstate(over="ignore"):
        counters = np.arange(count, dtype=np.uint64) * np.uint64(2) + np.uint64(stream + 1)
        return (_mix(rows + counters * _GOLDEN) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(count: int, *parts: ArrayLike | str) -> NDArray[np.int64]:
    """A permutation of range(count): the order of `count` hashes."""
    return np.argsort(hash64(*parts, np.arange(count)), kind="stable")
