"""Panels for what few models can do: layouts, stories, codes of pictures, styles; and what each refuses."""

from __future__ import annotations

import html
import io
import json
import math
import re
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from shared.batches import make_conditions
from shared.studio import Studio
from shared.studio_models import CAPTIONS, STORY

import limner
from limner.core.errors import SettingsError
from limner.explore.story import swapped
from limner.explore.vary import vary
from limner.methods.stylegan2 import StyleGAN2, StyleGAN2Settings
from limner.model import Model
from limner.text.no_text import NoText

pytest.importorskip("gradio")
RED, BLUE, _ = CAPTIONS


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(stream, "PNG")
    return stream.getvalue()


def pictures(result: str) -> list[np.ndarray]:
    """The pictures of a panel's result, but for the one that studio.js takes."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="[^"]+"', result)
    return [np.asarray(Image.open(io.BytesIO(b64decode(one)))) for one in found]


def board(result: str) -> dict[str, Any]:
    found = re.search(r'data-layout="([^"]*)"', result)
    assert found
    layout: dict[str, Any] = json.loads(html.unescape(found[1]))
    return layout


@pytest.mark.parametrize(
    ("panel", "values"),
    [
        ("edit", ("restyled", RED, "a rd flower", 1, 0)),
        ("interpolate", ("restyled", RED, "a rd flower", 2, 0, 1)),
        ("vary", ("restyled", "a rd flower", [], False, 2, 0)),
        ("attention", ("looking", "a rd flower", 0)),
        ("stages", ("looking", "a rd flower", 1, 0)),
        ("paint", ("restyled", "a rd flower", 1, 0)),
    ],
)
def test_words_that_the_model_does_not_know_are_said(studio: Studio, panel: str, values: tuple[Any, ...]) -> None:
    result, answer = studio.ask(panel, *values)
    assert "<img" in result and answer.count("never met &#x27;rd&#x27; (did you mean &#x27;red&#x27;?)") == 1


def test_a_layout_is_changed_and_the_picture_follows(studio: Studio) -> None:
    result, answer = studio.ask("layout", "placing", RED, 3, "")
    own = board(result)
    assert answer == "" and own["fresh"] and own["names"] == ["red round", "blue round"] and own["side"] == 32
    asked = {name: own[name] for name in ("model", "caption", "seed", "given")}
    same, answer = studio.ask("layout_followed", "placing", json.dumps(asked | {"things": own["things"]}))
    assert answer == "" and not board(same)["fresh"]
    assert np.abs(np.int16(pictures(same)[0]) - pictures(result)[0]).max() <= 8, "boxes are rounded to hundredths of a pixel"
    things = [{**own["things"][0], "box": [2, 3, 12, 10]}, {"label": "blue round", "box": [14, 12, 16, 18]}]
    moved, answer = studio.ask("layout_followed", "placing", json.dumps(asked | {"things": things}))
    placed = board(moved)["things"]
    assert answer == "" and [thing["box"] for thing in placed] == [[2, 3, 12, 10], [14, 12, 16, 18]]
    assert np.array_equal(pictures(moved)[2], pictures(result)[0]), "the picture before stands next to it"
    assert not np.array_equal(pictures(moved)[0], pictures(result)[0])
    file = re.search(r'href="data:application/json;base64,([^"]*)" download="layout.json"', moved)
    assert file
    given, answer = studio.ask("layout", "placing", RED, 3, b64decode(file[1]).decode())
    assert answer == "" and [thing["box"] for thing in board(given)["things"]] == [[2, 3, 12, 10], [14, 12, 16, 18]]


@pytest.mark.parametrize(
    ("things", "words"),
    [
        ([{"label": "red round", "box": [1, 1, 40, 4]}], "the added red round would lie outside the picture"),
        ([{"label": "red rond", "box": [1, 1, 4, 4]}], "did you mean &#x27;red round&#x27;"),
        ([{"thing": 9, "label": "red round", "box": [1, 1, 4, 4]}], "--place names thing 9, and the layout has"),
        ([{"label": "red round", "box": [1, 1, 4, 4]}] * 5, "would have 5 things, and this model places 4"),
        ([], "nothing is left of the layout"),
        ([{"label": "red round", "box": [1, 1, None, 4]}], "the boxes cannot be read: lay the caption out anew"),
        ([{"label": "red round", "box": [1, 1, 10**400, 4]}], "the boxes cannot be read: lay the caption out anew"),
        ("all", "the boxes cannot be read: lay the caption out anew"),
    ],
)
def test_boxes_that_are_refused(studio: Studio, things: Any, words: str) -> None:
    state = {"model": "placing", "caption": RED, "seed": 3, "given": "", "things": things}
    result, answer = studio.ask("layout_followed", "placing", json.dumps(state))
    assert result == "" and words in answer and answer.count("<p") == 1


def test_a_story_and_the_same_with_names_exchanged(studio: Studio) -> None:
    result, answer = studio.ask("story", "telling", "\n".join(["", *STORY, ""]), "Rosa=Iris", 1, 5)
    assert answer == ""
    told = pictures(result)
    model = limner.load(studio.models["telling"])
    expected = [np.asarray(picture) for story in (STORY, swapped(STORY, [("Rosa", "Iris")])) for picture in model.tell(story, seed=5)[0]]
    assert len(told) == 6 and max(np.abs(np.int16(one) - other).max() for one, other in zip(told, expected, strict=True)) <= 1
    assert all(f"<span>{sentence}</span>" in result for sentence in (*STORY, "Iris stands in a meadow", "Rosa comes"))
    assert "<h3>The story, with Rosa and Iris exchanged</h3>" in result
    animation = re.search(r'href="data:image/gif;base64,([^"]*)" download="story.gif"', result)
    assert animation and Image.open(io.BytesIO(b64decode(animation[1]))).n_frames == 3  # type: ignore[attr-defined]


def test_pictures_of_ones_own(studio: Studio) -> None:
    red, blue = (studio.upload(f"{colour}.png", png(colour)) for colour in ("red", "blue"))
    result, answer = studio.ask("invert", "inverting", red, 0)
    given, again, where = pictures(result)
    assert answer == "" and (given == (255, 0, 0)).all() and "PSNR" in result and "SSIM" in result
    assert where.max() == 255 and not np.array_equal(given, again)
    result, answer = studio.ask("between", "inverting", red, blue, 4, 0)
    walk = pictures(result)[4:]
    assert answer == "" and len(walk) == 4 and np.abs(np.int16(walk[0]) - again).max() <= 1
    result, answer = studio.ask("edit_picture", "inverting", red, BLUE, "", 0)
    assert answer == "" and len(pictures(result)) == 4 and np.abs(np.int16(pictures(result)[1]) - again).max() <= 1


def test_what_is_drawn_anew(studio: Studio) -> None:
    result, answer = studio.ask("vary", "looking", f"{RED}\n{BLUE}\n", ["z"], False, 3, 2)
    expected = vary(limner.load(studio.models["looking"]), [RED, BLUE], ["z"], count=3, seed=2)
    found = np.stack(pictures(result))
    assert answer == "" and np.abs(np.int16(found) - expected.reshape(found.shape)).max() <= 1
    result, answer = studio.ask("vary", "styled", "no caption is read", [], True, 4, 0)
    assert answer == "" and len(pictures(result)) == 2 * 4, "a row for z, and one for the noise of its maps"


def test_directions_are_sliders(studio: Studio) -> None:
    result, answer = studio.ask("directions", "styled", "", 2, 3, 5, 0, 3.0, None, None, False)
    assert answer == "" and result.count('type="range"') == 2 and "of the weights&#x27; change" in result
    assert {picture.shape for picture in pictures(result)} == {(16, 48, 3)} and len(pictures(result)) == 10


@pytest.mark.parametrize(
    ("panel", "values", "words"),
    [
        ("layout", ("placing", "zebra", 0, ""), "knows none of the words"),
        ("layout", ("placing", RED, 0, "[{}]"), "the layout is a layout with a thing without a label"),
        ("story", ("telling", "Rosa grows", "", 1, 0), "the story has 1 sentence, and this model tells stories of 3: give 3"),
        ("story", ("telling", "\n".join(STORY), "Rosa", 1, 0), "does not exchange names: write it as"),
        ("story", ("telling", "", "", 1, 0), "there is no story"),
        ("story", ("telling", None, None, 1, 0), "there is no story"),
        ("vary", ("looking", None, [], False, 3, 0), "a caption is empty: say what to paint"),
        ("directions", ("styled", "", 2, 1, 5, 0, 3.0, math.nan, None, False), "the first place is nan: give a whole number"),
        ("complete", ("writing", None, RED, None, 1, 0), "nothing is chosen to be kept: choose one of Upper half"),
        ("invert", ("inverting", None, 0), "choose a picture first"),
        ("between", ("inverting", None, None, 4, 0), "choose a picture first"),
        ("vary", ("looking", "", [], False, 3, 0), "a caption is empty: say what to paint"),
        ("vary", ("looking", "\n".join([RED] * 7), [], False, 3, 0), "there are 7 captions: give 6 at most"),
        ("vary", ("restyled", RED, ["epsilon"], False, 3, 0), "there is no random input &#x27;epsilon&#x27;"),
        ("directions", ("styled", "", 2, 1, 5, 0, 3.0, 3, 1, False), "the last place is 1: give 3 to"),
        ("directions", ("styled", "", 2, 1, 5, 0, None, None, None, False), "the distance is empty: give more than 0"),
        ("directions", ("styled", "", 9, 1, 5, 0, 3.0, None, None, False), "styles have 8 numbers"),
    ],
)
def test_what_is_refused(studio: Studio, panel: str, values: tuple[Any, ...], words: str) -> None:
    result, answer = studio.ask(panel, *values)
    assert result == "" and words in answer and answer.count("<p") == 1


def test_a_wrong_value_of_painting_is_told_by_the_field_s_label() -> None:
    """As a visitor sees it, not by the name of the method's setting."""
    from limner.studio.sampling import sampled

    torch.manual_seed(0)
    networks = {"noise_width": 6, "style_width": 8, "mapping_layers": 2, "channel_base": 128, "channel_limit": 12}
    settings = StyleGAN2Settings(**networks)
    model = Model(StyleGAN2(settings, make_conditions(16)), NoText(), {})
    with pytest.raises(SettingsError, match="^Truncation is -1"), sampled(model, {"truncation": -1.0, "truncation_layers": 2}):
        pass
    with (
        pytest.raises(SettingsError, match="^Truncation is nan: give a number, or leave it empty"),
        sampled(model, {"truncation": math.nan}),
    ):
        pass
    with pytest.raises(SettingsError, match="^Truncation layers is -2"), sampled(model, {"truncation": 0.5, "truncation_layers": -2}):
        pass
    assert model.method.settings is settings
