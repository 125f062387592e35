"""The judge that ships reads garden pictures; how well judges read is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import limner
from limner.data.garden import ATTRIBUTES, Garden
from limner.metrics.judge import accuracies, confusions, load_judge

SHIPPED = Path(limner.__file__).parent / "shipped" / "garden-judge"


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.mark.parametrize(("split", "resolution", "least"), [("test", 64, 0.97), ("val", 64, 0.97), ("test", 32, 0.95)])
def test_the_shipped_judge_reads_every_attribute_of_held_out_combinations(judge, split, resolution, least):
    found = accuracies(confusions(judge, Garden(split, seed=123, length=400, resolution=resolution)))
    assert set(found) == set(ATTRIBUTES) and min(found.values()) > least, found


def test_the_shipped_judge_is_small_and_describes_itself(judge):
    assert sum(item.stat().st_size for item in SHIPPED.iterdir()) < 1_000_000
    assert judge.attributes == {name: tuple(values) for name, values in ATTRIBUTES.items()}
    assert judge.content_hash in (SHIPPED / "README.md").read_text()


def test_counts_of_confusions_are_of_true_and_read_values(judge):
    garden = Garden("all", seed=4, length=150)
    counts = confusions(judge, garden)
    true = garden.attribute_codes(np.arange(150))
    for column, (name, values) in enumerate(ATTRIBUTES.items()):
        assert (counts[name].sum(1) == np.bincount(true[:, column], minlength=len(values))).all()
