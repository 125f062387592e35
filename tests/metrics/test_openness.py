"""Openness, coherence and everything right, on readings that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.data.garden import ATTRIBUTES
from limner.features.garden_judge import Reading
from limner.metrics.faithfulness import NAMES, UNNAMED, fitting_scenes
from limner.metrics.openness import WORLD, _all_right, _share, openness_of, sureness, total_variation

OPEN = np.array([UNNAMED, 2, 1, UNNAMED, 0, UNNAMED])  # colour, centre and size are left open


def test_openness_of_a_collapsed_and_of_a_perfect_generator() -> None:
    collapsed, perfect = [], []
    for number in range(24):
        world = fitting_scenes(OPEN, WORLD, 64, 5, number).codes
        perfect.append(openness_of(world[:16], OPEN, 7, number))
        alike = [openness_of(world[row : row + 1].repeat(16, 0), OPEN, 7, number) for row in range(16)]
        collapsed.append(np.mean(alike, axis=0))
    perfect, collapsed = np.stack(perfect), np.stack(collapsed)
    assert np.isnan(perfect[:, [1, 2, 4]]).all() and not np.isnan(perfect[:, [0, 3, 5]]).any()  # what is named has no openness
    for column in (0, 3, 5):
        assert _share(perfect[:, column]).value == pytest.approx(1.0, abs=0.1)
        assert _share(collapsed[:, column]).value == pytest.approx(0.0, abs=0.1)


def test_openness_of_two_values_in_turn_lies_between() -> None:
    """Of two sizes, one painted three times in four: total variation 1/4, where always the same size has 1/2."""
    read = fitting_scenes(OPEN, WORLD, 16, 5, 0).codes
    read[:, NAMES.index("size")] = [0, 0, 0, 1] * 4
    mine, drawn, alike = openness_of(read, OPEN, 7, 0)[NAMES.index("size")]
    assert mine == pytest.approx(0.25, abs=0.03) and alike == pytest.approx(0.5, abs=0.01) and 0.05 < drawn < 0.15


def test_total_variation() -> None:
    assert total_variation(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])) == pytest.approx(0.5)


def test_sureness_is_1_for_a_decided_reading_and_0_for_an_open_one() -> None:
    logits = {name: torch.zeros(3, len(values)) for name, values in ATTRIBUTES.items()}
    logits["colour"][0, 3] = 50.0
    logits["colour"][1, :2] = 50.0  # two colours as likely, of eight
    found = sureness(Reading(torch.zeros(3, 4), logits))
    assert found[:, 0] == pytest.approx([1.0, 2 / 3, 0.0], abs=1e-6) and (np.abs(found[:, 1:]) < 1e-6).all()


def test_everything_right_wants_every_named_attribute() -> None:
    rows = np.array([[2, 0, 1 / 32], [2, 1, 1 / 32], [1, 0, 1 / 2], [3, 2, 1 / 64]])
    part = _all_right(rows, rows[:1])
    assert part.value == 0.5 and part.real == 1.0 and part.count == 4 and part.chance == pytest.approx(rows[:, 2].mean())
