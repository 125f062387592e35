"""What scores are held against."""

from __future__ import annotations

import pytest

from limner.core.errors import SettingsError
from limner.training.scored import reference


def splits(named: str | None) -> list[str]:
    return [pictures.split for pictures in reference("garden", named, 16)]


def test_each_split_is_taken_once() -> None:
    assert splits(None) == ["train", "test"]
    assert splits("test") == splits(" test, test,") == ["test"]
    assert splits("val,train,val") == ["val", "train"]
    with pytest.raises(SettingsError, match="the split is ',': give one such as test, or several with commas between"):
        splits(",")
