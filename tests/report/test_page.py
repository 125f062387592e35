"""The report page and its curves."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from limner.core.errors import CheckpointError
from limner.core.recipes import from_preset, save_recipe
from limner.metrics.protocol import Part, Protocol, Score, write_scores
from limner.report.curves import MOST_POINTS, charts, line_chart, read_log, thinned, ticks
from limner.report.page import write_report


def line(step: int, phase: str = "gan") -> dict[str, float | str]:
    return {
        "phase": phase,
        "step": step,
        "total_step": step,
        "images": 64 * step,
        "epoch": step / 300,
        "seconds": step / 10,
        "images_per_second": 640.0,
        "discriminator/loss": 1.0,
        "generator/loss": 2.0 + step,
        "discriminator/real": 0.75,
        "discriminator/fake": 0.25,
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    recipe = dataclasses.replace(from_preset("gan-cls", "cpu", "prepared/<birds>"), resolution=32)
    save_recipe(recipe, tmp_path / "recipe.yaml")
    return tmp_path


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
@example(5e-324, 0.0)
@example(0.0, 5e-324)
@example(0.0, 1e-99)
@example(0.1, 1e-16)
def test_ticks_are_few_round_and_enclose_the_values(low: float, width: float) -> None:
    marks = ticks(low, low + width)
    step = marks[1] - marks[0]
    assert 2 <= len(marks) <= 9
    assert marks[0] <= low + 1e-6 * step and marks[-1] >= low + width - 1e-6 * step
    assert f"{step:.1e}"[:3] in ("1.0", "2.0", "2.5", "5.0")


def test_long_lines_are_thinned_to_means() -> None:
    points = thinned([(float(x), float(x % 2)) for x in range(10 * MOST_POINTS)])
    assert len(points) == MOST_POINTS
    assert {y for _, y in points} == {0.5}


def test_a_higher_value_is_drawn_higher() -> None:
    drawn = re.search(r'points="([^"]*)"', line_chart({"loss": [(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)]}))
    assert drawn
    places = [tuple(map(float, pair.split(","))) for pair in drawn[1].split()]
    assert places[0][0] < places[1][0] < places[2][0]
    assert places[1][1] < places[2][1] < places[0][1]


def test_figures_of_one_scale_share_a_chart() -> None:
    drawn = dict(charts([line(step) for step in (50, 100)]))
    assert list(drawn) == ["losses", "what the discriminator says", "images a second"]
    assert all(name in drawn["what the discriminator says"] for name in ("D(real)", "D(fake)"))
    assert [title for title, _ in charts([line(50, "text"), line(50, "gan")])][:1] == ["text: losses"]


def test_a_log_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(line(50)) + "\n" + json.dumps(line(100))[:40])
    assert [entry["step"] for entry in read_log(tmp_path / "log.jsonl")] == [50]
    assert read_log(tmp_path / "none.jsonl") == []


def test_the_page_holds_everything_and_needs_nothing(run: Path) -> None:
    (run / "log.jsonl").write_text("".join(json.dumps(line(step)) + "\n" for step in (50, 1100)))
    for name in ("samples/00000500.png", "samples/00001000.png", "pictures/1-never-seen.png"):
        (run / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(run / name)
    protocol = Protocol(
        metric="faithfulness",
        data="garden",
        split="test",
        fingerprint="f1",
        count=512,
        reference_count=512,
        captions="one",
        resolution=32,
        seed=0,
        implementation="limner",
    )
    parts = {"colour": Part(value=0.9321, chance=0.125)}
    write_scores(
        run / "scores.json", [Score(name="faithfulness", value=0.7054, protocol=protocol, higher_is_better=True, chance=0.25, parts=parts)]
    )
    page = write_report(run).read_text(encoding="utf-8")
    shown = (
        "gan-cls on &lt;birds&gt;",
        "1,100",
        "step 1,000",
        "Never seen",
        "D(fake)",
        "93.2 %",
        "12.5 %",
        "70.5 %",
        "limner evaluate",
        "learning-rate",
    )
    assert [text for text in shown if text not in page] == []
    assert protocol.line() in page
    assert "<birds>" not in page
    assert page.count("data:image/") == 3
    assert not re.search(r'(src|href)="(?!data:|#)|url\(|@import', page), "the page asks for something outside itself"


def test_a_run_that_has_only_begun_gets_a_page_too(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert "What to do next" in page and "Scores" not in page


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run folder"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())
