"""The ground a flower is painted on: sky, meadow, night and sand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from limner.data.garden.attributes import BACKGROUND
from limner.data.garden.canvas import Array, Grid, column, coverage, ramp
from limner.data.garden.scenes import Scenes

# Colours at the top and at the bottom of the picture.
_GRADIENTS = np.array(
    [
        [[0.56, 0.77, 0.96], [0.89, 0.96, 1.00]],  # sky
        [[0.77, 0.90, 0.52], [0.42, 0.70, 0.27]],  # meadow
        [[0.035, 0.055, 0.18], [0.13, 0.17, 0.40]],  # night
        [[0.97, 0.91, 0.77], [0.89, 0.78, 0.58]],  # sand
    ],
    dtype=np.float32,
)


def _spots(grid: Grid, x: Array, y: Array, width: Array, height: Array, strength: Array) -> Array:
    """The sum of soft spots, each a product of a bell across and a bell down, so that all of them are one matrix product.

    Centres, widths, heights and strengths are [n, spots]; the sum is [n, H, W].
    """
    down = np.exp(-np.square((grid.y - y[:, None, :]) / height[:, None, :])) * strength[:, None, :]  # [n H spots]
    across = np.exp(-np.square((grid.x - x[:, :, None]) / width[:, :, None]))  # [n spots W]
    spots: Array = np.matmul(down, across)
    return spots


def _sky(canvas: Array, grid: Grid, draws: Array) -> None:
    """Soft clouds: each three puffs in a row."""
    x, y, scale, strength = draws[:, :12].reshape(-1, 3, 1, 4).transpose(3, 0, 1, 2)  # [n 3 1] each
    puffs = np.array([0.55, 1.0, 0.7], dtype=np.float32)
    wide = 0.10 + 0.06 * scale
    high = np.array([0.08, 0.33, 0.62], dtype=np.float32)[:, None] + 0.16 * y

    def flat(values: Array) -> Array:
        return np.broadcast_to(values, (len(draws), 3, 3)).reshape(len(draws), 9)

    mist = _spots(
        grid,
        flat(x + wide * np.array([-0.9, 0.0, 0.85], dtype=np.float32)),
        flat(high - 0.035 * puffs),
        flat(wide * (0.25 + 0.6 * puffs)),
        flat((0.062 + 0.02 * scale) * puffs),
        flat(1.1 + 0.3 * strength),
    )
    alpha = ramp(mist - np.float32(0.25)) * np.float32(0.9)
    for plane in canvas:
        plane += alpha * (np.float32(0.99) - plane)


def _meadow(canvas: Array, grid: Grid, draws: Array) -> None:
    """Sunlit haze above, and two rows of swaying blades of grass below."""
    first_row = int(0.5 * grid.resolution)
    y = grid.y[:, first_row:]
    shape = (canvas.shape[1], y.shape[1], grid.resolution)
    for row, (blades, reach, tint) in enumerate(((11.0, 0.46, (0.86, 0.93, 0.80)), (15.0, 0.30, (0.74, 0.86, 0.66)))):
        lean, phase = draws[:, 2 * row], draws[:, 2 * row + 1]
        height = np.float32(1.0) - y
        across = grid.x * np.float32(blades) + column(phase * 7.0)
        across = across + np.square(height) * column((lean - 0.5) * 0.9 * blades)
        cell = np.floor(across)
        # Heights come from a table of the picture's own draws, blade by blade.
        table = draws[:, 8 + 24 * row : 32 + 24 * row]
        index = (cell.astype(np.int32) % 24) + (24 * np.arange(shape[0], dtype=np.int32))[:, None, None]
        tall = np.float32(reach) * (np.float32(0.45) + np.float32(0.55) * table.reshape(-1).take(index))
        half_width = np.float32(0.42) * (np.float32(1.0) - height / tall)
        alpha = coverage(half_width - np.abs(across - cell - np.float32(0.5)), grid.resolution / blades)
        for plane, factor in zip(canvas[:, :, first_row:], tint, strict=True):
            plane += alpha * (plane * np.float32(factor - 1.0))


def _night(canvas: Array, grid: Grid, draws: Array) -> None:
    """A few stars, each no smaller than a pixel and dimmer instead."""
    x, y, scale = draws[:, :27].reshape(-1, 9, 3).transpose(2, 0, 1)
    true_width = 0.005 + 0.006 * scale
    width = np.maximum(true_width, np.float32(0.6 / grid.resolution))
    brightness = 0.95 * np.minimum(1.0, true_width / width * 1.15)
    glow = _spots(grid, x, y, width, width, brightness)
    alpha = ramp(glow)
    for plane, value in zip(canvas, (1.0, 0.97, 0.85), strict=True):
        plane += alpha * (np.float32(value) - plane)


def _sand(canvas: Array, grid: Grid, draws: Array) -> None:
    """Wind ripples that close up towards the horizon, and a few pebbles."""
    phase, sway, lean = draws[:, 0], draws[:, 1], draws[:, 2]
    bend = np.sin(grid.x * np.float32(7.0) + column(sway * 6.2832)) * np.float32(0.28)
    rows = np.float32(26.0) * np.sqrt(grid.y + np.float32(0.25)) + column(phase * 6.2832)
    ripple = np.sin(rows * np.float32(1.45) + bend * np.float32(2.2) + grid.x * column((lean - 0.5) * 3.0))
    factor = ripple * (np.float32(0.018) + np.float32(0.022) * grid.y)
    x, y, scale = draws[:, 3:18].reshape(-1, 5, 3).transpose(2, 0, 1)
    width = 0.009 + 0.010 * scale
    factor -= _spots(grid, x, 0.35 + 0.62 * y, width, width * 0.65, np.full_like(width, 0.22))
    factor += np.float32(1.0)
    canvas *= factor


_DETAILS: tuple[Callable[[Array, Grid, Array], None], ...] = (_sky, _meadow, _night, _sand)


def paint_background(scenes: Scenes, grid: Grid) -> Array:
    """A new canvas [3, n, H, W] with each scene's background."""
    kinds: NDArray[np.int64] = scenes.codes[:, BACKGROUND]
    draws = scenes.draws("background", 60)
    tone = np.float32(0.95) + np.float32(0.07) * draws[:, 59]
    canvas = np.empty((3, len(scenes), grid.resolution, grid.resolution), dtype=np.float32)
    for kind, paint_details in enumerate(_DETAILS):
        rows = np.flatnonzero(kinds == kind)
        if len(rows):
            part = np.empty((3, len(rows), grid.resolution, grid.resolution), dtype=np.float32)
            for plane, top, bottom in zip(part, *_GRADIENTS[kind], strict=True):
                plane[:] = (top + grid.y * (bottom - top)) * column(tone[rows])
            paint_details(part, grid, draws[rows])
            canvas[:, rows] = part
    return canvas
