"""`limner compare` and `limner report` on real runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from limner.cli.main import main

SMALL = [
    *("--data", "garden", "--preset", "cpu", "--resolution", "16", "--device", "cpu", "--steps", "3"),
    *("--training.batch-size", "8", "--training.log-every", "1", "--training.sample-every", "2"),
    *("--data.garden-pictures", "64", "--method.generator-channels", "4", "--method.discriminator-channels", "4"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        assert main(["train", "gan-cls", *SMALL, "--seed", str(seed), "--out", str(folder / f"seed{seed}")]) == 0
    assert main(["train", "gan-cls", *SMALL, "--method.captions", "2", "--out", str(folder / "two")]) == 0
    return [folder / "seed0", folder / "seed1", folder / "two"]


def test_a_process_compares_runs(runs: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "limner", "compare", *map(str, runs), "--count", "2", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, "--evaluate", "--metrics", "fid", "--pictures", "16", "--split", "test", "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    with Image.open(tmp_path / "out" / "compare.png") as picture:
        assert picture.width > 400
    assert done.stdout.splitlines()[-2:] == [str(tmp_path / "out" / "compare.html"), str(tmp_path / "out" / "compare.png")]
    assert "2 entries side by side" in page
    assert "±" in page and "16 pictures of 16 px" in page and "best" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "--out", "OUT"], "give at least two"),
        (["RUN", "no-such-run", "--out", "OUT"], "there is no shipped model or folder 'no-such-run'"),
        (["RUN", "OTHER", "--metrics", "fid", "--out", "OUT"], "give --evaluate with it"),
        (["RUN", "OTHER", "--count", "0", "--out", "OUT"], "--count is 0: give 1 to 100,000"),
        (["RUN", "OTHER", "--out", "RUN/log.jsonl"], "is a file"),
    ],
)
def test_a_mistake_is_one_line(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    places = {"RUN": str(runs[0]), "OTHER": str(runs[2]), "OUT": str(tmp_path / "out")}
    given = [places.get(word, word).replace("RUN/", f"{runs[0]}/") for word in words]
    assert main(["compare", *given]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert message in complaint and complaint.startswith("limner: ")


def test_shipped_models_keep_no_scores(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(runs[2], tmp_path / "run", ignore=shutil.ignore_patterns("scores.json"))
    words = [
        "compare",
        str(tmp_path / "run"),
        "garden-fast",
        "--captions",
        "a red flower",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*words, "--evaluate", "--metrics", "fid", "--pictures", "8", "--split", "test"]) == 2
    told = capsys.readouterr().err
    assert "garden-fast is shipped and keeps none: leave --evaluate or garden-fast out" in told and told.count("\n") == 1
    assert not (tmp_path / "run" / "scores.json").exists() and not (tmp_path / "out").exists(), "refused before anything is scored"
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "garden-fast is shipped and keeps no scores; some runs have no scores: the page says how to take them" in told
    assert "--evaluate" not in told
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert f"limner evaluate {tmp_path / 'run'}" in page and "limner evaluate garden-fast" not in page


def test_an_unfinished_run_is_refused(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(runs[0], tmp_path / "begun")
    shutil.rmtree(tmp_path / "begun" / "model")
    assert main(["compare", str(runs[2]), str(tmp_path / "begun"), "--out", str(tmp_path / "out")]) == 2
    assert "has no model yet" in capsys.readouterr().err


def test_a_report_is_written_anew_with_its_strips(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = runs[2]
    (run / "report.html").unlink()
    assert main(["report", str(run), "--worst", "2", "--nearest", "1", "--sample", "8", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    page = (run / "report.html").read_text(encoding="utf-8")
    for shown in (
        "What it does worst",
        "Remembered or made?",
        "after 3 steps",
        "Its health",
        "attributes right",
        f"limner train {run}/recipe.yaml",
    ):
        assert shown in page
    assert "--method.unconditional" not in page
    assert main(["report", str(run), "--sample", "0"]) == 2
    assert capsys.readouterr().err == "limner: --sample is 0: give 1 to 100,000\n"


def test_a_report_of_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
