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
from limner.data.pngwords import with_captions
from limner.metrics.scoring.protocol import Part, Protocol, Score, write_scores
from limner.report.curves import MOST_POINTS, charts, line_chart, read_log, thinned, ticks
from limner.report.page import write_report
from limner.report.scores import score_table
from limner.training.health import too_short


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


def test_only_what_is_declared_a_verdict_is_drawn_as_one() -> None:
    said = {
        "real_unconditional": 0.5,
        "words_real": 0.5,
        "penalty": 9.0,
        "pair_64": 0.3,
        "class_accuracy": 0.5,
        "realism": 2.0,
        "skipped": 0.5,
    }
    drawn = dict(charts([line(50) | {f"discriminator-64/{name}": value for name, value in {**said, "skipped": 0.5}.items()}]))
    assert "D(real unconditional)" in drawn["what the discriminator-64 says"] and "D(words real)" in drawn["what the discriminator-64 says"]
    assert not re.search(r"D\((?!real|fake|words real)", "".join(drawn.values()))
    assert "gradient penalties" in drawn and "updates left out" in drawn
    others = drawn["further figures of the discriminator-64"]
    assert all(name in others for name in ("pair 64", "class accuracy", "realism")) and "penalty" not in others


@pytest.mark.parametrize("act", ["act", "stage", None])
def test_figures_of_unlike_phases_are_not_added_up_and_grids_stand_at_their_phases_steps(run: Path, act: str | None) -> None:
    """Logs of version 0.1 name acts stages, and earlier ones name none."""
    log = [line(step, "text") | {"act": "text"} for step in (100, 200)]
    log += [line(step, "gan") | {"act": "method", "total_step": 200 + step, "images": 16 * step} for step in (150, 300)]
    log = [{act if key == "act" else key: value for key, value in own.items() if act or key != "act"} for own in log]
    (run / "log.jsonl").write_text("".join(json.dumps(own) + "\n" for own in log))
    (run / "samples").mkdir()
    for total in (350, 500):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(run / "samples" / f"{total:08d}.png", pnginfo=with_captions(["a <red> flower"]))
    page = write_report(run).read_text(encoding="utf-8")
    assert re.search(r"200 steps</b><span>text: 12,800 pictures", page) and re.search(r"300 steps</b><span>gan: 4,800 pictures", page)
    assert "17,600" not in page and "500 steps" not in page
    assert "after step 300 of gan" in page and "step 150 of gan" in page and "step 500" not in page
    assert page.count("<li>a &lt;red&gt; flower</li>") == 1
    assert "Too short to judge (300 steps, 1.0 times over the training pictures)" in page and "Nothing in the log speaks" not in page


@pytest.mark.parametrize(
    ("steps", "epochs", "said"), [(1, 40.0, "1 step,"), (999, 0.1, "999 steps"), (5000, 0.4, "not seen every picture"), (1000, 1.0, None)]
)
def test_a_run_is_judged_by_its_steps_and_passes(steps: int, epochs: float, said: str | None) -> None:
    found = too_short(steps, epochs)
    assert found is None if said is None else found is not None and said in found and found.startswith("Too short to judge")


def test_a_score_names_its_network_and_no_column_is_empty() -> None:
    protocol = Protocol(
        metric="fid", data="mine", split="test", fingerprint="f1", count=512, reference_count=512, captions="one", resolution=32, seed=0,
        implementation="limner", features="garden", features_hash="1", resize="bilinear",
    )  # fmt: skip
    fid = Score(name="fid", value=42.09, protocol=protocol, higher_is_better=False)
    other = dataclasses.replace(fid, value=197400.0, protocol=dataclasses.replace(protocol, features="squeezenet"))
    fewer = dataclasses.replace(fid, value=50.0, protocol=dataclasses.replace(protocol, count=1000))
    heads = [re.sub("<.*?>", "", head) for head in re.findall(r'<th scope="col">(.*?)</th>', score_table([fid, other]))]
    rows = [re.sub("<.*?>", "", head) for head in re.findall(r'<th scope="row">(.*?)</th>', score_table([fid, other, fewer]))]
    assert heads == ["metric", "score"]
    assert rows == [
        "fid garden, count 512, test, lower is better",
        "fid squeezenet, test, lower is better",
        "fid garden, count 1,000, test, lower is better",
    ]
    share = Score(name="r-precision", value=0.5, protocol=protocol, higher_is_better=True, chance=0.1, error=0.01)
    heads = [re.sub("<.*?>", "", head) for head in re.findall(r'<th scope="col">(.*?)</th>', score_table([fid, share]))]
    assert heads == ["metric", "score", "±", "chance", "score as a bar"]


def test_what_a_file_of_scores_says_is_text(run: Path) -> None:
    evil = '<img src=x onerror="alert(1)">'
    protocol = Protocol(
        metric=evil, data=evil, split=evil, fingerprint=evil, count=5, reference_count=5, captions=evil, resolution=32, seed=0,
        implementation=evil, features=evil, features_hash=evil, resize=evil,
    )  # fmt: skip
    parts = {evil: Part(value=0.5, chance=0.1)}
    write_scores(
        run / "scores.json", [Score(name=evil, value=0.5, protocol=protocol, higher_is_better=True, parts=parts, notes=(evil,), chance=0.1)]
    )
    page = write_report(run).read_text(encoding="utf-8")
    assert "<img" not in page and page.count("&lt;img src=x") >= 6
