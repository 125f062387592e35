"""KID against its formula written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.metrics.kernel import kernel_distance

GENERATOR = np.random.default_rng(3)
REAL = GENERATOR.normal(size=(120, 6))
GENERATED = GENERATOR.normal(size=(90, 6)) @ np.diag([1, 2, 1, 1, 0.5, 1]) + 0.3


def test_kid_is_the_unbiased_mmd():
    mine, theirs = REAL[:20], GENERATED[5:25]

    def kernel(a, b):
        return (a @ b / 6 + 1) ** 3

    same = sum(kernel(x[i], x[j]) for x in (mine, theirs) for i in range(20) for j in range(20) if i != j) / (20 * 19)
    crossed = sum(kernel(a, b) for a in mine for b in theirs) / 20**2
    found, deviation = kernel_distance(torch.from_numpy(REAL), torch.from_numpy(GENERATED), [(np.arange(20), np.arange(5, 25))])
    assert found == pytest.approx(same - 2 * crossed, rel=1e-9) and deviation == 0.0
