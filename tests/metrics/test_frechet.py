"""FID against the formula in numpy and against torchmetrics, and FID-infinity against a distance that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from limner.metrics.frechet import _notes, fid, fid_infinity, line_end
from limner.metrics.scoring.rows import Moments

GENERATOR = np.random.default_rng(3)
REAL = GENERATOR.normal(size=(120, 6))
GENERATED = GENERATOR.normal(size=(90, 6)) @ np.diag([1, 2, 1, 1, 0.5, 1]) + 0.3


def moments(rows, size=37):
    found = Moments()
    for part in torch.from_numpy(rows).split(size):
        found.add(part)
    return found


def test_fid_is_the_frechet_distance_of_two_gaussians():
    first, second = np.cov(REAL.T), np.cov(GENERATED.T)
    values, vectors = np.linalg.eigh(first)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    mixed = np.sqrt(np.linalg.eigvalsh(root @ second @ root)).sum()
    expected = ((REAL.mean(0) - GENERATED.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * mixed
    assert fid(moments(REAL), moments(GENERATED)) == pytest.approx(expected, rel=1e-9)
    assert fid(moments(REAL), moments(REAL)) == pytest.approx(0.0, abs=1e-9)


def test_fid_is_that_of_torchmetrics():
    class Given(torch.nn.Module):
        num_features = 6

        def forward(self, features):
            return features

    theirs = FrechetInceptionDistance(feature=Given()).set_dtype(torch.float64)
    theirs.update(torch.from_numpy(REAL), real=True)
    theirs.update(torch.from_numpy(GENERATED), real=False)
    assert fid(moments(REAL), moments(GENERATED)) == pytest.approx(float(theirs.compute()), rel=1e-9)


def test_merged_moments_are_those_of_all_rows():
    whole = moments(REAL)
    merged = Moments.merged([moments(REAL[:50]).state(), Moments().state(), moments(REAL[50:]).state()])
    torch.testing.assert_close(merged.covariance, whole.covariance, rtol=1e-12, atol=0)
    torch.testing.assert_close(merged.covariance, torch.from_numpy(np.cov(REAL.T)), rtol=1e-9, atol=1e-12)


def test_fid_infinity_has_lost_the_bias_for_few_pictures():
    """Real and generated pictures of one distribution: FID grows as they get fewer, FID-infinity stays about 0."""
    generator = np.random.default_rng(7)
    real = moments(generator.normal(size=(40_000, 20)))
    few = generator.normal(size=(600, 20)).astype(np.float32)
    biased = fid(real, moments(few.astype(np.float64)))
    value, error = fid_infinity(real, few, seed=0)
    assert biased > 0.15 and abs(value) < 0.25 * biased and 0 < error < biased
    shifted, _ = fid_infinity(real, few + np.float32(1.0), seed=0)
    assert shifted == pytest.approx(20.0, rel=0.15)  # the squared distance of the means
    assert (value, error) == fid_infinity(real, few, seed=0) != fid_infinity(real, few, seed=1)


def test_the_end_of_a_line():
    places = np.array([0.1, 0.2, 0.4])
    assert line_end(places, 3.0 + 2.0 * places) == (pytest.approx(3.0), pytest.approx(0.0, abs=1e-12))


def test_few_pictures_are_noted():
    assert len(_notes(6, 6)) == 2 and "covariance of 6 features" in _notes(6, 6)[0]
    (note,) = _notes(2000, 128)
    assert "fid-infinity,kid" in note and "2,000" in note
    assert _notes(10_000, 128) == ()
