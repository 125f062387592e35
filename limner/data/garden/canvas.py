"""A canvas of several pictures, and the few strokes that everything is painted with.

A canvas is float32 [3, n, H, W] in [0, 1]: one plane per colour channel, because numpy works fastest on contiguous planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Pixel centres in picture widths: x [1 or n, 1, w] runs right, y [1 or n, h, 1] runs down."""

    x: Array
    y: Array
    resolution: int
    """Pixels to a picture's width."""

    @classmethod
    def of(cls, resolution: int) -> Grid:
        """The grid of a whole square picture."""
        centres = (np.arange(resolution, dtype=np.float32) + np.float32(0.5)) / np.float32(resolution)
        return cls(x=centres[None, None, :], y=centres[None, :, None], resolution=resolution)


class Window:
    """Equal square patches of some pictures of a canvas, each about its own point, to paint on without touching the rest."""

    def __init__(self, canvas: Array, grid: Grid, rows: NDArray[np.int64], x: Array, y: Array, width: float) -> None:
        """Copy patches of `width` about (x [m], y [m]), in picture widths, from pictures `rows` [m] of a canvas with the whole `grid`."""
        side = min(grid.resolution, int(width * grid.resolution) + 3)
        corners = np.stack([x, y]) * np.float32(grid.resolution) - np.float32(0.5 * side)
        first = np.clip(np.rint(corners).astype(np.int64), 0, grid.resolution - side)
        across = first[0][:, None, None] + np.arange(side)  # [m 1 side]
        down = first[1][:, None, None] + np.arange(side)[:, None]  # [m side 1]
        self.index = rows[:, None, None], down, across
        self.grid = Grid(x=grid.x[0, 0][across], y=grid.y[0, :, 0][down], resolution=grid.resolution)
        self.canvas = np.stack([plane[self.index] for plane in canvas])

    def put_back(self, canvas: Array) -> None:
        """Copy the painted patches into the canvas."""
        for plane, painted in zip(canvas, self.canvas, strict=True):
            plane[self.index] = painted


def column(values: Array) -> Array:
    """[n] -> [n, 1, 1], to broadcast over the pixels of each picture."""
    return values[:, None, None]


def coverage(distance: Array, pixels: float | Array) -> Array:
    """How much of a pixel lies inside an edge at signed `distance` (positive inside), where one unit is `pixels` pixels wide."""
    alpha = distance * np.asarray(pixels, dtype=np.float32)
    alpha += np.float32(0.5)
    return np.clip(alpha, 0.0, 1.0, out=alpha)


def ramp(values: Array) -> Array:
    """Clip to [0, 1] in place."""
    return np.clip(values, 0.0, 1.0, out=values)


def lay(canvas: Array, alpha: Array, colour: Array) -> None:
    """Paint a flat colour, [3] or one a picture [n 3], over the canvas through alpha [n, H, W]."""
    clear = np.float32(1.0) - alpha
    for plane, value in zip(canvas, colour.T, strict=True):
        plane *= clear
        plane += alpha * value.reshape(-1, 1, 1)
