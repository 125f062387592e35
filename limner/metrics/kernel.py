"""KID (Binkowski et al., ICLR 2018, arXiv:1801.01401): how far apart two sets of features are, without bias for few pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.metrics.scoring.metric import Figure, Found, Metric

SUBSETS = 100
SUBSET_SIZE = 1000
BLOCK = 128
"""Rows of a subset whose products are made at once."""


def kernel_distance(real: Tensor, generated: Tensor, subsets: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> tuple[float, float]:
    """KID: mean and (population) deviation over subsets of the unbiased squared MMD; each subset is a pair of equally many row numbers.

    Features are [N, D] and [M, D]. The kernel is (a . b / D + 1) ** 3. The estimate is unbiased, so that equal distributions give values
    around 0, negative ones among them. The values are those of torchmetrics' `poly_mmd`, at less than half of its time.
    """
    real, generated = _lifted(real), _lifted(generated)
    spare = [real.new_empty(BLOCK * max((len(mine) for mine, _ in subsets), default=0)) for _ in range(2)]
    values = []
    for mine, theirs in subsets:
        a, b, count = real[torch.from_numpy(mine)], generated[torch.from_numpy(theirs)], len(mine)
        alike = (_others_sum(a, spare) + _others_sum(b, spare)) / (count * (count - 1))
        values.append(alike - 2 * sum(_cubes_sum(a[start : start + BLOCK], b, spare) for start in range(0, count, BLOCK)) / count**2)
    distances = torch.stack(values)
    return float(distances.mean()), float(distances.std(unbiased=False))


def _lifted(features: Tensor) -> Tensor:
    """Features [N, D] as float64 vectors [N, D + 1] whose products are a . b / D + 1."""
    scaled = features.double() / features.shape[1] ** 0.5
    return torch.cat([scaled, scaled.new_ones(len(scaled), 1)], dim=1)


def _others_sum(rows: Tensor, spare: Sequence[Tensor]) -> Tensor:
    """The kernel's sum over all pairs of a row [N, D + 1] with another one: twice the half above the diagonal."""
    total = -rows.square().sum(1).pow(3).sum()
    for start in range(0, len(rows), BLOCK):
        block, later = rows[start : start + BLOCK], rows[start + BLOCK :]
        total = total + _cubes_sum(block, block, spare) + 2 * _cubes_sum(block, later, spare)
    return total


def _cubes_sum(rows: Tensor, others: Tensor, spare: Sequence[Tensor]) -> Tensor:
    """The sum of the cubes of all products of rows [n, D + 1] and others [m, D + 1], in memory that is small enough to stay near."""
    products, squares = (memory[: len(rows) * len(others)] for memory in spare)
    torch.mm(rows, others.T, out=products.view(len(rows), len(others)))
    return torch.dot(torch.mul(products, products, out=squares), products)


class Kid(Metric):
    """Kernel Inception Distance (Binkowski et al., ICLR 2018): mean and deviation over subsets."""

    name: ClassVar[str] = "kid"
    needs = frozenset({"features"})
    keeps = frozenset({"features"})

    def figures(self, found: Found) -> list[Figure]:
        real, generated = found.real.tensor("features"), found.generated.tensor("features")
        size = max(2, min(SUBSET_SIZE, min(len(real), len(generated)) // 2))
        pairs = [(self._subset("real", k, len(real), size), self._subset("generated", k, len(generated), size)) for k in range(SUBSETS)]
        mean, deviation = kernel_distance(real, generated, pairs)
        return [
            Figure(
                name=self.name,
                value=mean,
                error=deviation,
                higher_is_better=False,
                implementation="limner: unbiased, cubic kernel, float64, as torchmetrics' poly_mmd",
                network="features",
                settings={"subsets": SUBSETS, "subset size": size},
            )
        ]

    def _subset(self, side: str, number: int, count: int, size: int) -> NDArray[np.int64]:
        return random.permutation(count, self.task.seed, "kid subset", side, number)[:size]
