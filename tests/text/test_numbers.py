"""Captions that are rows of numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shared.pictures import Captioned

from limner.core.errors import DataError
from limner.core.recipes import from_preset
from limner.text.number_rows import as_caption, vector_width
from limner.text.numbers import Numbers
from limner.training.text import caption_remarks, choose_encoder


def test_every_number_is_read_exactly() -> None:
    limits = np.finfo(np.float32)
    extremes = [0.0, -0.0, 1.0, -2.18, 0.1, limits.max, -limits.max, limits.tiny, limits.smallest_subnormal, -3 * limits.smallest_subnormal]
    drawn = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([np.array(extremes, np.float32), drawn[np.isfinite(drawn)]])
    values = values[: len(values) // 5 * 5].reshape(-1, 5)
    found = Numbers(5)([as_caption(map(float, row)) if (row != 0).all() else " ".join(map(repr, row.tolist())) for row in values]).sentence
    assert found.dtype == torch.float32 and np.array_equal(found.numpy().view(np.int32), values.view(np.int32))


def test_one_caption_in_words_makes_all_ordinary_text() -> None:
    captions = Captioned(["3 7"] * 70)
    encoder, is_new = choose_encoder(from_preset("gan-cls", "cpu", "mine", 16), captions)
    assert isinstance(encoder, Numbers) and encoder.sentence_width == 2 and not is_new
    encoder, is_new = choose_encoder(from_preset("gan-cls", "cpu", "mine", 16), Captioned([*captions.texts, "three and seven"]))
    assert not isinstance(encoder, Numbers) and is_new
    assert vector_width(["1 2"] * 70 + ["1 2 3"]) is None and vector_width([]) is None


@pytest.mark.parametrize("odd", ["3 x7", "3 7 1", "three and seven"])
def test_a_mistyped_row_is_named(odd: str) -> None:
    recipe, captions = from_preset("gan-cls", "cpu", "mine", 16), Captioned([*["3 7"] * 70, odd, "3"])
    (remark,) = caption_remarks(recipe, captions, choose_encoder(recipe, captions)[0])
    assert "warning: 70 of 72 training captions are rows of 2 numbers" in remark and f"such as '{odd}' of '{captions.key(70)}'" in remark


@pytest.mark.parametrize("captions", [["3 7"] * 4, ["a bird", "3 7"], ["3"] * 4 + ["a bird"], ["a bird", "12"]])
def test_other_captions_are_no_mistyped_rows(captions: list[str]) -> None:
    recipe, given = from_preset("gan-cls", "cpu", "mine", 16), Captioned(captions)
    assert not list(caption_remarks(recipe, given, choose_encoder(recipe, given)[0]))


@pytest.mark.parametrize(("caption", "message"), [("1 2", "has 2 numbers: this model reads 3"), ("a red bird", "is not a row of numbers")])
def test_other_captions_are_refused(caption: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Numbers(3)([caption])
