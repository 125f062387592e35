"""The pages show the pictures themselves: every stage of a painting, and what each sample grid of a run showed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import limner
from limner.cli.main import main
from limner.core.errors import DataError, SettingsError
from limner.data.pngwords import with_captions
from limner.data.sheet import caption_grid, cut_grid
from limner.explore.stages import over_training, save_course, stages, stages_page
from limner.model import Model, save_model
from limner.training.samples import PICTURES

RED, BLUE = "a red flower", "the blue bird at night"
LONG = "a large red flower with five round petals and a golden centre, and one more word for each line that this caption is to have " * 2
STAGED = {"stackgan-v2": {}, "hdgan": {"nested": (16,)}, "msg-gan": {}}
"""Methods that paint in stages, and the settings by which they do at 32 px."""


def staged(name: str, tiny_model: Model) -> Model:
    """A fresh painter of one method, which reads as the tiny model does."""
    width = tiny_model.encoder.sentence_width
    return Model(limner.create(name, preset="cpu", resolution=32, sentence_width=width, **STAGED[name]), tiny_model.encoder)


@pytest.mark.parametrize("name", STAGED)
def test_every_stage_of_every_picture(name: str, tiny_model: Model) -> None:
    model = staged(name, tiny_model)
    courses = stages(model, [RED, BLUE], count=2, seed=5)
    final = [np.asarray(picture) for picture in model.generate([RED, BLUE], n=2, seed=5)]
    assert len(courses) == 4
    assert all(np.array_equal(np.asarray(course[-1]), picture) for course, picture in zip(courses, final, strict=True))
    sides = [picture.width for picture in courses[0]]
    assert sides == sorted(set(sides)) and sides[-1] == 32 and len(sides) > 1
    if name == "msg-gan":
        assert sides == [4, 8, 16, 32]
    page = stages_page(courses, [RED, RED, BLUE, BLUE])
    assert page.width > len(sides) * 128 and page.height > 4 * 128


def test_one_stage_is_none(tiny_model: Model) -> None:
    with pytest.raises(SettingsError, match="paints in one stage"):
        stages(tiny_model, [RED])
    with pytest.raises(SettingsError, match="-n is 0"):
        stages(tiny_model, [RED], count=0)


def grid_of(number: int, captions: list[str], side: int = 16) -> list[list[Image.Image]]:
    """Pictures of one colour each, which says the grid, the row and the column."""
    colours = [[(40 * number, 60 + 20 * row, 40 * column) for column in range(PICTURES)] for row in range(len(captions))]
    return [[Image.new("RGB", (side, side), colour) for colour in row] for row in colours]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's sample grids, whose pictures grow; a preview of another phase, and a file that is cut short, lie among them."""
    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    for number, (name, side) in enumerate({"1-gan-00000010": 16, "1-gan-00000500": 16, "2-more-00000500": 256}.items()):
        page = caption_grid(grid_of(number, [LONG, RED], side), [LONG, RED])
        page.save(folder / "samples" / f"{name}.png", pnginfo=with_captions([LONG, RED]))
    caption_grid(grid_of(0, [RED]), [RED]).save(folder / "samples" / "0-text-00000100.png")
    (folder / "samples" / "1-gan-00000900.png").write_bytes(b"\x89PNG cut")
    return folder


@pytest.mark.parametrize("captions", [[LONG, RED], [RED], [""] * 8])
def test_a_grid_is_cut_where_it_was_put_together(captions: list[str]) -> None:
    pictures = grid_of(1, captions, 128)
    rows = cut_grid(caption_grid(pictures, captions), captions, PICTURES)
    assert rows is not None
    for cut, own in zip(rows, pictures, strict=True):
        assert all(np.array_equal(np.asarray(one), np.asarray(other)) for one, other in zip(cut, own, strict=True))
    assert cut_grid(caption_grid(pictures, captions).crop((0, 0, 300, 200)), captions, PICTURES) is None


def test_one_picture_of_every_grid(run: Path) -> None:
    course = over_training(run, RED, number=2)
    assert course.moments == ["gan step 10", "gan step 500", "more step 500"]
    seen = [picture.getpixel((64, 64)) for picture in course.pictures]
    assert seen == [(0, 80, 80), (40, 80, 80), (80, 80, 80)]
    first = over_training(run)
    assert first.caption == LONG and first.pictures[0].getpixel((64, 64)) == (0, 60, 0)
    with pytest.raises(SettingsError, match="'a blue flower' is not in the sample grids of .*'a red flower'"):
        over_training(run, "a blue flower")
    with pytest.raises(SettingsError, match="--number is 7, but each caption of the sample grids has 6 pictures: give 1 to 6"):
        over_training(run, RED, number=6)
    with pytest.raises(DataError, match="has no sample grids"):
        over_training(run.parent)


def test_a_strip_and_an_animation(run: Path, tmp_path: Path) -> None:
    course = over_training(run, RED)
    save_course(course, tmp_path / "a" / "course.png")
    with Image.open(tmp_path / "a" / "course.png") as page:
        assert page.width > 3 * 128
    save_course(course, tmp_path / "course.gif")
    with Image.open(tmp_path / "course.gif") as film:
        assert film.n_frames == 3  # type: ignore[attr-defined]
        durations = []
        for number in range(3):
            film.seek(number)
            durations.append(film.info["duration"])
    assert durations == [300, 300, 2000]
    twenty = dataclasses.replace(course, moments=course.moments * 7, pictures=course.pictures * 7)
    save_course(twenty, tmp_path / "long.png")
    with Image.open(tmp_path / "long.png") as page:
        assert page.width < 2000 and page.height > 3 * 128


def test_the_commands(run: Path, tiny_model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, plain, out = tmp_path / "model", tmp_path / "plain", tmp_path / "out.png"
    painter = staged("msg-gan", tiny_model)
    save_model(model, "msg-gan", painter.method, painter.encoder, {"data": "garden"}, "A card.")
    save_model(plain, "gan-cls", tiny_model.method, tiny_model.encoder, {"data": "garden"}, "A card.")
    for argv in ([str(model), RED, BLUE, "-n", "2"], [str(run), "--over-training"], [str(run), RED, "--over-training", "--number", "2"]):
        assert main(["explore", "stages", *argv, "--out", str(out)]) == 0
        out.unlink()
    assert main(["explore", "stages", str(run), "--over-training", "--out", str(tmp_path / "out.gif")]) == 0
    film = tmp_path / "film.gif"
    assert main(["explore", "stages", str(run), RED, LONG, "--over-training", "-n", "3", "--out", str(film)]) == 0
    with Image.open(film) as frames:
        assert frames.n_frames == 3 and frames.width > 3 * 96 and frames.height > 2 * 96  # type: ignore[attr-defined]
    capsys.readouterr()
    for argv, words in (
        ([str(model)], 'give a "CAPTION" in quotes'),
        ([str(plain), RED], "paints in one stage"),
        ([str(model), RED, "--number", "2"], "add --over-training"),
        ([str(model), "zzz"], "knows none of the words"),
        ([str(model), "--over-training"], "has no sample grids"),
        ([str(run), RED, LONG, "--over-training"], "shows several pictures as an animation"),
        ([str(run), "--over-training", "-n", "2"], "shows several pictures as an animation"),
        ([str(run), "--over-training", "--seed", "2"], "leave --seed out"),
        ([str(run), RED, "--over-training", "--number", "7"], "--number is 7"),
    ):
        assert main(["explore", "stages", *argv, "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and not out.exists()
    assert main(["explore", "stages", str(run), RED, "--over-training", "--number", "6", "-n", "2", "--out", str(tmp_path / "x.gif")]) == 2
    assert "--number 6 and -n 2 ask for pictures 6 to 7, but each caption of the sample grids has 6" in capsys.readouterr().err
    assert main(["explore", "stages", str(model), RED, "--out", str(tmp_path / "x.gif")]) == 2
    assert main(["explore", "stages", str(run), "--over-training", "--out", str(tmp_path / "x.jpg")]) == 2
