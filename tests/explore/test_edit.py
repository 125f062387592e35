"""Editing by words: what is counted as changed and where, on a painter that does what it is told and on one that repaints everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from limner.cli.explore import edit as command
from limner.cli.main import main
from limner.core import random
from limner.core.errors import SettingsError
from limner.data.garden import ATTRIBUTES, Scenes, paint, parse
from limner.explore.edit import Edits, changed_attribute, edit, edit_grid, garden_edits, judge_edits
from limner.metrics.faithfulness import UNNAMED, named_codes
from limner.model import Model

NAMES = tuple(ATTRIBUTES)


def painted(captions: list[str], keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Scenes as captions name them, all else the first value: what a model would paint that does as it is told."""
    codes = named_codes(captions)
    return paint(Scenes(np.where(codes == UNNAMED, 0, codes), keys), 64)


def edits(attribute: str, *, repaints: bool = False) -> Edits:
    pairs = garden_edits(attribute, 24)
    keys = random.hash64(7, "test", np.arange(len(pairs)))
    before, after = painted([was for was, _ in pairs], keys), [now for _, now in pairs]
    return Edits(pairs, before, painted(after, random.hash64(8, "test", np.arange(len(pairs))) if repaints else keys))


@pytest.mark.parametrize("attribute", ["colour", "background"])
def test_a_painter_that_does_as_it_is_told(attribute: str) -> None:
    told = judge_edits(edits(attribute))
    assert told.attribute == attribute and told.pictures == 24
    assert told.right >= 22 and told.followed >= told.right - 1 and told.kept >= 0.95 * told.others > 0
    assert told.inside > 3 * told.outside > 0 and told.true_inside > 3 * told.true_outside
    assert told.inside == pytest.approx(told.true_inside, rel=0.3)
    assert f"{attribute}: right before in {told.right} of 24" in told.lines()[0]


def test_a_painter_that_repaints_everything_changes_what_it_should_not() -> None:
    told, repainted = judge_edits(edits("colour")), judge_edits(edits("colour", repaints=True))
    assert repainted.outside > 3 * told.outside


def test_a_picture_that_was_wrong_before_counts_for_nothing() -> None:
    found = edits("colour")
    wrong = judge_edits(Edits(found.captions, found.after, found.after))
    assert wrong.right <= 2 and wrong.others <= 2 * len(NAMES) and wrong.inside == 0.0
    unmoved = judge_edits(Edits(found.captions, found.before, found.before))
    assert unmoved.right >= 22 and unmoved.followed <= 1 and unmoved.kept == unmoved.others


def test_captions_with_one_attribute_changed() -> None:
    pairs = garden_edits("centre", 30)
    assert len(pairs) == 30 and pairs[:5] == garden_edits("centre", 5)
    for was, now in pairs:
        before, after = parse(was), parse(now)
        assert before["centre"] != after["centre"] and {**before, "centre": after["centre"]} == after
    assert changed_attribute(pairs) == "centre"
    for wrong, words in (
        ([("a red flower", "a red flower")], "do not differ in one attribute"),
        ([("a red flower", "a blue flower at night")], "do not differ in one"),
        ([("a red flower", "a blue flower"), ("a red flower at night", "a red flower in the meadow")], "do not differ in one"),
        ([("a flower", "a blue flower")], "does not name its colour"),
    ):
        with pytest.raises(SettingsError, match=words):
            changed_attribute(wrong)
    with pytest.raises(SettingsError, match="attribute of the garden 'color'"):
        garden_edits("color", 1)


def test_the_noise_stands_still(tiny_model: Model) -> None:
    same = edit(tiny_model, [("a red flower", "a red flower"), ("a red flower", "a blue flower")], seed=3)
    assert np.array_equal(same.before[0], same.after[0]) and not same.change()[0].any()
    assert np.array_equal(same.before, tiny_model.pictures(["a red flower"] * 2, [0, 1], seed=3))
    assert np.array_equal(same.after[1], tiny_model.pictures(["a blue flower"], [1], seed=3)[0])
    expected = np.abs(same.after[1].astype(int) - same.before[1]).mean(2)
    np.testing.assert_allclose(same.change()[1], expected, rtol=1e-5)
    assert edit_grid(same).height > 2 * 128


def test_the_command(tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "open_model", lambda name, device: tiny_model)
    out, base = tmp_path / "a" / "edit.png", ["explore", "edit", "any"]
    assert main([*base, "a red flower", "a blue flower", "--count", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "colour: right before in" in printed and "mean change where it shows" in printed
    with Image.open(out) as grid:
        assert grid.height > 3 * 128
    assert main([*base, "a red flower", "the red tree", "--count", "2", "--out", str(out)]) == 0
    assert "mean change" in (printed := capsys.readouterr().out) and "do not differ in one attribute" in printed
    assert main([*base, "--attribute", "colour", "--count", "4", "--out", str(out)]) == 0
    assert "of 4 pictures" in capsys.readouterr().out
    for wrong in (
        ["a red flower"],
        [],
        ["a red flower", "a blue flower", "--attribute", "colour"],
        ["--attribute", "colour", "--count", "0"],
    ):
        assert main([*base, *wrong, "--out", str(out)]) == 2
