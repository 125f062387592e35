"""What is said before a phase begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from shared.pictures import Captioned

from limner.core.recipes import from_preset
from limner.core.trainable import Phase
from limner.training.batches import introductions


def test_a_phase_says_what_it_is_for_and_that_captions_are_encoded_first(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, pictures = from_preset("limner-gan", "cpu", "mine"), Captioned(["a", "b", "c"])
    act: Any = SimpleNamespace(introduction="words first ({steps:,} steps)", encoder=SimpleNamespace(reads=True))
    planned: Any = SimpleNamespace(act=act, steps=3000, phase=Phase(name="gan", resolution=16, batch_size=2, counterfactuals=7))
    assert list(introductions(planned, recipe, pictures, 0)) == ["words first (3,000 steps)"]
    assert list(introductions(planned, recipe, pictures, 5)) == []
    monkeypatch.setattr("limner.training.batches.MUCH", 24)
    assert list(introductions(planned, recipe, pictures, 5)) == ["encoding 3 captions and 7 changed forms of each"]
    act.encoder.reads = False
    assert list(introductions(planned, recipe, pictures, 5)) == []
