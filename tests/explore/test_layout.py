"""`limner explore layout`: a layout drawn, given and changed, and its refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limner
from limner.cli.main import main
from limner.core.errors import DataError, LimnerWarning, SettingsError
from limner.explore.layout import Edits, edited, lay_out, layout_of
from limner.model import Model, save_model
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary

LABELS = ("red round", "blue round")
CAPTION = "a red flower"


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    encoder = LSTMEncoder(Vocabulary(["a", "red", "blue", "round", "flower"]), LSTMSettings(width=8)).eval()
    values = {"resolution": 32, "sentence_width": 8, "word_width": 8, "labels": LABELS, "object_side": 32, "shape_side": 16}
    method = limner.create("obj-gan", preset="cpu", **values)
    with torch.no_grad():
        method.read_names(encoder)
    return Model(method, encoder, {"data": "garden-bouquets"})


GIVEN = [{"label": "red round", "box": [2, 4, 8, 8]}, {"label": "blue round", "box": [16, 4, 12, 8]}]


def test_a_given_layout_is_painted(model: Model) -> None:
    laid = lay_out(model, CAPTION, layout=layout_of(GIVEN, model), seed=1)
    assert laid.things == GIVEN and laid.picture.shape == (32, 32, 3)
    assert laid.words == ["a", "red", "flower"] and laid.attention is not None
    assert np.allclose(laid.attention[:2].sum(1), 1.0, atol=1e-5)
    same = lay_out(model, CAPTION, layout=laid.layout, seed=1)
    assert np.array_equal(same.picture, laid.picture)
    own = lay_out(model, CAPTION, seed=1)
    assert np.array_equal(lay_out(model, CAPTION, layout=own.layout, seed=1).picture, own.picture)
    assert not np.array_equal(own.picture, laid.picture)


def test_changes(model: Model) -> None:
    laid = lay_out(model, CAPTION, layout=layout_of(GIVEN, model), seed=1)
    edits = Edits(move=((1, 2, 3),), scale=((2, 0.5),), add=(("blue round", (1, 20, 10, 10)),))
    changed = lay_out(model, CAPTION, layout=edited(laid, edits, model, seed=1), seed=1)
    assert [thing["box"] for thing in changed.things] == [[4, 7, 8, 8], [19, 6, 6, 4], [1, 20, 10, 10]]
    assert changed.layout.shapes is not None and laid.layout.shapes is not None
    assert torch.equal(changed.layout.shapes[0, :2], laid.layout.shapes[0, :2]) and changed.layout.shapes[0, 2].max() > 0
    assert not np.array_equal(changed.picture, laid.picture)
    placed = edited(laid, Edits(place=((1, (20, 1, 4, 6)),), move=((1, 1, 0),)), model)
    assert (placed.boxes[0] * 32).tolist() == [[21, 1, 4, 6], [16, 4, 12, 8]] and placed.shapes is not None
    assert torch.equal(placed.shapes, laid.layout.shapes[:, :2])
    fewer = edited(laid, Edits(remove=(1,)), model)
    assert fewer.labels.tolist() == [[1]]
    for edits, message in (
        (Edits(move=((3, 0, 0),)), "--move names thing 3, and the layout has 2: give a number from 1 to 2"),
        (Edits(move=((1, 0, 30),)), "thing 1 would lie outside the picture"),
        (Edits(move=((1, float("nan"), 0),)), "thing 1 would lie outside the picture"),
        (Edits(place=((2, (1, 1, 4, 0)),)), "--place 2 has a box of no area"),
        (Edits(add=(("red round", (1, 1, 5)),)), "--add red round has a box of no area"),  # type: ignore[arg-type]
        (Edits(place=((2, (1, 1, 4, 32)),)), "thing 2 would lie outside the picture"),
        (Edits(scale=((2, 4),)), "thing 2 would lie outside the picture"),
        (Edits(scale=((2, 0),)), "leaves nothing of thing 2"),
        (Edits(remove=(1, 2)), "nothing is left of the layout"),
        (Edits(add=(("red rond", (1, 1, 4, 4)),)), "did you mean 'red round'"),
        (Edits(add=(("red round", (1, 1, 0, 4)),)), "box of no area"),
        (Edits(add=(("red round", (1, 1, 4, 4)),) * 3), "would have 5 things, and this model places 4"),
    ):
        with pytest.raises(SettingsError, match=message):
            edited(laid, edits, model)


def test_things_of_no_size_are_written_so_that_they_can_be_read(model: Model) -> None:
    laid = lay_out(model, CAPTION, layout=layout_of(GIVEN, model), seed=1)
    tiny = edited(laid, Edits(scale=((1, 1e-5),), place=((2, (31.9999, 31.9999, 1e-4, 1e-4)),)), model)
    written = lay_out(model, CAPTION, layout=tiny, seed=1)
    assert [thing["box"] for thing in written.things] == [[6, 8, 0.01, 0.01], [31.99, 31.99, 0.01, 0.01]]
    assert layout_of(json.loads(written.text), model).labels.shape == (1, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"label": "red round", "bx": [1, 1, 2, 2]}], "did you mean 'box'"),
        ([{"label": "red round", "box": [1, 1, 40, 2]}], "layout box outside the picture"),
        ([{"label": "red round", "box": [1, 1, 0, 2]}], "layout box of no area"),
        ([{"label": "red round", "box": [1, 1, 4, 4], "mask": {"counts": [4], "size": [2, 2]}}], "layout mask of another size"),
        ([{"label": "green round", "box": [1, 1, 2, 2]}], "there is no label of this model 'green round'"),
        ([], "places nothing"),
    ],
)
def test_layouts_that_are_refused(model: Model, content: Any, message: str) -> None:
    with pytest.raises((DataError, SettingsError), match=message):
        layout_of(content, model)


def test_too_many_things_and_other_models(model: Model, tiny_model: Model) -> None:
    with pytest.warns(LimnerWarning, match="has 6 things, 2 more than this model places: the largest 4 stay"):
        assert layout_of(GIVEN * 3, model).labels.shape == (1, 4)
    with pytest.raises(SettingsError, match="lays out nothing"):
        lay_out(tiny_model, CAPTION)


def test_the_command(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "model", "obj-gan", model.method, model.encoder, model.about, "A card.")
    (tmp_path / "given.json").write_text(json.dumps(GIVEN))
    command = ["explore", "layout", str(tmp_path / "model"), CAPTION, "--layout", str(tmp_path / "given.json")]
    assert main([*command, "--place", "1=3,4,8,8", "--move", "1=0,5", "--out", str(tmp_path / "page.png")]) == 0
    assert f"1 {GIVEN[0]['label']}: " in capsys.readouterr().out  # and the words that it looked at most
    written = json.loads((tmp_path / "page.json").read_text())
    assert written[0]["box"] == [3, 9, 8, 8]
    with Image.open(tmp_path / "page.png") as page:
        assert page.width > 4 * 32
    again = ["explore", "layout", str(tmp_path / "model"), CAPTION, "--layout", str(tmp_path / "page.json")]
    assert main([*again, "--out", str(tmp_path / "page.png")]) == 0
    assert json.loads((tmp_path / "page.json").read_text()) == written
    (tmp_path / "page.json").write_text(json.dumps([{"label": "red round", "box": [1, 9.9, 0.2, 5]}]))  # thinner than a pixel
    assert main([*again, "--out", str(tmp_path / "page.png")]) == 0
    for other, reason in (({"name": "package"}, "is not a layout"), ([{**GIVEN[0], "mask": [[1, 1, 9, 1, 9, 9]]}], "has masks")):
        (tmp_path / "taken.json").write_text(json.dumps(other))
        assert main([*again[:4], "--out", str(tmp_path / "taken.png")]) == 2
        assert f"which {reason}" in capsys.readouterr().err and json.loads((tmp_path / "taken.json").read_text()) == other
    for wrong, message in (
        (["--move", "1=0"], "--move 1=0 cannot be read: give N=RIGHT,DOWN"),
        (["--place", "one=1,1,2,2"], "--place one=1,1,2,2 cannot be read: give N=LEFT,TOP,WIDTH,HEIGHT"),
        (["--add", "1,1,2,2"], "cannot be read: give LABEL=LEFT,TOP,WIDTH,HEIGHT"),
        (["--layout", str(tmp_path / "nowhere.json")], "there is no file"),
    ):
        assert main([*again[:4], *wrong, "--out", str(tmp_path / "no.png")]) == 2
        told = capsys.readouterr().err
        assert message in told and told.count("\n") == 1 and not (tmp_path / "no.png").exists()
