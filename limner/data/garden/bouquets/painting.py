"""From bouquets to pictures and masks: all stems and leaves first, then the blossoms from the rearmost to the one in front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limner.data.garden.attributes import COLOUR, SIZE
from limner.data.garden.backgrounds import paint_background
from limner.data.garden.bouquets.arranging import Bouquet
from limner.data.garden.bouquets.worlds import MOST
from limner.data.garden.canvas import Array, Grid
from limner.data.garden.flowers import PETALS, Flowers, paint_blossom, paint_stalk
from limner.data.garden.painting import check_resolution, quantise
from limner.data.garden.scenes import Scenes

_PIXELS_PER_CHUNK = 32 * 64 * 64
_STEM = 0.0125


def paint_bouquets(bouquets: Bouquet, resolution: int) -> NDArray[np.uint8]:
    """Paint bouquets as square pictures: uint8 [N, resolution, resolution, 3]; each depends on its own bouquet alone."""
    return _paint(bouquets, resolution, None)


def paint_masks(bouquets: Bouquet, resolution: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """How far each flower covers each pixel, in 256 levels: whole flowers, and what can be seen of them, [N, 4, H, W] each.

    Levels agree on all machines within one, as pixels do.
    """
    whole = np.zeros((len(bouquets), MOST, resolution, resolution), dtype=np.float32)
    _paint(bouquets, resolution, whole)
    seen = whole.copy()
    clear = np.ones((len(bouquets), resolution, resolution), dtype=np.float32)
    for place in reversed(range(MOST)):
        seen[:, place] *= clear
        clear *= np.float32(1.0) - whole[:, place]
    levels = [(part * np.float32(255.0) + np.float32(0.5)).astype(np.uint8) for part in (whole, seen)]
    return levels[0], levels[1]


def _paint(bouquets: Bouquet, resolution: int, masks: Array | None) -> NDArray[np.uint8]:
    check_resolution(resolution)
    grid = Grid.of(resolution)
    pictures = np.empty((len(bouquets), resolution, resolution, 3), dtype=np.uint8)
    order = np.argsort(-bouquets.number, kind="stable")  # then the pictures that have a flower at a place are the first ones
    chunk = max(1, _PIXELS_PER_CHUNK // resolution**2)
    for start in range(0, len(bouquets), chunk):
        rows = order[start : start + chunk]
        part = bouquets[rows]
        canvas = paint_background(Scenes(part.codes[:, 0], part.keys), grid)
        flowers = [flowers_at(part[: int((part.number > place).sum())], place) for place in range(MOST)]
        flowers = [each for each in flowers if len(each.x)]
        for each in flowers:
            paint_stalk(canvas[:, : len(each.x)], each, grid, _STEM)
        for place, each in enumerate(flowers):
            covered = paint_blossom(canvas[:, : len(each.x)], each, grid)
            if masks is not None:
                masks[rows[: len(each.x)], place] = covered
        pictures[rows] = quantise(canvas)
    return pictures


def flowers_at(bouquets: Bouquet, place: int) -> Flowers:
    """The flowers at one place of bouquets that all have one there, with their natural variation."""
    d = bouquets.draws[:, place].astype(np.float32)
    codes = bouquets.codes[:, place]
    x, y = bouquets.x[:, place].astype(np.float32), bouquets.y[:, place].astype(np.float32)
    warmth = (d[:, 3:6] - 0.5) * np.float32(0.09)
    blossoms = bouquets.blossoms
    rows = np.arange(len(bouquets)) * MOST + place
    large = codes[:, SIZE].astype(np.float32)
    foot = 0.5 + (x - 0.5) * np.float32(0.30) + (d[:, 32] - 0.5) * np.float32(0.10)
    side = np.where(x < 0.5, -1.0, 1.0).astype(np.float32)
    leaves = np.zeros((len(codes), 2, 4), dtype=np.float32)
    present = np.floor(d[:, 8] * 2.2)
    below = np.minimum(y + (0.20 + 0.06 * large), np.float32(0.86))
    for leaf in range(2):
        e = d[:, 9 + 3 * leaf : 12 + 3 * leaf]
        leaves[:, leaf, 0] = present > leaf
        leaves[:, leaf, 1] = below + (0.92 - below) * e[:, 0]
        leaves[:, leaf, 2] = 0.35 + 0.45 * e[:, 1]
        leaves[:, leaf, 3] = (0.13 + 0.06 * e[:, 2]) * (1.0 if leaf == 0 else -1.0) * side
    return Flowers(
        codes=codes,
        x=x,
        y=y,
        radius=bouquets.radius[:, place].astype(np.float32),
        tilt=blossoms.tilt[rows].astype(np.float32),
        petal_lengths=blossoms.lengths[rows].astype(np.float32),
        colour=np.clip((PETALS[codes[:, COLOUR]] + warmth) * (0.93 + 0.10 * d[:, 6:7]), 0.0, 1.0).astype(np.float32),
        foot=foot,
        bow=(d[:, 33] - 0.5) * np.float32(0.10),
        leaves=leaves,
    )
