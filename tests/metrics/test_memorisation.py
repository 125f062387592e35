"""The memorisation figure at its two ends and in its middle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from limner.core.errors import DataError
from limner.metrics.memorisation import MemorisationMetric, memorisation
from limner.metrics.scoring.metric import Found, ScoringTask
from limner.metrics.scoring.rows import Rows


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(1)
    return lambda count: torch.randn(count, 5, generator=generator)


def test_copies_fresh_pictures_and_strangers(draw):
    train, held_out = draw(800), draw(800)
    copies = memorisation(train[:300] + 1e-4, train, held_out)
    assert copies.share == copies.nearer == 1.0 and (copies.neighbours == torch.arange(300)).all()
    fresh = memorisation(draw(800), train, held_out)
    assert fresh.share == pytest.approx(0.01, abs=0.012) and fresh.nearer == pytest.approx(0.5, abs=0.06)
    strangers = memorisation(draw(100) + 30, train, held_out)
    assert strangers.share == strangers.nearer == 0.0
    half = memorisation(torch.cat([train[:100], draw(100) + 30]), train, held_out)
    assert half.share == half.nearer == 0.5
    assert half.held_out_share == pytest.approx(0.01, abs=0.002) and half.typical_distance > 0


def test_an_empty_set_is_refused(draw):
    with pytest.raises(DataError, match="one of the three sets is empty"):
        memorisation(draw(3), draw(0), draw(3))


def test_copies_are_counted_where_held_out_pictures_are_duplicates_of_training_pictures(draw):
    train, held_out = draw(800), draw(100)
    held_out[:3] = train[:3]
    found = memorisation(torch.cat([train[100:200], draw(100) + 30]), train, held_out)
    assert found.share == 0.5 and found.held_out_share == 0.03 and found.nearer == 0.5


@pytest.mark.parametrize(("held_out", "noted"), [(8, True), (99, True), (100, False)])
def test_held_out_pictures_that_are_too_few_for_the_quantile_are_noted(draw, held_out, noted):
    sides = {"generated": Rows(), "real": Rows()}
    for side, count in (("generated", 50), ("real", held_out)):
        sides[side].add("features", np.arange(count), draw(count))
    task = cast(ScoringTask, SimpleNamespace(reference_count=held_out))
    (figure,) = MemorisationMetric(task).figures(Found(task=task, training=draw(60), varied=Rows(), **sides))
    told = f"of {held_out} held-out pictures the nearest 1 % are a single one, so that real is at least {1 / held_out:.3f}"
    assert figure.notes == ((told,) if noted else ()) and figure.real >= 1 / held_out - 1e-12
