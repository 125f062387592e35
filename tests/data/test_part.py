"""A part of a split: nested shares, whose pictures and captions are the whole's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shared.pictures import prepared

from limner.core.errors import SettingsError
from limner.core.settings import DataSettings
from limner.data.part import PartOfPictures
from limner.data.prepared import open_prepared


def test_shares_are_nested_and_hold_what_the_whole_holds(tmp_path: Path) -> None:
    whole = open_prepared(prepared(tmp_path / "set", [("train", f"a red bird {number}\nwords {number}") for number in range(20)]), "train")
    quarter, half, full = (PartOfPictures(whole, share) for share in (0.25, 0.5, 1.0))
    assert (len(quarter), len(half), len(full)) == (5, 10, 20) and {*quarter.places} < {*half.places}
    assert full.places.tolist() == list(range(20)) and len({part.fingerprint for part in (quarter, half, full)}) == 3
    for place, index in enumerate(quarter.places.tolist()):
        assert quarter.captions(place) == whole.captions(index) and quarter.key(place) == whole.key(index)
        assert quarter.counterfactual(place, 0, 1) == whole.counterfactual(index, 0, 1)
        assert np.array_equal(quarter.read([place]), whole.read([index]))
    assert quarter.caption_counts.tolist() == [2] * 5 and quarter.mirrorable is not None and len(quarter.mirrorable) == 5
    assert len(PartOfPictures(whole, 0.001)) == 2


def test_stories_stay_whole(tmp_path: Path) -> None:
    whole = open_prepared(prepared(tmp_path / "set", [("train", f"frame {number}") for number in range(12)]), "train")
    whole.stories = np.arange(12).reshape(4, 3)
    half = PartOfPictures(whole, 0.5)
    assert half.stories is not None and half.stories.shape == (2, 3) and len(half) == 6
    told = half.places[half.stories]
    assert (np.diff(told, axis=1) == 1).all() and (told[:, 0] % 3 == 0).all()


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(SettingsError, match="data.share is"):
        DataSettings(share=share)
