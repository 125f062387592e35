"""FID, KID and IS against formulas written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.core.errors import SettingsError
from limner.metrics.distribution import Distribution, inception_score, kernel_distance

GENERATOR = np.random.default_rng(3)
REAL = GENERATOR.normal(size=(120, 6))
GENERATED = GENERATOR.normal(size=(90, 6)) @ np.diag([1, 2, 1, 1, 0.5, 1]) + 0.3


def _distribution(real, generated, metrics=("fid",)):
    distribution = Distribution(metrics, real.shape[1])
    for start in range(0, len(real), 37):
        distribution.add(torch.from_numpy(real[start : start + 37]), real=True)
    distribution.add(torch.from_numpy(generated), real=False)
    return distribution.results()


def test_fid_is_the_frechet_distance_of_two_gaussians():
    first, second = np.cov(REAL.T), np.cov(GENERATED.T)
    values, vectors = np.linalg.eigh(first)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    mixed = np.sqrt(np.linalg.eigvalsh(root @ second @ root)).sum()
    expected = ((REAL.mean(0) - GENERATED.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * mixed
    assert _distribution(REAL, GENERATED)["fid"].value == pytest.approx(expected, rel=1e-9)


def test_fid_of_a_set_with_itself_is_zero_and_few_pictures_are_noted():
    assert _distribution(REAL, REAL)["fid"].value == pytest.approx(0.0, abs=1e-9)
    assert not _distribution(REAL, GENERATED)["fid"].notes
    assert "covariance of 6 features" in _distribution(REAL, GENERATED[:6])["fid"].notes[0]


def test_kid_is_the_unbiased_mmd():
    mine, theirs = REAL[:20], GENERATED[5:25]

    def kernel(a, b):
        return (a @ b / 6 + 1) ** 3

    same = sum(kernel(x[i], x[j]) for x in (mine, theirs) for i in range(20) for j in range(20) if i != j) / (20 * 19)
    crossed = sum(kernel(a, b) for a in mine for b in theirs) / 20**2
    found, deviation = kernel_distance(torch.from_numpy(REAL), torch.from_numpy(GENERATED), [(np.arange(20), np.arange(5, 25))])
    assert found == pytest.approx(same - 2 * crossed, rel=1e-9) and deviation == 0.0


def test_kid_tells_sets_apart_and_follows_the_seed_alone():
    half = _distribution(REAL[:60], REAL[60:], ["kid"])["kid"]
    apart = _distribution(REAL, GENERATED, ["kid"])["kid"]
    assert abs(half.value) < 0.1 < apart.value
    torch.manual_seed(5)
    assert _distribution(REAL, GENERATED, ["kid"])["kid"] == apart
    assert apart.settings == {"subsets": 100, "subset size": 45}


def test_inception_score_of_known_distributions():
    certain = torch.eye(5).repeat(20, 1) * 100
    assert inception_score(certain, 4) == pytest.approx((5.0, 0.0), abs=1e-6)
    assert inception_score(torch.zeros(50, 5), 5) == pytest.approx((1.0, 0.0), abs=1e-9)
    logits = GENERATOR.normal(size=(40, 7))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp(np.mean(np.sum(probabilities * np.log(probabilities / probabilities.mean(0)), axis=1)))
    assert inception_score(torch.from_numpy(logits), 1)[0] == pytest.approx(expected, rel=1e-9)


def test_inception_score_needs_classes():
    with pytest.raises(SettingsError, match="needs a feature network with classes"):
        Distribution(["is"], 6, None)
