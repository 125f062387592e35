"""Where a blossom is, exactly: its box, and whether it covers a point.

The painter works in float32 and rounds as the machine does. What captions and layouts say may not depend on that, so this file decides it
with additions, multiplications and tables that are rounded to a grid: equal on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from limner.data.garden.attributes import ATTRIBUTES, COUNT, SHAPE
from limner.data.garden.petals import COUNTS, GAP, HALF_WIDTHS, outline

Real = NDArray[np.float64]

CENTRE = 0.30
"""Radius of the centre, in radii of the blossom."""
_MOST_PETALS = max(COUNTS)
_CELLS = 64
_GRID = 4096.0
_SAMPLES = 14
_TOGETHER = 128  # blossoms whose points stay in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Blossoms:
    """Some blossoms, each array of [m] or [m, 8], in picture widths from the upper left corner."""

    codes: NDArray[np.int64]
    """[m, 6] attribute codes."""
    x: Real
    y: Real
    radius: Real
    tilt: Real
    """Turn of the first petal from upright, in radians: a small angle."""
    lengths: Real
    """[m, 8] lengths of the petals in radii."""

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Blossoms:
        return Blossoms(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def _axes(self) -> tuple[Real, Real, NDArray[np.bool_]]:
        """Where each petal points, right [m, 8] and down [m, 8], and which of the eight are there [m, 8]."""
        rights, downs, theres = _directions()
        number = self.codes[:, COUNT]
        right, down = rights[number], downs[number]
        t = self.tilt[:, None]
        square = t * t
        sine = t * (1.0 - square / 6.0 * (1.0 - square / 20.0))  # polynomials, because no two libraries round a sine alike
        cosine = 1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0))
        return right * cosine - down * sine, right * sine + down * cosine, theres[number]

    def boxes(self) -> Real:
        """The smallest boxes around the whole blossoms: left, top, width, height [m, 4]."""
        parts = [self[np.arange(start, min(start + _TOGETHER, len(self)))]._boxes() for start in range(0, len(self), _TOGETHER)]
        return np.concatenate([np.zeros((0, 4)), *parts])

    def _boxes(self) -> Real:
        points = _tips()[self.codes[:, SHAPE], self.codes[:, COUNT]]  # [m, P, 2]
        right, down, there = self._axes()
        u, v = points[:, None, :, 0] * self.lengths[:, :, None], points[:, None, :, 1]  # [m, 8, P]
        absent = np.where(there, 0.0, -9.0)
        edges = []
        for axis, other in ((right, down), (down, right)):
            wide = v * np.abs(other)[:, :, None]
            for sign in (-1.0, 1.0):
                reach = ((u * (sign * axis)[:, :, None] + wide).max(2) + absent).max(1)
                edges.append(np.maximum(reach, CENTRE) * self.radius)
        left, far, top, low = edges
        return np.stack([self.x - left, self.y - top, left + far, top + low], axis=1)

    def cover(self, x: Real, y: Real) -> NDArray[np.bool_]:
        """Whether blossom i covers each of its own points (x, y), [m, G]."""
        outer, inner = (table[self.codes[:, SHAPE], self.codes[:, COUNT]] for table in _profiles())  # [m, cells]
        dx, dy = (x - self.x[:, None]) / self.radius[:, None], (y - self.y[:, None]) / self.radius[:, None]
        right, down, there = self._axes()
        along, nearest = np.full_like(dx, -9.0), np.zeros(dx.shape, dtype=np.int64)
        for petal in range(_MOST_PETALS):  # the petal whose axis is nearest
            reach = dx * right[:, petal, None] + dy * down[:, petal, None]
            nearer = (reach > along) & there[:, petal, None]
            np.copyto(along, reach, where=nearer)
            np.copyto(nearest, petal, where=nearer)
        rows = np.arange(len(self))[:, None]
        across = np.abs(dy * right[rows, nearest] - dx * down[rows, nearest])
        u = along / self.lengths[rows, nearest]
        cell = np.clip(u * _CELLS, 0.0, _CELLS - 1.0).astype(np.int64)
        petals = (u >= 0.0) & (u < 1.0) & (across <= outer[rows, cell]) & (across >= inner[rows, cell])
        return petals | (dx * dx + dy * dy <= CENTRE * CENTRE)


def hidden(blossoms: Blossoms, backs: NDArray[np.int64], fronts: NDArray[np.int64]) -> tuple[Real, Real]:
    """How much of each blossom is hidden, counted on a lattice of points: 0 to 1.

    backs, fronts: [P] pairs of which the second stands in front of the first. Returns the share that each pair's front hides of its back
    [P], and what all of them together hide of each blossom [m].
    """
    of_pairs, of_all = np.zeros(len(backs)), np.zeros(len(blossoms))
    behind, places = np.unique(backs, return_inverse=True)
    for start in range(0, len(behind), _TOGETHER):
        rows = behind[start : start + _TOGETHER]
        x, y = _points(blossoms[rows])
        own = blossoms[rows].cover(x, y)
        points = np.maximum(own.sum(1), 1)
        pairs = np.flatnonzero((places >= start) & (places < start + _TOGETHER))
        own_place = places[pairs] - start
        covered = own[own_place] & blossoms[fronts[pairs]].cover(x[own_place], y[own_place])
        taken = np.zeros_like(own)
        np.logical_or.at(taken, own_place, covered)
        of_pairs[pairs], of_all[rows] = covered.sum(1) / points[own_place], taken.sum(1) / points
    return of_pairs, of_all


def _points(blossoms: Blossoms) -> tuple[Real, Real]:
    """A square lattice over each blossom: [m, G] each."""
    step = (np.arange(_SAMPLES) + 0.5) / _SAMPLES * 2.0 - 1.0
    across, down = np.tile(step, _SAMPLES), np.repeat(step, _SAMPLES)
    radius = blossoms.radius[:, None]
    return blossoms.x[:, None] + radius * across, blossoms.y[:, None] + radius * down


def _rounded(values: Real) -> Real:
    return np.rint(values * _GRID) / _GRID


@lru_cache(maxsize=1)
def _directions() -> tuple[Real, Real, NDArray[np.bool_]]:
    """Directions of the petals of an upright blossom for each number of petals: right and down [5, 8], and which are there."""
    right, down = np.zeros((len(COUNTS), _MOST_PETALS)), np.zeros((len(COUNTS), _MOST_PETALS))
    for row, count in enumerate(COUNTS):
        angle = 2.0 * np.pi * np.arange(count) / count
        right[row, :count], down[row, :count] = np.rint(np.sin(angle) * 1e9) / 1e9, np.rint(-np.cos(angle) * 1e9) / 1e9
    return right, down, np.arange(_MOST_PETALS) < np.array(COUNTS)[:, None]


@lru_cache(maxsize=1)
def _outlines() -> Real:
    """Points (u, v) of the half outlines: [shapes, counts, P, 2]; the shorter ones repeat their last point."""
    rows = [[outline(shape, width) for width in HALF_WIDTHS[shape]] for shape in ATTRIBUTES["shape"]]
    most = max(len(points) for row in rows for points in row)
    whole = [[np.concatenate([points, points[-1:].repeat(most - len(points), 0)]) for points in row] for row in rows]
    return _rounded(np.asarray(whole))


@lru_cache(maxsize=1)
def _tips() -> Real:
    """The points of the outlines that a box can touch: [shapes, counts, P, 2]."""
    angles = np.pi * np.arange(97) / 96
    directions = np.stack([np.cos(angles), np.sin(angles)])  # [2, 97]
    outlines = _outlines()
    kept = [np.unique((points @ directions).argmax(0)) for points in outlines.reshape(-1, *outlines.shape[2:])]
    most = max(map(len, kept))
    whole = [
        points[np.pad(rows, (0, most - len(rows)), mode="edge")] for points, rows in zip(outlines.reshape(-1, *outlines.shape[2:]), kept)
    ]
    return np.asarray(whole).reshape(*outlines.shape[:2], most, 2)


@lru_cache(maxsize=1)
def _profiles() -> tuple[Real, Real]:
    """Between which distances from its axis a petal lies, cell by cell along the axis: outer and inner [shapes, counts, cells]."""
    outlines = _outlines()
    outer, inner = (np.zeros((*outlines.shape[:2], _CELLS)) for _ in range(2))
    for shape, count in np.ndindex(*outlines.shape[:2]):
        points = outlines[shape, count]
        half = np.pi / COUNTS[count]
        for cell in range(_CELLS):
            u = (cell + 0.5) / _CELLS
            near, far = points[:-1], points[1:]
            crosses = (near[:, 0] > u) != (far[:, 0] > u)
            share = (u - near[crosses, 0]) / (far[crosses, 0] - near[crosses, 0])
            edges = np.sort(near[crosses, 1] + share * (far[crosses, 1] - near[crosses, 1]))
            if len(edges):
                outer[shape, count, cell] = min(edges[-1], u * np.tan(half) - GAP / np.cos(half))
                inner[shape, count, cell] = edges[0] if len(edges) > 1 else 0.0
    return _rounded(outer), _rounded(inner)
