"""KID (Binkowski et al., ICLR 2018, arXiv:1801.01401): how far apart two sets of features are, without bias for few pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torchmetrics
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.image.kid import maximum_mean_discrepancy

from limner.core import random
from limner.metrics.metric import Figure, Found, Metric

SUBSETS = 100
SUBSET_SIZE = 1000


def kernel_distance(real: Tensor, generated: Tensor, subsets: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> tuple[float, float]:
    """KID: mean and (population) deviation over subsets of the unbiased squared MMD; each subset is a pair of equally many row numbers.

    Features are [N, D] and [M, D]. The estimate is unbiased, so that equal distributions give values around 0, negative ones among them.
    The values are those of torchmetrics' `poly_mmd`, at two thirds of its time.
    """
    real, generated = real.double(), generated.double()
    side = max((len(mine) for mine, _ in subsets), default=0)
    kernels = [real.new_empty(side * side) for _ in range(4)]  # kept from subset to subset: fresh memory costs more than the arithmetic
    values = []
    for mine, theirs in subsets:
        a, b = real[torch.from_numpy(mine)], generated[torch.from_numpy(theirs)]
        *found, spare = (memory[: len(a) ** 2].view(len(a), len(a)) for memory in kernels)
        for (first, second), kernel in zip(((a, a), (a, b), (b, b)), found, strict=True):
            _cubic_kernel(first, second, kernel, spare)
        values.append(maximum_mean_discrepancy(*found))
    distances = torch.stack(values)
    return float(distances.mean()), float(distances.std(unbiased=False))


def _cubic_kernel(a: Tensor, b: Tensor, kernel: Tensor, spare: Tensor) -> None:
    """Write (a b' / D + 1) ** 3 of features [N, D] and [N, D] into `kernel`, [N, N] as `spare` is."""
    torch.mm(a, b.T, out=kernel)
    kernel.div_(a.shape[1]).add_(1.0)
    torch.mul(kernel, kernel, out=spare)
    kernel.mul_(spare)


class Kid(Metric):
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
                implementation=f"torchmetrics {torchmetrics.__version__} poly_mmd (unbiased, cubic kernel), float64, subsets by limner",
                network="features",
                settings={"subsets": SUBSETS, "subset size": size},
            )
        ]

    def _subset(self, side: str, number: int, count: int, size: int) -> NDArray[np.int64]:
        return random.permutation(count, self.scene.seed, "kid subset", side, number)[:size]
