"""Distances, precision, recall, density and coverage against their definitions, and where theory says that they lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.metrics.manifold import manifold
from limner.metrics.scoring import distances
from limner.metrics.scoring.distances import nearest, neighbour_radii

GENERATOR = np.random.default_rng(5)
REAL = torch.from_numpy(GENERATOR.normal(size=(60, 4)))
GENERATED = torch.from_numpy(GENERATOR.normal(size=(45, 4)) * 0.6 + 0.5)


def test_blocks_do_not_change_distances(monkeypatch):
    monkeypatch.setattr(distances, "BLOCK", 7)
    every = torch.cdist(REAL, REAL)
    every.fill_diagonal_(torch.inf)
    for k, found in zip((1, 3), neighbour_radii(REAL, (1, 3)), strict=True):
        torch.testing.assert_close(found, every.sort(1).values[:, k - 1])
    values, places = nearest(GENERATED, REAL)
    torch.testing.assert_close(values, torch.cdist(GENERATED, REAL).min(1).values)
    assert (places == torch.cdist(GENERATED, REAL).argmin(1)).all()


def test_the_four_numbers_are_what_the_papers_define():
    across = torch.cdist(GENERATED, REAL).numpy()  # [45, 60]
    radii = {k: np.sort(torch.cdist(REAL, REAL).numpy(), 1)[:, k] for k in (3, 5)}  # place 0 is the picture itself
    own = np.sort(torch.cdist(GENERATED, GENERATED).numpy(), 1)[:, 3]
    result = manifold(GENERATED, REAL)
    assert result.precision == np.mean([(row <= radii[3]).any() for row in across])
    assert result.recall == pytest.approx(np.mean([(column <= own).any() for column in across.T]))
    assert result.density == pytest.approx((across <= radii[5]).sum() / (5 * 45))
    assert result.coverage == pytest.approx((across <= radii[5]).any(0).mean())
    assert len({result.precision, result.recall, result.density, result.coverage}) == 4


def test_like_sets_and_collapsed_ones_lie_where_theory_says():
    first, second = torch.from_numpy(np.random.default_rng(6).normal(size=(2, 1500, 4)))
    alike = manifold(first, second)
    assert alike.density == pytest.approx(1.0, abs=0.07) and alike.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    collapsed = manifold(first[:1].repeat(300, 1), second)
    assert collapsed.recall < 0.01 and collapsed.coverage < 0.05  # a point is no manifold
    far = manifold(first + 50, second)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)
