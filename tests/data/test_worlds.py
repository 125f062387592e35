"""The table of built-in sets agrees with the sets, and a set of somebody's own is none of them, whatever its folder is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shared.pictures import prepared

from limner.cli.main import main
from limner.core.worlds import BUILT_IN, WORLDS, holds
from limner.data.catalog import open_data
from limner.data.part import PartOfPictures
from limner.data.reduced import at_resolution
from limner.data.stories import told_alone
from limner.training.readable import ReadablePictures


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_set_is_as_the_table_says(name: str) -> None:
    world, pictures = WORLDS[name], open_data(name, "val", 16, length=8)
    assert (pictures.name, pictures.holds) == (world.name, world.holds) == (name, holds(name))
    assert (pictures.class_ids is not None, bool(pictures.label_names)) == (world.classes, world.layouts)
    assert (pictures.stories is not None) == (world.holds == "stories")
    reduced = at_resolution(pictures, 8)
    for other in (pictures, PartOfPictures(pictures, 0.5), reduced, told_alone(pictures), ReadablePictures(pictures, {0: [1]})):
        assert (other.name, other.holds, other.class_count) == (name, world.holds, pictures.class_count)
        has_layouts = world.layouts and other is not reduced
        assert (other.layouts(np.arange(1)) is not None, bool(other.label_names)) == (has_layouts, has_layouts)


def test_a_folder_may_be_called_garden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = prepared(tmp_path / "garden", [(split, f"{word} bird") for split in ("train", "test") for word in "abcd"], 64)
    pictures = open_data(str(mine), "test", 64)
    assert (pictures.name, pictures.holds) == ("garden", None)
    for command in (
        ["evaluate", "garden", "--data", str(mine), "--metrics", "everything-right", "--count", "4"],
        ["train", "garden-judge", "--data", str(mine), "--out", str(tmp_path / "run"), "--steps", "1", "--method.pictures", "8"],
    ):
        assert main(command) == 2
        told = capsys.readouterr().err
        assert "reads the garden's flowers" in told and "--data garden" in told and told.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", ["data show", "data describe", "evaluate", "train limner-gan", "explore nearest", "explore worst"])
def test_help_names_every_set(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb.split(), "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "'garden', 'garden-bouquets', 'garden-stories', or the folder of a prepared data set" in shown
