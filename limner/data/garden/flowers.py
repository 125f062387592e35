"""One flower, painted into a given place on any canvas: stem, leaves, petals and centre.

The angle around the flower is folded into the sector of one petal, so that eight petals cost what three do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from limner.data.garden.attributes import CENTRE, COLOUR, COUNT, SHAPE, SIZE
from limner.data.garden.canvas import Array, Grid, Window, column, coverage, lay, ramp
from limner.data.garden.petals import COUNTS, U_EXTENT, V_EXTENT, distance_tables
from limner.data.garden.scenes import Scenes

PETALS = np.array(
    [
        [0.86, 0.11, 0.11],  # red
        [0.99, 0.52, 0.06],  # orange
        [0.99, 0.87, 0.14],  # yellow
        [0.08, 0.75, 0.72],  # turquoise
        [0.16, 0.31, 0.87],  # blue
        [0.51, 0.20, 0.73],  # purple
        [0.98, 0.54, 0.73],  # pink
        [0.98, 0.97, 0.95],  # white
    ],
    dtype=np.float32,
)
_EDGES = np.array(
    [
        [0.42, 0.02, 0.07],
        [0.66, 0.24, 0.02],
        [0.70, 0.47, 0.02],
        [0.01, 0.36, 0.42],
        [0.04, 0.08, 0.46],
        [0.23, 0.05, 0.40],
        [0.68, 0.17, 0.42],
        [0.50, 0.48, 0.56],
    ],
    dtype=np.float32,
)
_CENTRES = np.array(
    [
        [0.96, 0.66, 0.06],  # golden
        [0.99, 0.98, 0.93],  # white
        [0.10, 0.08, 0.10],  # black
        [0.36, 0.66, 0.16],  # green
        [0.62, 0.02, 0.17],  # crimson
    ],
    dtype=np.float32,
)
_RIMS = np.array(
    [
        [0.50, 0.25, 0.03],
        [0.42, 0.38, 0.42],
        [0.86, 0.72, 0.38],
        [0.10, 0.29, 0.06],
        [0.98, 0.86, 0.66],
    ],
    dtype=np.float32,
)
_STEM = np.array([0.20, 0.47, 0.17], dtype=np.float32)
_STEM_EDGE = np.array([0.08, 0.26, 0.10], dtype=np.float32)
_LEAF_RIB = np.array([0.55, 0.78, 0.40], dtype=np.float32)
_LEAF = np.array([0.27, 0.58, 0.21], dtype=np.float32)

_RADII = np.array([0.29, 0.44], dtype=np.float32)
_CENTRE_RADIUS = 0.30
_TILT = np.float32(np.pi * 7.5 / 180.0)
_LENGTH_JITTER = 0.07
_SHADOW = 7.0  # the blossom's shadow fades out at 1/7 of its radius
_WINDOWED = 0.8  # blossoms narrower than this share of the picture are painted on a patch of it
_FINE = 96  # veins and seeds are finer than the pixels of smaller pictures


@dataclass(frozen=True, kw_only=True)
class Flowers:
    """Flowers to paint, one a picture: arrays of [n], or [n, ...], in units of the picture's width."""

    codes: NDArray[np.int64]
    """[n 6] attribute codes."""
    x: Array
    """Centre, from the left."""
    y: Array
    """Centre, from the top."""
    radius: Array
    """Length of the longest possible petal."""
    tilt: Array
    """Turn of the first petal from upright, in radians."""
    petal_lengths: Array
    """[n 8] length of each petal as a share of the radius."""
    colour: Array
    """[n 3] petal colour."""
    foot: Array
    """[n] where the stem leaves the picture at the bottom, from the left."""
    bow: Array
    """[n] how far the stem bows sideways."""
    leaves: Array
    """[n 2 4] leaves: presence (0 or 1), height along the stem from the top, angle above the horizon, length."""

    def __getitem__(self, rows: NDArray[np.int64]) -> Flowers:
        return Flowers(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def of(cls, scenes: Scenes) -> Flowers:
        """The single flower of each scene, with its natural variation."""
        d = scenes.draws("flower", 48)
        size = scenes.codes[:, SIZE]
        small = (size == 0).astype(np.float32)
        radius = _RADII[size] * (0.98 + 0.03 * d[:, 0])
        x = 0.5 + (d[:, 1] - 0.5) * (0.03 + 0.11 * small)
        y = 0.475 - 0.045 * small + (d[:, 2] - 0.5) * (0.02 + 0.09 * small)
        base = PETALS[scenes.codes[:, COLOUR]]
        warmth = (d[:, 3:6] - 0.5) * np.float32(0.09)
        colour = np.clip((base + warmth) * (0.93 + 0.10 * d[:, 6:7]), 0.0, 1.0)
        side = np.where(d[:, 7] < 0.5, -1.0, 1.0).astype(np.float32)
        leaves = np.empty((len(scenes), 2, 4), dtype=np.float32)
        present = np.floor(d[:, 8] * 3.0)  # 0, 1 or 2 leaves
        for leaf in range(2):
            e = d[:, 9 + 3 * leaf : 12 + 3 * leaf]
            leaves[:, leaf, 0] = present > leaf
            leaves[:, leaf, 1] = 0.80 + 0.10 * e[:, 0] + (1.0 - small) * 0.06
            leaves[:, leaf, 2] = 0.30 + 0.45 * e[:, 1] - (1.0 - small) * 0.12
            leaves[:, leaf, 3] = (0.22 + 0.07 * e[:, 2]) * (1.0 if leaf == 0 else -1.0) * side
        return cls(
            codes=scenes.codes,
            x=x,
            y=y,
            radius=radius,
            tilt=(d[:, 15] * 2.0 - 1.0) * _TILT,
            petal_lengths=1.0 - _LENGTH_JITTER * d[:, 16:24],
            colour=colour,
            foot=x + (d[:, 32] - 0.5) * 0.26,
            bow=(d[:, 33] - 0.5) * 0.20,
            leaves=leaves,
        )


def paint_flower(canvas: Array, flowers: Flowers, grid: Grid) -> Array:
    """Paint each flower over its picture of the canvas [3, n, H, W], in place.

    Returns the coverage of the blossom (petals and centre): [n, H, W] in [0, 1].
    """
    paint_stalk(canvas, flowers, grid)
    return paint_blossom(canvas, flowers, grid)


def paint_stalk(canvas: Array, flowers: Flowers, grid: Grid, thickness: float = 0.017) -> None:
    """Paint the stem of each flower, of a thickness in picture widths, and its leaves over its picture, in place."""
    _paint_stem(canvas, flowers, grid, np.float32(thickness))
    for leaf in range(flowers.leaves.shape[1]):
        rows = np.flatnonzero(flowers.leaves[:, leaf, 0] > 0)
        if len(rows):
            _paint_leaf(canvas, flowers[rows], leaf, rows, grid)


def paint_blossom(canvas: Array, flowers: Flowers, grid: Grid) -> Array:
    """Paint the blossom of each flower over its picture, in place. Returns its coverage [n, H, W] in [0, 1]."""
    blossoms = np.zeros(canvas.shape[1:], dtype=np.float32)
    breadth = flowers.radius * np.float32(2.0 * (1.0 + 1.0 / _SHADOW))
    small = breadth < _WINDOWED
    for rows in (np.flatnonzero(small), np.flatnonzero(~small)):
        if len(rows):
            part = flowers[rows]
            window = Window(canvas, grid, rows, part.x, part.y, float(breadth[rows].max()))
            blossoms[window.index] = _paint_blossom(window.canvas, part, window.grid)
            window.put_back(canvas)
    return blossoms


def _stem_at(flowers: Flowers, height: Array) -> Array:
    """Where the stem is (x) at `height` below the blossom's centre, as a share of the way to the picture's lower edge."""
    return column(flowers.x) + height * column(flowers.foot - flowers.x) + height * (1.0 - height) * column(flowers.bow)


def _paint_stem(canvas: Array, flowers: Flowers, grid: Grid, thickness: np.float32) -> None:
    first_row = int(min(0.35, float(flowers.y.min())) * grid.resolution)
    height = (grid.y[:, first_row:] - column(flowers.y)) / column(1.0 - flowers.y)
    across = np.abs(grid.x - _stem_at(flowers, height))
    pixels = float(grid.resolution)
    below = coverage(height, pixels)
    part = canvas[:, :, first_row:]
    alpha = coverage(thickness - across, pixels) * below
    lay(part, alpha, _STEM_EDGE)
    lay(part, coverage(thickness * np.float32(0.55) - across, pixels) * below, _STEM)


def _paint_leaf(canvas: Array, flowers: Flowers, leaf: int, rows: NDArray[np.int64], grid: Grid) -> None:
    """A pointed oval, where two circles overlap, with a pale midrib and a dark edge, on the canvas's pictures `rows`."""
    _, down, angle, length = flowers.leaves[:, leaf].T
    height = (down - flowers.y) / (np.float32(1.0) - flowers.y)
    start = _stem_at(flowers, column(height))[:, 0, 0]
    half = np.float32(0.5) * np.abs(length)
    right, up = np.cos(angle) * np.sign(length), -np.sin(angle)
    window = Window(canvas, grid, rows, start + half * right, down + half * up, float(np.abs(length).max()))

    dx, dy = window.grid.x - column(start), window.grid.y - column(down)
    along = dx * column(right) + dy * column(up) - column(half)
    across = np.abs(dy * column(right) - dx * column(up))
    width = half * np.float32(0.36)
    circle = (half * half + width * width) / (np.float32(2.0) * width)
    distance = column(circle) - np.sqrt(np.square(across + column(circle - width)) + np.square(along))
    pixels = float(grid.resolution)
    inside = coverage(distance - np.float32(0.007), pixels)
    lay(window.canvas, coverage(distance, pixels), _STEM_EDGE)
    lay(window.canvas, inside, _LEAF)
    rib = np.float32(min(0.5, 0.004 * pixels)) * coverage(np.float32(0.003) - across, pixels)
    lay(window.canvas, rib * inside, _LEAF_RIB)
    window.put_back(canvas)


def _distance_to_petal(codes: NDArray[np.int64], u: Array, v: Array) -> Array:
    """Signed distance to the petal's edge at (u, v >= 0) by bilinear interpolation of the tables."""
    tables = distance_tables()
    u_cells, v_cells = tables.shape[-2:]
    u = u * np.float32((u_cells - 1) / U_EXTENT)
    v = v * np.float32((v_cells - 1) / V_EXTENT)
    np.clip(u, np.float32(0.0), np.float32(u_cells - 1.001), out=u)
    np.clip(v, np.float32(0.0), np.float32(v_cells - 1.001), out=v)
    u_floor, v_floor = np.floor(u), np.floor(v)
    u -= u_floor
    v -= v_floor
    u_floor *= np.float32(v_cells)
    u_floor += v_floor
    cell = u_floor.astype(np.intp)
    cell += ((codes[:, SHAPE] * len(COUNTS) + codes[:, COUNT]) * (u_cells * v_cells))[:, None, None]
    flat = tables.reshape(-1)  # every index is in range: "wrap" only spares the check

    def across() -> Array:
        near = flat.take(cell, mode="wrap")
        np.add(cell, 1, out=cell)
        far = flat.take(cell, mode="wrap")
        far -= near
        far *= v
        far += near
        return far

    low = across()
    np.add(cell, v_cells - 1, out=cell)
    high = across()
    high -= low
    high *= u
    high += low
    return high


def _paint_blossom(canvas: Array, flowers: Flowers, grid: Grid) -> Array:
    codes = flowers.codes
    counts = np.array(COUNTS, dtype=np.float32)[codes[:, COUNT]]
    pixels = column(flowers.radius * np.float32(grid.resolution))
    dx = (grid.x - column(flowers.x)) / column(flowers.radius)  # [n 1 W]
    dy = (grid.y - column(flowers.y)) / column(flowers.radius)  # [n H 1]
    radius = np.square(dx) + np.square(dy)
    np.sqrt(radius, out=radius)
    slope = dx + dy  # light falls from the upper left

    # Clockwise from the first petal's axis, in petals; then in sectors about the nearest petal's axis.
    turn = np.arctan2(dx, -dy)
    turn -= column(flowers.tilt)
    turn *= column(counts / np.float32(2.0 * np.pi))
    nearest = np.rint(turn)
    turn -= nearest
    nearest += (nearest < 0.0) * column(counts)
    petal = nearest.astype(np.intp)
    petal += (8 * np.arange(len(codes)))[:, None, None]
    stretch = (np.float32(1.0) / flowers.petal_lengths).reshape(-1).take(petal, mode="wrap")
    veins = np.cos(turn * np.float32(44.0)) if grid.resolution >= _FINE else None
    turn *= column(np.float32(2.0 * np.pi) / counts)
    u = np.cos(turn)
    u *= radius
    u *= stretch
    v = np.sin(turn, out=turn)
    np.abs(v, out=v)
    v *= radius
    distance = _distance_to_petal(codes, u, v)

    # A soft shadow around the blossom parts it from the background.
    shadow = distance * np.float32(_SHADOW)
    shadow += np.float32(1.0)
    ramp(shadow)
    shadow *= shadow
    shadow *= np.float32(-0.38)
    shadow += np.float32(1.0)
    canvas *= shadow

    # Light: longer petals lie higher and catch more of it, their bases less; a rib runs along each and fine veins fan out.
    light = stretch
    light *= np.float32(-1.2)
    light += np.float32(2.29)
    light -= np.float32(0.045) * slope
    np.subtract(np.float32(1.0), u, out=u)
    ramp(u)
    rib = v
    rib *= np.float32(-26.0)
    rib += np.float32(1.0)
    ramp(rib)
    rib *= u  # fades towards the tip
    rib *= np.float32(0.25)
    light -= rib
    u *= u
    u *= np.float32(0.42)
    light -= u
    if veins is not None:
        light += veins * np.float32(0.022)
    # The centre throws a shadow on the petals.
    centre = np.subtract(np.float32(_CENTRE_RADIUS), radius, out=radius)
    hollow = centre * np.float32(8.0)
    hollow += np.float32(1.0)
    ramp(hollow)
    hollow *= np.float32(-0.30)
    hollow += np.float32(1.0)
    light *= hollow

    alpha = coverage(distance, pixels)
    edge = distance
    edge *= np.float32(-1.0) / np.maximum(np.float32(0.035), np.float32(0.9) / pixels)
    edge += np.float32(1.0)
    ramp(edge)
    edge *= np.float32(0.80)
    light *= np.float32(1.0) - edge
    light *= alpha
    edge *= alpha
    clear = np.float32(1.0) - alpha
    for plane, fill, rim in zip(canvas, flowers.colour.T, _EDGES[codes[:, COLOUR]].T, strict=True):
        plane *= clear
        plane += light * column(fill)
        plane += edge * column(rim)

    disc = coverage(centre, pixels)
    kind = codes[:, CENTRE]
    lay(canvas, disc, _RIMS[kind])
    inside = coverage(centre - np.maximum(np.float32(0.035), np.float32(0.75) / pixels), pixels)
    glow = slope
    glow *= np.float32(-0.35)
    glow += np.float32(1.03)
    if grid.resolution >= _FINE:
        glow += np.cos(dx * np.float32(62.0)) * np.cos(dy * np.float32(62.0)) * np.float32(0.07)
    glow *= inside
    np.subtract(np.float32(1.0), inside, out=inside)
    for plane, fill in zip(canvas, _CENTRES[kind].T, strict=True):
        plane *= inside
        plane += glow * column(fill)
    return np.maximum(alpha, disc, out=alpha)
