"""Distances between feature vectors, in float64 and in blocks, so that memory does not grow with the square of the number of pictures."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1024
"""Rows that are compared with all others at once."""


def distance_blocks(rows: Tensor, others: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Euclidean distances of rows [N, D] to others [M, D]: (first row, [n, M] float64) for each block of rows.

    A block is good until the next one is asked for. See `squared_blocks` for how they are computed.
    """
    for start, squared in squared_blocks(rows, others):
        yield start, squared.clamp_(min=0).sqrt_()


def squared_blocks(rows: Tensor, others: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Squared Euclidean distances, which rounding may put a little below 0, likewise.

    Both are moved to the centre of `others` first, where the expansion |a|^2 + |b|^2 - 2ab loses the least. One block's memory serves for
    all: fresh memory would cost as much as the arithmetic.
    """
    centre = others.double().mean(0)
    rows, others = rows.double() - centre, others.double() - centre
    lengths = others.square().sum(1)
    memory = lengths.new_empty(min(BLOCK, len(rows)), len(others))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        squared = memory[: len(block)]
        torch.addmm(lengths[None], block, others.T, alpha=-2.0, out=squared)
        yield start, squared.add_(block.square().sum(1, keepdim=True))


def nearest(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """For each row [N, D] the distance to the nearest of the others [M, D], and which one it is: [N] float64, [N] int64."""
    found = [block.min(1) for _, block in squared_blocks(rows, others)]
    return torch.cat([values for values, _ in found]).clamp_(min=0).sqrt_(), torch.cat([places for _, places in found])


def neighbour_radii(rows: Tensor, neighbours: tuple[int, ...]) -> Tensor:
    """Each row's distance to its k-th nearest other row, for every k asked for: rows [N, D] -> [len(neighbours), N] float64."""
    found = []
    for start, block in squared_blocks(rows, rows):
        own = torch.arange(len(block))
        block[own, start + own] = torch.inf  # nobody is a neighbour of itself, though an equal row is
        found.append(block.topk(max(neighbours), dim=1, largest=False).values[:, [k - 1 for k in neighbours]])
    return torch.cat(found).clamp_(min=0).sqrt_().T.contiguous()
