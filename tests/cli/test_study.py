"""`limner study` as processes: what it completes, what a kill and a failing run leave, what it refuses."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from limner.cli.main import main
from limner.core import registry
from limner.core.errors import SettingsError
from limner.core.recipes import save_recipe
from limner.study import processes
from limner.study.checks import check_runs
from limner.study.plan import check_folder, plan
from limner.study.processes import Outcome, alone_in, last_words, room
from limner.study.settings import Budget, read_study, write_study
from limner.study.state import Course, is_trained

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "entries": [{"method": "df-gan", "name": "DF, halved", "settings": {"method.penalty-every": 2}}, "gan-cls"],
    "seeds": [0, 1],
    "budget": {"images": 80},
    "resolution": 16,
    "device": "cpu",
    "settings": {
        "method.generator-channels": 4,
        "method.discriminator-channels": 4,
        "method.batch-size": 8,
        "data.garden-pictures": 64,
        "training.log-every": 1,
        "training.checkpoint-every": 1,
    },
    "evaluation": {"metrics": "fid", "count": 8},
    "comparison": {"count": 1},
    "together": 1,
    "threads": 1,
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "asked.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in (TINY | changes).items() if value is not None}))
    return path


WAITS = """
import signal, time
from pathlib import Path
from limner.methods.gan_cls import GANCLS

class Waits(GANCLS):
    def training_step(self, batch, progress):
        reached = Path(__file__).with_name("reached")
        if progress.step == 3 and not reached.exists():
            reached.touch()
            while signal.getsignal(signal.SIGTERM).__self__.signal is None:  # until this training is asked to stop
                time.sleep(0.01)
        yield from super().training_step(batch, progress)
"""
"""GAN-CLS, whose first training stands still in its fourth step until it is asked to stop, however fast or busy the machine is."""


def begin(path: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "limner", "study", str(path), "--out", str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_killed_in_the_middle_and_with_a_run_that_fails_it_completes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    monkeypatch.setenv(registry.VARIABLE, str(tmp_path / "waits.py"))
    path, out = written(tmp_path, entries=[TINY["entries"][0], {"method": "waits", "name": "gan-cls"}]), tmp_path / "study"
    killed, obstacle = out / "runs" / "garden" / "gan-cls-seed0", out / "runs" / "garden" / "DF-halved-seed0" / "log.jsonl"
    obstacle.mkdir(parents=True)  # its training has nowhere to write its log
    write_study(read_study(path), out / "study.yaml")

    process = begin(path, out)
    while not (tmp_path / "reached").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    told = process.communicate()[0]
    log = out / "logs" / "garden" / "DF-halved-seed0.log"
    assert f"DF, halved, seed 0: failed: cannot use {obstacle}: Is a directory: " in told and f"(see {log})" in told
    assert not is_trained(killed)

    obstacle.rmdir()
    process = begin(path, out)
    told = process.communicate()[0]
    assert process.returncode == 0, told
    for name in ("DF, halved, seed 0", "gan-cls, seed 0", "DF, halved, seed 1", "gan-cls, seed 1"):
        assert f"{name}: done, 80 images in" in told
    assert "going on with" in (out / "logs" / "garden" / "gan-cls-seed0.log").read_text()  # what the first start trained is not lost
    check_results(out)
    page = (out / "compare" / "garden" / "compare.html").read_text()
    assert "DF, halved" in page and "Not done yet" not in page

    assert main(["study", str(path), "--out", str(out), "--dry-run"]) == 0
    more = written(tmp_path, entries=yaml.safe_load(path.read_text())["entries"], budget={"images": 320})
    assert main(["study", str(more), "--out", str(out), "--dry-run"]) == 2


def check_results(out: Path) -> None:
    """results.json and results.csv hold every run's numbers as its own files have them, and means of them."""
    results = json.loads((out / "results.json").read_text())
    assert results["missing"] == [] and len(results["runs"]) == 4
    values: dict[str, list[float]] = {}
    for run in results["runs"]:
        stored = json.loads((out / run["folder"] / "scores.json").read_text())["scores"]
        assert run["scores"] == stored and run["images"] == 80 and run["ended by"] == "the budget"
        values.setdefault(run["entry"], []).append(next(score["value"] for score in stored if score["name"] == "fid"))
    rows = list(csv.DictReader((out / "results.csv").open()))
    spread = math.sqrt(statistics.mean((statistics.stdev(found) / statistics.mean(found)) ** 2 for found in values.values()))
    for entry, found in values.items():
        mean = next(row for row in rows if (row["entry"], row["seed"], row["measure"]) == (entry, "mean", "fid"))
        assert float(mean["value"]) == pytest.approx(statistics.mean(found)) and mean["runs"] == "2"
        margin = 4.3027 * spread * statistics.mean(found) / math.sqrt(2)  # Student's t of two degrees of freedom, one of each entry
        assert float(mean["high"]) - float(mean["value"]) == pytest.approx(margin, rel=1e-3)


def test_the_example_is_a_study_and_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "--example"]) == 0
    path = tmp_path / "study.yaml"
    path.write_text(capsys.readouterr().out)
    assert main(["study", "study.yaml", "--out", "new", "--dry-run"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("3 entries x 1 data set x 2 seeds: 6 runs of 5 min; ") and len(shown) == 8
    assert all(line.endswith("to train, about 5.0 min") for line in shown[1:7])
    assert main(["study", "study.yaml", "--out", "new", "--dry-run", "--only", "df-gan", "gan-cls"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert main(["study", "study.yaml", "--out", "new", "--only", "dfgan"]) == 2
    assert "there is no entry of the study 'dfgan': did you mean 'df-gan'?" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize(("name", "runs"), [("study/study.yaml", 12), ("../benchmarks/methods.yaml", 90)])
def test_published_studies_can_be_made_again(name: str, runs: int) -> None:
    assert len(plan(read_study(ROOT / "docs" / name), Path("nowhere"))) == runs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budgt": {"minutes": 5}}, "there is no entry in {path} called 'budgt': did you mean 'budget'? known: "),
        (
            {"budget": {"minuts": 5}},
            "there is no entry in budget of {path} called 'minuts': did you mean 'minutes'? known: core_minutes, images, minutes",
        ),
        ({"budget": {"minutes": "five"}}, "{path}: budget.minutes is wrong: expected "),
        ({"budget": {"minutes": 0}}, "{path}: budget.minutes is 0.0, but must be above 0"),
        ({"budget": None}, "{path} does not say its budget: add 'budget:'"),
        ({"entries": [{"name": "mine"}]}, "entries[0] of {path} does not say its method: add 'method:'"),
        ({"entries": ["gan-clss"]}, "there is no method 'gan-clss': did you mean 'gan-cls'? known: "),
        ({"entries": ["gan-cls", "gan-cls"]}, "{path}: entries has 'gan-cls' twice: give one of the two a name of its own"),
        (
            {"entries": [{"method": "gan-cls", "settings": {"method.captoins": 2}}]},
            "there is no setting of method of entry 'gan-cls, captoins 2' 'captoins'",
        ),
        (
            {"entries": [{"method": "gan-cls", "settings": {"metod.captions": 2}}]},
            "there is no group of settings (in 'metod.captions' of gan-cls, captions 2)",
        ),
        ({"settings": {"training.minutes": 2}}, "{path}: settings may not have training.minutes: the study says it for all"),
        ({"evaluation": {"metrics": ["fdi"]}}, "{path}: there is no metric 'fdi': did you mean 'fid'? known: "),
        ({"data": "gardn"}, "there is no data set or folder 'gardn': did you mean 'garden'? known: garden"),
        ({"seeds": [1, 1]}, "{path}: seeds has '1' twice: leave one out"),
    ],
)
def test_a_study_that_cannot_be_gets_one_line(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, **changes)
    assert main(["study", str(path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("limner: " + message.format(path=path)) and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation": {"split": "tset"}}, "'tset'"),
        ({"evaluation": {"features": "fid-incepton"}}, "there is no feature network 'fid-incepton'"),
        ({"evaluation": {"features": "vgg16=nowhere.pth"}}, "no weights of the feature network 'vgg16' at nowhere.pth"),
        ({"evaluation": {"matching": "nowhere"}}, "nowhere"),
        ({"evaluation": {"metrics": "r-precision"}}, "entry 'gan-cls' on garden: r-precision needs a matching model: give one"),
        (
            {"evaluation": {"metrics": "fid,scene-faithfulness"}},
            "entry 'gan-cls' on garden: scene-faithfulness reads the garden's bouquets",
        ),
        ({"settings": {"text.encoder": "nowhere"}}, "entry 'gan-cls' on garden: "),
        ({"comparison": {"captions": []}}, "comparison.captions has no caption, or an empty one: give some"),
        ({"comparison": {"captions": ["a flower", " "]}}, "comparison.captions has no caption, or an empty one: give some"),
        ({"comparison": {"captions": ["!!!"]}}, "entry 'gan-cls' on garden: "),
        ({"resolution": 24}, "entry 'gan-cls' on garden: "),
        ({"entries": ["gan-cls", "obj-gan"], "resolution": 64}, "entry 'obj-gan' on garden: "),
        ({"entries": ["gan-cls", "storygan"], "resolution": 64}, "entry 'storygan' on garden: "),
    ],
)
def test_what_training_or_scoring_would_refuse_is_refused_before_the_first_run(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = {"entries": ["gan-cls"], "settings": {"data.garden-pictures": 64}} | changes
    changes["evaluation"] = {"metrics": "fid", "count": 8} | changes.get("evaluation", {})
    path = written(tmp_path, **changes)
    for dry in ([], ["--dry-run"]):
        assert main(["study", str(path), "--out", "out", *dry]) == 2
        told = capsys.readouterr().err
        assert told.startswith("limner: ") and message in told and told.count("\n") == 1, told
        assert [file.name for file in tmp_path.iterdir()] == ["asked.yaml"]


def test_what_only_the_trained_run_has_is_not_missed_before(tmp_path: Path) -> None:
    """A run that trains its own text encoder leaves a matching model; CI-GAN finds codes of pictures. A lone run has no page."""
    small = {"data.garden-pictures": 64}
    evaluation = {"metrics": "r-precision,clip-score,memorisation", "split": "train,test", "count": 200}
    study = read_study(written(tmp_path, data="garden-bouquets", entries=["gan-cls"], settings=small, evaluation=evaluation))
    check_runs(study, plan(study, tmp_path / "out"))
    study = read_study(written(tmp_path, entries=["ci-gan"], settings=small, evaluation={"metrics": "reconstruction", "count": 8}))
    check_runs(study, plan(study, tmp_path / "out"))
    with pytest.raises(SettingsError, match=r"entry 'gan-cls' on garden: reconstruction needs a model that finds codes"):
        study = read_study(written(tmp_path, entries=["gan-cls"], settings=small, evaluation={"metrics": "reconstruction", "count": 8}))
        check_runs(study, plan(study, tmp_path / "out"))
    silent = {"entries": [{"method": "msg-gan", "settings": {"method.unconditional": True}}], "settings": small, "resolution": 64}
    study = read_study(written(tmp_path, **silent, seeds=[0]))
    check_runs(study, plan(study, tmp_path / "out"))
    study = read_study(written(tmp_path, **silent, seeds=[0, 1]))
    with pytest.raises(SettingsError, match=r"it reads no text, and the study's page paints captions: leave the entry out"):
        check_runs(study, plan(study, tmp_path / "out"))


def test_unlike_runs_are_not_mixed(tmp_path: Path) -> None:
    """Entries and seeds may come and go; settings, budgets and, where minutes count, the share of the machine may not change."""
    out = tmp_path / "out"

    def refused(**changes: Any) -> str:
        study = read_study(written(tmp_path, **changes))
        with pytest.raises(Exception) as error:
            check_folder(study, plan(study, out), out)
        return str(error.value)

    study = read_study(written(tmp_path, budget={"minutes": 1}))
    for run in plan(study, out):
        run.begin()
    write_study(study, out / "study.yaml")
    assert check_folder(study, plan(study, out), out) == []
    more = read_study(written(tmp_path, budget={"minutes": 1}, seeds=[0, 1, 2], entries=["gan-cls", "hdgan"]))
    (remark,) = check_folder(more, plan(more, out), out)
    assert remark.startswith("no longer in the study") and "DF-halved-seed1" in remark
    assert "DF-halved-seed0 was begun with training.minutes 1.0, not 5.0" in refused(budget={"minutes": 5})
    assert "was begun with method.generator-channels 4, not 6" in refused(
        budget={"minutes": 1}, settings=TINY["settings"] | {"method.generator-channels": 6}
    )
    assert "begun with together: 1, not 2" in refused(budget={"minutes": 1}, together=2)

    shown = plan(study, out)[0]
    save_recipe(
        plan(read_study(written(tmp_path, budget={"minutes": 1}, settings=TINY["settings"] | {"training.log-every": 7})), out)[0].recipe,
        shown.folder / "recipe.yaml",
    )
    assert check_folder(study, plan(study, out), out) == []  # how often a run writes its log is no difference


def test_what_failed_and_what_stopped_it_decide_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = written(tmp_path), tmp_path / "out"
    written_up: list[Path] = []
    monkeypatch.setattr("limner.cli.study.write_up", lambda study, runs, folder, again: written_up.append(folder))
    for outcome, code, words in (
        (Outcome(failed={"gan-cls, seed 0": tmp_path / "log"}), 1, f"limner: gan-cls, seed 0 failed: see {tmp_path / 'log'}\n"),
        (Outcome(signal=signal.SIGTERM), 143, f"limner: stopped and saved; go on with: limner study {path} --out {out}\n"),
        (Outcome(), 0, ""),
    ):
        monkeypatch.setattr(processes, "make", lambda study, runs, board, outcome=outcome: outcome)
        assert main(["study", str(path), "--out", str(out)]) == code
        assert words in capsys.readouterr().err
    assert written_up == [out, out]  # not where it was stopped


def test_two_studies_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with alone_in(out):
        assert main(["study", str(path), "--out", str(out)]) == 2
    assert f"another study is at work in {out}" in capsys.readouterr().err
    with alone_in(out):
        pass


def test_a_budget_is_spent_when_no_further_step_fits(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [("text", 100, 6400, 9.0), ("first", 3, 48, 20.0), ("second", 2, 32, 39.9)]
    path.write_text("".join(_line(*line) for line in lines) + '{"phase": "seco')
    course = Course(path).look()
    assert (course.phase, course.step, course.images, course.seconds) == ("second", 2, 80, 59.9)  # the text encoder has no part
    assert course.spent(Budget(minutes=1)) and course.spent(Budget(images=100)) and not course.spent(Budget(images=120))
    assert Course(tmp_path / "none").left(Budget(core_minutes=2)) == 120.0
    assert course.left(Budget(minutes=2)) == pytest.approx(60.1) and course.left(Budget(images=160)) == pytest.approx(59.9)
    with path.open("a") as log:
        log.write('nd"}\n' + _line("second", 3, 48, 60.0))
    assert course.look().images == 96
    path.write_text(_line("first", 1, 16, 7.0))  # a resumed run has cut its log
    assert course.look().images == 16 and course.phase == "first"


def _line(phase: str, step: int, images: int, seconds: float) -> str:
    return json.dumps({"phase": phase, "step": step, "images": images, "seconds": seconds, "images_per_second": 1.0}) + "\n"


def test_the_machine_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(processes, "_free_memory", lambda: 7 * 1024**3)
    assert room(12) == (3, 2)  # memory for three
    assert room(2) == (2, 4) and room(12, threads=4) == (2, 4)


def test_a_failed_run_says_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("\n$ limner train a\nlimner: an old mistake\n\n$ limner train a\nwarning: hm\nlimner: the new one\n\n")
    assert last_words(log) == "the new one"
    log.write_text("\n$ limner train a\nlimner: an old mistake\n\n$ limner train a\n")
    assert last_words(log) == ""
