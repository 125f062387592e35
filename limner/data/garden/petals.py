"""Petal silhouettes, and tables of the distance to their edge.

A petal lies along the u axis: its base at the flower's centre (0, 0), its tip at u = 1; v runs across, and the petal is its own mirror
image in v. An outline is a chain of cubic Bezier curves in the half plane v >= 0. The distance from every (u, v) to that outline is
tabulated once for each shape and number of petals, and read by bilinear interpolation: any outline then costs the same to paint.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from limner.data.garden.attributes import ATTRIBUTES

COUNTS = tuple(int(value) for value in ATTRIBUTES["count"])

_U_CELLS, _V_CELLS = 88, 60
U_EXTENT, V_EXTENT = 1.25, 0.85
_STEPS_PER_CURVE = 16
GAP = 0.024  # half the slit between neighbours, in petal lengths

# Widest half-width for 3, 4, 5, 6 and 8 petals.
HALF_WIDTHS = {
    "round": (0.40, 0.38, 0.345, 0.31, 0.255),
    "pointed": (0.30, 0.29, 0.265, 0.24, 0.205),
    "heart-shaped": (0.47, 0.44, 0.40, 0.355, 0.29),
    "slender": (0.105, 0.102, 0.10, 0.095, 0.09),
}

Points = NDArray[np.float64]


def _curves(shape: str, w: float) -> list[tuple[tuple[float, float], ...]]:
    """Bezier control points from the base to the tip on the axis, for a petal of half-width `w`."""
    if shape == "round":
        return [
            ((0.0, 0.04), (0.20, 0.06), (0.28, w), (1.0 - w, w)),
            ((1.0 - w, w), (1.0 - 0.45 * w, w), (1.0, 0.55 * w), (1.0, 0.0)),
        ]
    if shape == "pointed":
        return [
            ((0.0, 0.04), (0.16, 0.10), (0.22, w), (0.48, w)),
            ((0.48, w), (0.68, w), (0.80, 0.40 * w), (1.0, 0.0)),
        ]
    if shape == "heart-shaped":
        return [
            ((0.0, 0.03), (0.25, 0.08), (0.48, w), (0.75, w)),
            ((0.75, w), (0.90, w), (1.0, 0.85 * w), (1.0, 0.56 * w)),
            ((1.0, 0.56 * w), (1.0, 0.30 * w), (0.92, 0.10 * w), (0.80, 0.0)),
        ]
    return [
        ((0.0, 0.03), (0.20, 0.05), (0.35, w), (0.72, w)),
        ((0.72, w), (0.88, w), (0.96, 0.62 * w), (1.0, 0.0)),
    ]


def outline(shape: str, half_width: float) -> Points:
    """The upper half of a petal's outline, base to tip: [P 2] points (u, v)."""
    t = np.linspace(0.0, 1.0, _STEPS_PER_CURVE, endpoint=False)[:, None]
    pieces = []
    curves = np.asarray(_curves(shape, half_width))
    for a, b, c, d in curves:
        pieces.append((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)
    return np.concatenate([*pieces, curves[-1][-1:]])


def _distance(points: Points, half_outline: Points) -> Points:
    """Signed distance (positive inside) of [N 2] points with v >= 0 to the petal whose upper half is `half_outline`.

    The petal is symmetric, so the nearest point of its edge lies on the same side of the axis; a point is inside where a ray along u
    crosses the outline an odd number of times.
    """
    nearest = np.full(len(points), np.inf)
    inside = np.zeros(len(points), dtype=bool)
    u, v = points[:, 0], points[:, 1]
    for (start_u, start_v), (end_u, end_v) in zip(half_outline[:-1], half_outline[1:], strict=True):
        edge_u, edge_v = end_u - start_u, end_v - start_v
        du, dv = u - start_u, v - start_v
        along = np.clip((du * edge_u + dv * edge_v) / (edge_u * edge_u + edge_v * edge_v), 0.0, 1.0)
        nearest = np.minimum(nearest, np.square(du - along * edge_u) + np.square(dv - along * edge_v))
        if start_v != end_v:
            inside ^= ((start_v > v) != (end_v > v)) & (du < dv * (edge_u / edge_v))
    distance: Points = np.where(inside, 1.0, -1.0) * np.sqrt(nearest)
    return distance


@lru_cache(maxsize=1)
def distance_tables() -> NDArray[np.float32]:
    """Distances to the petal's edge in petal lengths, positive inside: [shapes, counts, _U_CELLS, _V_CELLS].

    Petals are cut back to leave a slit between neighbours, so that their number stays countable near the centre.
    """
    u = np.linspace(0.0, U_EXTENT, _U_CELLS)
    v = np.linspace(0.0, V_EXTENT, _V_CELLS)
    points = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)
    tables = np.empty((len(HALF_WIDTHS), len(COUNTS), _U_CELLS, _V_CELLS), dtype=np.float32)
    for i, shape in enumerate(ATTRIBUTES["shape"]):
        for j, (count, half_width) in enumerate(zip(COUNTS, HALF_WIDTHS[shape], strict=True)):
            half_sector = np.pi / count
            to_slit = points[:, 0] * np.sin(half_sector) - points[:, 1] * np.cos(half_sector) - GAP
            distance = np.minimum(_distance(points, outline(shape, half_width)), to_slit)
            tables[i, j] = distance.reshape(_U_CELLS, _V_CELLS)
    return tables
