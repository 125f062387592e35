"""Captions are drawn as often as asked, or once each; and what of a given one is not read is said."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

from limner.core.errors import LimnerWarning, SettingsError
from limner.explore.attend import attend
from limner.explore.captions import distinct_captions, drawn_captions
from limner.explore.edit import edit
from limner.explore.interpolate import between_captions, between_noises
from limner.explore.stages import stages
from limner.explore.story import tell
from limner.explore.vary import vary_in_turn
from limner.model import Model


class Words:
    """A split of captions alone."""

    name, split = "words", "test"

    def __init__(self, rows: list[list[str]]) -> None:
        self.rows = rows
        self.caption_counts = np.array([len(row) for row in rows])

    def captions(self, index: int) -> list[str]:
        return self.rows[index]


@pytest.mark.parametrize("count", [1, 6, 7, 500])
def test_no_caption_is_drawn_twice(count: int) -> None:
    rows = [["a rose"], ["a rose", "a tulip"], [], ["a lily", "a lily"], ["an iris", "an aster", "a poppy"]]
    found = distinct_captions(Words(rows), count, 3)
    assert len(found) == len(set(found)) == min(count, 6) and set(found) <= {caption for row in rows for caption in row}


def test_captions_that_all_differ_are_those_of_the_plain_draw() -> None:
    words = Words([[f"caption {index}"] for index in range(50)])
    assert distinct_captions(words, 20, 7) == drawn_captions(words, 20, 7)


STRANGE = "a rd flower with a tulip"
LONG = "a red flower " + "with five petals " * 16
EXPLORATIONS: dict[str, Callable[[Model, str], object]] = {
    "interpolate": lambda model, caption: between_captions(model, "a red flower", caption, 2),
    "interpolate noises": lambda model, caption: between_noises(model, caption, (0, 1), 2),
    "edit": lambda model, caption: edit(model, [("a red flower", caption)] * 2),
    "vary": lambda model, caption: vary_in_turn(model, [caption], count=2),
    "stages": lambda model, caption: stages(model, [caption]),
    "attend": lambda model, caption: attend(model, caption),
    "story": lambda model, caption: tell(model, ["a red flower", caption]),
    "generate": lambda model, caption: model.generate(caption),
    "Model.tell": lambda model, caption: model.tell(["a red flower", caption]),
}


@pytest.mark.parametrize("name", EXPLORATIONS)
def test_what_is_not_read_of_a_caption_is_said_once(name: str, tiny_model: Model) -> None:
    for caption, remark in (
        (STRANGE, f"the model never met 'rd' (did you mean 'red' or 'bird'?), 'tulip' in '{STRANGE}'"),
        (LONG, "the model reads no further than 48 words in 'a red flower with five petals with five petals with five ...'"),
        ("a red flower", None),
    ):
        with warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("default")
            try:
                EXPLORATIONS[name](tiny_model, caption)
            except SettingsError as error:  # it paints in one stage, and attends to no words
                assert name in ("stages", "attend"), error
        told = [str(one.message) for one in met if issubclass(one.category, LimnerWarning)]
        assert [one for one in told if "the story is longer" not in one] == ([] if remark is None else [remark])


def test_the_sentences_of_a_story_that_are_not_read_are_counted(tiny_model: Model) -> None:
    story = ["the red flower with five petals in one tree"] * 6  # 9 words each: with the sixth there are 54
    for told in (tell, Model.tell):
        with pytest.warns(LimnerWarning) as met:
            told(tiny_model, story)  # type: ignore[operator]
        (remark,) = met
        assert (
            str(remark.message)
            == "the model reads no further than 48 words, and with sentence 6 the story is longer: what comes after is not read"
        )
