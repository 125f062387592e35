"""The judge that ships reads garden pictures, and a check of a judge says how well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import limner
from limner.data.garden import ATTRIBUTES, Garden
from limner.metrics.judge import CHECKS, accuracies, accuracy_table, check_judge, confusions, load_judge

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


def test_a_check_has_a_line_for_each_split_and_one_of_what_training_never_met(judge):
    few, many = Garden("all", seed=1, length=40), Garden("all", seed=1, length=60_000)
    figures = check_judge(judge, seed=9, count=30, trained_on=[few])
    *fixed, last = figures
    assert fixed == [title for title, _, _ in CHECKS] and last == "30 pictures whose six attributes never met in training, 64 px"
    assert all(set(row) == set(ATTRIBUTES) and min(row.values()) > 0.9 for row in figures.values())
    expected = accuracies(confusions(judge, Garden("val", seed=9, length=30)))
    assert figures["held-out combinations (val), 64 px"] == expected
    assert list(check_judge(judge, seed=9, count=2, trained_on=[many])) == fixed  # whose pictures met all descriptions
    lines = accuracy_table({"one": dict.fromkeys(ATTRIBUTES, 0.5)}).splitlines()
    assert lines[1].split() == ["one", *["50.00"] * 6] and lines[2].split() == [
        "chance",
        "12.50",
        "20.00",
        "25.00",
        "20.00",
        "25.00",
        "50.00",
    ]


def test_a_check_sees_a_judge_that_reads_wrongly(judge):
    """One that always reads the first colour is right as often as that colour is there."""
    import copy

    blind = copy.deepcopy(judge)
    blind.heads["colour"].weight.zero_()
    blind.heads["colour"].bias.zero_()
    blind.heads["colour"].bias[0] = 1.0
    figures = check_judge(blind, seed=9, count=40)
    for title, split, _ in CHECKS:
        true = Garden(split, seed=9, length=40).attribute_codes(np.arange(40))[:, 0]
        assert figures[title]["colour"] == pytest.approx((true == 0).mean())
