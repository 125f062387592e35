"""The Inception Score of known distributions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from limner.metrics.inception_score import InceptionScoreMetric, inception_score
from limner.metrics.scoring.metric import Found, ScoringTask
from limner.metrics.scoring.rows import Rows


def test_inception_score_of_known_distributions():
    certain = torch.eye(5).repeat(20, 1) * 100
    assert inception_score(certain, 4) == pytest.approx((5.0, 0.0), abs=1e-6)
    assert inception_score(torch.zeros(50, 5), 5) == pytest.approx((1.0, 0.0), abs=1e-9)
    logits = np.random.default_rng(3).normal(size=(40, 7))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp(np.mean(np.sum(probabilities * np.log(probabilities / probabilities.mean(0)), axis=1)))
    assert inception_score(torch.from_numpy(logits), 1)[0] == pytest.approx(expected, rel=1e-9)


def test_the_names_of_a_folders_pictures_do_not_decide_it():
    logits = torch.eye(5).repeat_interleave(20, 0) * 100  # by name, a class after the other
    rows = Rows()
    rows.add("logits", np.arange(100), logits.numpy())

    def value(painted: bool) -> float:
        task = cast(ScoringTask, SimpleNamespace(painted=painted, seed=0))
        (figure,) = InceptionScoreMetric(task).figures(Found(task=task, generated=rows, real=Rows(), varied=Rows()))
        return figure.value

    assert value(painted=True) == pytest.approx(1.0)  # contiguous splits
    assert value(painted=False) > 3.5


@pytest.mark.parametrize(("count", "most"), [(3, 1), (30, 3), (40, 4), (50, None), (2000, None)])
def test_splits_that_are_too_small_are_noted(count: int, most: int | None) -> None:
    rows = Rows()
    rows.add("logits", np.arange(count), torch.eye(5).repeat(400, 1)[:count].numpy() * 100)
    task = cast(ScoringTask, SimpleNamespace(painted=True, seed=0))
    (figure,) = InceptionScoreMetric(task).figures(Found(task=task, generated=rows, real=Rows(), varied=Rows()))
    assert figure.notes == (
        () if most is None else (f"a split of {most} pictures scores at most {most}, and this is near it: raise --count",)
    )
    assert most is None or figure.value <= most + 1e-9
