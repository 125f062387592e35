"""What a study.yaml may not say among its settings, because it has words of its own for it."""

from __future__ import annotations

import pytest

from limner.core.errors import SettingsError
from limner.study.settings import Budget, Study, StudyEntry, given


@pytest.mark.parametrize("name", ["training.minutes", "training.core-minutes", "training.images", "training.seed", "training.device"])
def test_what_a_study_says_for_all_is_no_setting_of_an_entry(name: str) -> None:
    assert name in given() and len(given()) == 5
    with pytest.raises(SettingsError, match=f"settings may not have {name}: the study says it for all"):
        Study(entries=(StudyEntry(method="gan-cls", settings={name: 1}),), budget=Budget(images=10))
    with pytest.raises(SettingsError, match=f"settings may not have {name}"):
        name = name.replace("-", "_")  # as a recipe writes it
        Study(entries=(StudyEntry(method="gan-cls"),), budget=Budget(images=10), settings={name: 1})


def test_other_limits_are_an_entrys_own() -> None:
    Study(entries=(StudyEntry(method="gan-cls", settings={"training.steps": 5, "training.devices": 2}),), budget=Budget(minutes=1))
