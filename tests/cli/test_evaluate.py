"""`limner evaluate` of folders, of everything at once, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.cli.arguments import first_positional
from limner.cli.evaluate import painting
from limner.cli.main import main
from limner.data.garden import Garden
from limner.metrics.scoring import survey
from limner.metrics.scoring.registry import METRICS
from limner.model import Model


@pytest.fixture(autouse=True)
def shipped(tiny_model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every model is the tiny one, and the cache is of this test alone."""
    monkeypatch.setattr(painting, "open_model", lambda name, device: tiny_model)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(survey, "TRAINING_PICTURES", 50)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures of the garden, with a metadata.jsonl."""
    garden, out = Garden("test", length=12, resolution=16), tmp_path / "theirs"
    out.mkdir()
    lines = []
    for index in range(12):
        Image.fromarray(garden.pictures(np.array([index]))[0]).save(out / f"{index}.png")
        (caption,) = garden.captions(np.array([index]))
        lines.append(json.dumps({"file_name": f"{index}.png", "text": caption.text}))
    (out / "metadata.jsonl").write_text("\n".join(lines))
    return out


def test_a_folder_of_pictures_is_scored(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores.json"
    words = ["--pictures", str(folder), "--data", "garden"]
    assert main(["evaluate", *words, "--metrics", "kid,faithfulness", "--out", str(out)]) == 0
    assert "garden/test" in capsys.readouterr().out
    scores = {score["name"]: score for score in json.loads(out.read_text())["scores"]}
    assert set(scores) == {"faithfulness", "everything-right", "coherence", "kid"}
    assert scores["kid"]["protocol"]["count"] == 12 and scores["kid"]["protocol"]["resolution"] == 16
    assert scores["faithfulness"]["value"] > 0.6
    assert (tmp_path / "cache" / "references").is_dir()
    (folder / "metadata.jsonl").unlink()
    assert main(["evaluate", *words, "--metrics", "faithfulness"]) == 2
    told = capsys.readouterr().err
    assert "faithfulness needs a caption for each picture" in told and told.count("\n") == 1


def test_all_metrics_say_which_they_leave_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores.json"
    assert main(["evaluate", "any", "--metrics", "all", "--count", "24", "--split", "test", "--out", str(out)]) == 0
    told = capsys.readouterr()
    names = {score["name"] for score in json.loads(out.read_text())["scores"]}
    assert names >= {
        "fid",
        "fid-infinity",
        "kid",
        "is",
        "coverage",
        "psnr",
        "ssim",
        "ms-ssim",
        "class-accuracy",
        "memorisation",
        "diversity",
        "openness",
        "coherence",
        "everything-right",
    }
    for name in ("r-precision", "vs", "clip-score", "ap"):
        assert f"limner: {name} is left out on garden/test: {name} needs a matching model" in told.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a MODEL or --pictures DIR: give one of the two"),
        (["any", "--pictures", "x", "--data", "garden"], "a MODEL or --pictures DIR: give one of the two"),
        (["--pictures", "x"], "there is nothing at x"),
        (["any", "--count", "1"], "--count is 1"),
        (["--pictures", "x", "--data", "garden", "--guidance", "2"], "--guidance goes with a MODEL"),
        (["any", "--devices", "0"], "--devices is 0"),
        (["any", "--resolution", "32"], "--resolution goes with --pictures"),
        (["any", "--metrics", "r-precison", "--split", "test"], "there is no metric 'r-precison': did you mean 'r-precision'"),
        (["any", "--metrics", "vs", "--split", "test"], "vs needs a matching model"),
    ],
)
def test_evaluate_refuses_in_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if words == ["--pictures", "x"]:
        words = [*words, "--data", "garden"]
    assert main(["evaluate", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_lists_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in METRICS)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("runs/a --count 3", "runs/a"),
        ("--count 3 runs/a --out x", "runs/a"),
        ("--count=3 runs/a", "runs/a"),
        ("--data garden --matching runs/words runs/a", "runs/a"),
        ("--pictures runs/a --data garden", None),
        ("--help runs/a", "runs/a"),
        ("", None),
    ],
)
def test_what_is_scored_is_the_word_that_belongs_to_no_option(words: str, name: str | None) -> None:
    assert first_positional(words.split()) == name


def test_a_judge_is_scored_by_its_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "accuracy.json"
    assert main(["evaluate", "--count", "6", "garden-judge", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "held-out combinations (test), 128 px" in told and "seed 7011, count 6" in told
    record = json.loads(out.read_text())
    assert record["protocol"]["judge"] and len(record["accuracy"]) >= 5
    assert main(["evaluate", "garden-judge", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "a judge of garden attributes" in shown and "--metrics" not in shown
    for options, message in ((["--seed", "7001"], "was trained on: give another"), (["--metrics", "fid"], "no option '--metrics'")):
        assert main(["evaluate", "garden-judge", *options]) == 2
        told = capsys.readouterr().err
        assert message in told and told.count("\n") == 1


def test_what_has_no_scores_is_refused_by_what_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "garden-text"]) == 2
    told = capsys.readouterr().err
    assert "garden-text holds a text encoder alone, which has no scores: give a model that paints captions, a matching model" in told
    assert told.count("\n") == 1
