"""From scenes to pictures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import SettingsError
from limner.data.garden.backgrounds import paint_background
from limner.data.garden.canvas import Array, Grid
from limner.data.garden.flowers import Flowers, paint_flower
from limner.data.garden.scenes import Scene, Scenes, gather

SMALLEST, LARGEST = 8, 2048
_PIXELS_PER_CHUNK = 24 * 64 * 64  # keeps the planes of a chunk in the processor's cache


def check_resolution(resolution: int) -> int:
    """Return the resolution, or raise a SettingsError where it cannot be painted."""
    if not SMALLEST <= resolution <= LARGEST:
        raise SettingsError(f"the garden cannot be painted at resolution {resolution}: give one from {SMALLEST} to {LARGEST}")
    return resolution


def paint(scenes: Scenes | Scene | Iterable[Scene], resolution: int) -> NDArray[np.uint8]:
    """Paint scenes as square pictures: uint8 [N, resolution, resolution, 3].

    A picture depends on its own scene alone, and shows the same scene at every resolution from 8 to 2048.
    """
    check_resolution(resolution)
    rows = gather(scenes)
    grid = Grid.of(resolution)
    pictures = np.empty((len(rows), resolution, resolution, 3), dtype=np.uint8)
    chunk = max(1, _PIXELS_PER_CHUNK // resolution**2)
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        canvas = paint_background(part, grid)
        paint_flower(canvas, Flowers.of(part), grid)
        pictures[start : start + chunk] = quantise(canvas)
    return pictures


def quantise(canvas: Array) -> NDArray[np.uint8]:
    """A canvas [3, n, H, W] in [0, 1] as pictures [n, H, W, 3] of 256 levels."""
    levels = canvas * np.float32(255.0)
    levels += np.float32(0.5)
    np.clip(levels, 0.0, 255.0, out=levels)
    return np.moveaxis(levels.astype(np.uint8), 0, -1)
