"""How many pictures do I need: what the points say in words, the figure, and the whole verb at the smallest size."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from limner.cli.curve import write_answer
from limner.core.errors import SettingsError
from limner.data.prepare import prepare
from limner.study.curve import Point, answer, best_validation, curve_study, figure, percentages
from limner.study.plan import plan
from limner.training.checkpoints import Checkpoints

UNCAPTIONED = (0, 1, 2)


def points(*values: float) -> list[Point]:
    return [Point(30 * 2**number, {"likeness": value, "recognised": value / 2}) for number, value in enumerate(values)]


def test_the_answer_follows_the_last_doubling() -> None:
    told = answer(points(0.40, 0.48, 0.53))
    assert "0.40 from 30, 0.48 from 60, 0.53 from 120 pictures" in told and "More pictures will help" in told
    assert "240 pictures reach about 0.58" in told
    assert "will bring little" in answer(points(0.40, 0.52, 0.53))
    assert "fell by 0.10" in answer(points(0.40, 0.50, 0.40)) and "no answer yet" in answer(points(0.4))


def test_the_figure_is_a_picture_of_the_points() -> None:
    root = ElementTree.fromstring(figure(points(0.4, 0.5, 0.6)))
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    heights = [float(circle.attrib["cy"]) for circle in circles]
    assert len(circles) == 6 and heights[0] > heights[1] > heights[2] and heights[3] > heights[0]
    places = [float(circle.attrib["cx"]) for circle in circles[:3]]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])  # a doubling each
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"30", "60", "120", "0.40", "training pictures"} <= {*texts}


def test_what_cannot_be_drawn_is_refused() -> None:
    asked = {"minutes": 1.0, "seeds": (0,), "resolution": 16, "device": "cpu"}
    with pytest.raises(SettingsError, match="stylegan2 does not validate on held-out pairs"):
        curve_study("stylegan2", "mine", shares=(0.5, 1.0), **asked)  # type: ignore[arg-type]
    for shares in ((1.0,), (0.5, 0.5), (0.0, 1.0), (0.5, 2.0)):
        with pytest.raises(SettingsError, match="give two or more, each above 0 and at most 1"):
            curve_study("limner-gan", "mine", shares=shares, **asked)  # type: ignore[arg-type]


def test_shares_that_round_to_one_percentage_have_names_of_their_own() -> None:
    assert [*percentages([0.1, 0.5, 1.0]).values()] == ["10%", "50%", "100%"]
    assert [*percentages([0.101, 0.104]).values()] == ["10.1%", "10.4%"]


def some_captioned(folder: Path) -> Path:
    """Eight training pictures, three of them without captions; half of them holds two captioned ones."""
    source = folder / "source"
    source.mkdir()
    rows = []
    for number in range(8):
        Image.new("RGB", (20, 20), (number * 30, 0, 0)).save(source / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "split": "train"} | ({"text": f"a bird {number}"} if number not in UNCAPTIONED else {}))
    (source / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare([source], folder / "set", resolution=16, uncaptioned=True)
    return folder / "set"


def test_an_answer_is_read_from_the_runs(tmp_path: Path) -> None:
    data = some_captioned(tmp_path)
    study = curve_study("limner-gan", str(data), shares=(1.0, 0.5), minutes=1.0, seeds=(0, 1), resolution=16, device="cpu")
    runs = plan(study, tmp_path / "out")
    assert [run.recipe.data_settings.share for run in runs] == [0.5, 1.0, 0.5, 1.0] and {run.recipe.preset for run in runs} == {"small-set"}
    assert best_validation(runs[0].folder) is None
    for run, best in zip(runs, (0.3, 0.5, 0.5, 0.7), strict=True):
        run.folder.mkdir(parents=True)
        lines = [{"act": "text", "step": 2, "evaluation/score": 9.0}, {"act": "method", "step": 2, "generator/loss": 2.0}]
        for likeness in (0.9, best, best - 0.2):  # the first came too early for the run to keep its state
            figures = {"evaluation/score": likeness, "evaluation/likeness": likeness, "evaluation/recognised": 0.25}
            lines.append({"act": "method", "step": len(lines) - 1, **figures})
        (run.folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        Checkpoints(run.folder).save(3, {"position": {"best": best, "best_step": 2}})
    told = write_answer(runs, tmp_path / "out")
    assert "0.40 from 2, 0.60 from 5 pictures" in told
    assert (tmp_path / "out" / "answer.md").read_text().startswith("Likeness") and (tmp_path / "out" / "curve.svg").is_file()
