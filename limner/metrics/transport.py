"""MIND (Berthet et al., 2026, arXiv:2605.06797): how far features must be moved, along random directions.

Along one direction the cheapest way to move one set of numbers onto another is known, for both are sorted. No Gaussian is assumed, as FID
assumes one, and a thousand pictures already rank generators.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from limner.core import random
from limner.metrics.scoring.metric import Figure, Found, Metric

DIRECTIONS = 1000
BLOCK = 50
"""Directions whose projections are sorted at once."""


def sliced_distance(first: Tensor, second: Tensor, directions: Tensor) -> float:
    """MIND of features [N, D] and [M, D]: 3 D times the squared 2-Wasserstein distance, a mean over directions [K, D] of unit length.

    N and M may differ: the k-th of N sorted numbers holds the quantiles from (k - 1) / N to k / N, and the distance is taken over all
    quantiles. For equal numbers it is the mean square of the differences of sorted projections, as in the paper and in torch-fidelity.
    """
    (rows, columns), width = (len(first), len(second)), first.shape[1]
    # Where either set goes on to its next number, in units of 1 / (N M), so that all of them are whole.
    cuts = torch.cat([torch.arange(rows + 1) * columns, torch.arange(columns + 1) * rows]).unique()
    weights = cuts.diff().double() / (rows * columns)
    mine, theirs = cuts[:-1] // columns, cuts[:-1] // rows
    total = 0.0
    for some in directions.double().split(BLOCK):
        a, b = ((features.double() @ some.T).sort(0).values for features in (first, second))
        total += float((weights @ (a[mine] - b[theirs]).square()).sum())
    return 3 * width * total / len(directions)


class Mind(Metric):
    """Monge Inception Distance (Berthet et al., 2026): the sliced 2-Wasserstein distance of features."""

    name: ClassVar[str] = "mind"
    needs = frozenset({"features"})
    keeps = frozenset({"features"})

    def figures(self, found: Found) -> list[Figure]:
        real, generated = found.real.tensor("features"), found.generated.tensor("features")
        drawn = torch.from_numpy(random.normal((real.shape[1],), self.task.seed, "mind direction", range(DIRECTIONS)))
        value = sliced_distance(generated, real, torch.nn.functional.normalize(drawn.double(), dim=1))
        return [
            Figure(
                name=self.name,
                value=value,
                higher_is_better=False,
                implementation="limner: 3 D times the squared 2-Wasserstein distance along random directions, all quantiles, float64",
                network="features",
                settings={"directions": DIRECTIONS},
            )
        ]
