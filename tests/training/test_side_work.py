"""What shows or scores never ends a run: chosen before it begins, after what is to be saved, and no more than a line where it fails."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared.pictures import prepared

from limner.cli.main import main
from limner.core.recipes import from_preset, save_recipe
from limner.core.settings import EvaluationSettings, Recipe
from limner.data.catalog import open_data
from limner.matching.models.sje import SJE
from limner.text.recurrent import RecurrentEncoder
from limner.text.tokenizers import WordTokenizer
from limner.training import checkpoints
from limner.training.evaluation import Evaluator
from limner.training.log import RunLog
from limner.training.readable import readable
from limner.training.run import train
from limner.training.samples import SampleGrid

ROOT = Path(__file__).parents[2]
TRAIN = [("train", f"a {colour} bird") for colour in ("red", "blue", "green", "grey") * 5]


def recipe(data: Path | str, steps: int = 8, method: str = "gan-cls", **training: Any) -> Recipe:
    made = from_preset(method, "cpu", str(data), 16)
    narrow = {"generator_channels": 4, "discriminator_channels": 4, "batch_size": 4} if method == "gan-cls" else {"batch_size": 4}
    values = {"steps": steps, "log_every": 2, "checkpoint_every": 4, "sample_every": 4, "device": "cpu"} | training
    return dataclasses.replace(
        made,
        method_settings=dataclasses.replace(made.method_settings, **narrow),
        training=dataclasses.replace(made.training, **values),
        data_settings=dataclasses.replace(made.data_settings, garden_pictures=64),
        text=dataclasses.replace(made.text, steps=2, batch_size=4),
    )


def state(run: Path) -> dict[str, Any]:
    found = checkpoints.Checkpoints(run).load()
    assert found is not None
    return found


def encoder() -> RecurrentEncoder:
    return RecurrentEncoder(WordTokenizer.build([caption for _, caption in TRAIN]))


UNKNOWN, LONG, FINE = "peony", "bird " * 500, "the green bird"


class Captions:
    """The captions of a split, a list for each picture."""

    def __init__(self, split: str, captions: list[list[str]]) -> None:
        self.split, self._captions = split, captions
        self.caption_counts = np.array([len(each) for each in captions])

    def __len__(self) -> int:
        return len(self._captions)

    def captions(self, index: int) -> list[str]:
        return self._captions[index]


@pytest.mark.parametrize(
    ("val", "shown", "remark"),
    [
        ([[FINE]] * 3, [FINE] * 3, None),
        ([[UNKNOWN]] * 3, None, "no caption of the val split can be painted, such as 'peony': it shows training captions"),
        ([[UNKNOWN], [FINE], ["!?"]], [FINE], "left out 2 captions of the val split that cannot be painted"),
        ([[LONG, FINE]], [FINE], None),  # another caption of the same picture
        ([["..."]], None, "no caption of the val split can be painted, such as '...'"),
        ([[], []], None, "there is no caption of the val split: it shows"),
    ],
)
def test_a_grid_shows_captions_that_can_be_painted(
    val: list[list[str]], shown: list[str] | None, remark: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.training.samples.open_data", lambda *given, **named: Captions("val", val))
    reader, before = encoder().train(), torch.get_rng_state()
    grid = SampleGrid(recipe("garden"), Captions("train", [[text] for _, text in TRAIN]), reader)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), before) and reader.training
    assert grid.captions == shown or (shown is None and len(grid.captions) == 8 and {*grid.captions} <= {text for _, text in TRAIN})
    assert (grid.remark is None) if remark is None else (grid.remark is not None and remark in grid.remark)


def test_without_a_caption_that_can_be_painted_there_is_no_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("limner.training.samples._can_be_read", lambda *given: False)
    train(recipe("garden", steps=4), tmp_path / "run")
    assert "there will be no sample grid: no caption can be painted, such as '" in capsys.readouterr().err
    assert not (tmp_path / "run" / "samples").exists()


def test_a_run_on_class_names_goes_through_and_says_what_its_grid_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = prepared(tmp_path / "set", [*TRAIN, ("val", UNKNOWN), ("val", "lotus")])
    assert train(recipe(data), tmp_path / "run").steps == 10
    said = capsys.readouterr().err
    assert said.index("it shows training captions") < said.index("training one first")  # before the text phase
    assert [path.name for path in sorted((tmp_path / "run" / "samples").iterdir())] == ["2-gan-00000004.png", "2-gan-00000008.png"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("straight") / "run"
    train(recipe("garden"), run)
    return run


def weights(run: Path) -> dict[str, Any]:
    return dict(state(run)["modules"]["method"])


@pytest.mark.parametrize(
    ("place", "error"),
    [("paint", RuntimeError("out of memory")), ("save", OSError(28, "No space left on device")), ("diversity", KeyError(1))],
)
def test_a_grid_that_fails_is_a_line_and_no_more(
    place: str, error: Exception, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: SampleGrid, *given: object) -> Any:
        raise error

    monkeypatch.setattr(SampleGrid, place, fail)
    assert train(recipe("garden"), tmp_path / "run").steps == 8
    assert capsys.readouterr().err.count("warning: ") == 2
    assert all(torch.equal(value, weights(straight)[name]) for name, value in weights(tmp_path / "run").items())


def test_what_is_reached_is_saved_before_it_is_painted_or_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a step where all are due, and at the end of a phase; a stop by Ctrl-C while painting is passed on."""
    run, saved = tmp_path / "run", []

    def newest(*given: object) -> Any:
        saved.append((state(run)["position"]["step"], (run / "model" / "model.safetensors").exists()))
        raise RuntimeError

    monkeypatch.setattr(SampleGrid, "paint", newest)
    monkeypatch.setattr(Evaluator, "painting", newest)
    asked = dataclasses.replace(recipe("garden", steps=6), evaluation=EvaluationSettings(every=4 * 4 / 64, count=8))
    train(asked, run)
    assert saved == [(4, True), (4, True), (6, True), (6, True)]

    def stop(*given: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(SampleGrid, "paint", stop)
    with pytest.raises(KeyboardInterrupt):
        train(recipe("garden", steps=6, sample_every=3), tmp_path / "stopped")
    monkeypatch.undo()
    assert train(recipe("garden", steps=6), tmp_path / "stopped", resume=True).steps == 6


def test_a_signal_saves_before_the_last_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, saved = tmp_path / "run", []
    honest = SampleGrid.paint

    def paint(self: SampleGrid, model: Any) -> Any:
        saved.append(state(run)["position"]["step"] if (run / "checkpoints").exists() else None)
        if len(saved) == 1:
            os.kill(os.getpid(), 15)
        return honest(self, model)

    monkeypatch.setattr(SampleGrid, "paint", paint)
    result = train(recipe("garden", sample_every=1, checkpoint_every=100), run)
    assert result.signal == 15 and result.steps == 1 and saved == [None]
    assert state(run)["position"]["step"] == 1


def test_a_best_state_is_remembered_by_the_checkpoint_of_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a matching model the evaluation comes after the checkpoint, which is written anew where a better state was found."""
    scores = iter([0.5, 0.7, 0.6])
    monkeypatch.setattr(SJE, "validate", lambda self, pictures: {"score": next(scores)})
    made = recipe("garden", steps=12, method="sje")
    train(dataclasses.replace(made, evaluation=EvaluationSettings(every=4 * 4 / 64)), tmp_path / "run")
    kept = [torch.load(path / "state.pt", weights_only=True)["position"] for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert [(one["step"], one["best"]) for one in kept] == [(8, 0.7), (12, 0.7)]
    about = json.loads((tmp_path / "run" / "model" / "config.json").read_text())["about"]
    assert (about["steps"], about["score"]) == (8, 0.7)


def test_an_evaluation_leaves_out_captions_without_a_word(tmp_path: Path) -> None:
    class Few(RecurrentEncoder):
        def words(self, caption: str) -> list[str]:
            return [word for word in super().words(caption) if word != "peony"]

    data = prepared(tmp_path / "set", [*TRAIN, ("val", UNKNOWN), ("val", f"{UNKNOWN}\n{FINE}"), ("val", FINE)])
    pictures = open_data(str(data), "val", 16)
    kept, left_out = readable(pictures, Few(WordTokenizer.build([FINE])))
    assert left_out == [UNKNOWN, UNKNOWN] and kept.caption_counts.tolist() == [0, 1, 1]
    assert [kept.captions(index) for index in range(3)] == [[], [FINE], [FINE]]
    assert np.array_equal(kept.read([0, 2]), pictures.read([0, 2]))
    assert readable(pictures, encoder())[0] is pictures


def test_a_log_or_page_that_cannot_be_written_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def full(*given: object) -> Any:
        raise OSError(28, "No space left on device")

    run = tmp_path / "run"
    run.mkdir()
    save_recipe(recipe("garden"), run / "recipe.yaml")
    monkeypatch.setattr(RunLog, "_write_down", full)
    monkeypatch.setattr("limner.report.page.write_report", full)
    assert main(["train", "gan-cls", "--out", str(run), "--resume"]) == 0
    said = capsys.readouterr()
    assert "is not in the log" in said.err and "its page could not be written" in said.err
    assert f"limner report {run} tries again" in said.err
    assert "model   " in said.out and "report  " not in said.out
    assert state(run)["position"]["finished"]


TWO = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2], sys.argv[3]]
import test_side_work as here
from limner.training.samples import SampleGrid
from limner.training.run import train
def fail(self, model):
    raise RuntimeError("a bug")
SampleGrid.paint = fail
train(here.recipe("garden", devices=2), Path(sys.argv[1]))
"""


def test_several_processes_stay_in_step_where_one_fails_aside(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    words = [sys.executable, str(tmp_path / "two.py"), str(tmp_path / "run"), str(Path(__file__).parent), str(ROOT / "tests")]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeError: a bug") == 2
    assert state(tmp_path / "run")["position"]["finished"]
