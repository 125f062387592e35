"""MIND against its formula written out, and against distributions whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.metrics.transport import sliced_distance

GENERATOR = np.random.default_rng(5)
FIRST, SECOND = (torch.from_numpy(GENERATOR.normal(size=(40, 6)) * scale) for scale in (1.0, 1.5))
DIRECTIONS = torch.nn.functional.normalize(torch.from_numpy(GENERATOR.normal(size=(130, 6))), dim=1)


def test_equal_numbers_are_compared_in_sorted_order():
    wanted = np.mean([((np.sort(FIRST.numpy() @ u) - np.sort(SECOND.numpy() @ u)) ** 2).mean() for u in DIRECTIONS.numpy()])
    assert sliced_distance(FIRST, SECOND, DIRECTIONS) == pytest.approx(3 * 6 * wanted, rel=1e-9)


def test_unequal_numbers_are_compared_over_all_quantiles():
    assert sliced_distance(FIRST, FIRST.repeat(3, 1), DIRECTIONS) == pytest.approx(0.0, abs=1e-12)
    fourfold, threefold = FIRST[:30].repeat_interleave(4, 0), SECOND.repeat_interleave(3, 0)  # 120 of both
    assert sliced_distance(FIRST[:30], SECOND, DIRECTIONS) == pytest.approx(sliced_distance(fourfold, threefold, DIRECTIONS), rel=1e-9)


def test_a_shift_costs_three_times_its_square():
    """Along u a shift by v costs (u . v)^2, which is |v|^2 / D on average over directions, and exactly so along D orthogonal ones."""
    shift = torch.arange(6.0, dtype=torch.float64)
    assert sliced_distance(FIRST, FIRST + shift, torch.eye(6, dtype=torch.float64)) == pytest.approx(3 * float(shift.square().sum()))
