"""Nothing is lost: exact resume after `kill -9`, damaged checkpoints, signals, full disks, and losses that are not finite."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.pictures import prepared

from limner.core.batch import Batch
from limner.core.errors import CheckpointError, SettingsError, TrainingError
from limner.core.recipes import from_preset, load_recipe
from limner.core.settings import Recipe
from limner.core.trainable import Progress, Update
from limner.data.loader import Loader
from limner.methods.gan_cls import GANCLS
from limner.training import checkpoints
from limner.training.run import train
from limner.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--data",
    "garden",
    "--preset",
    "cpu",
    "--resolution",
    "16",
    "--device",
    "cpu",
    "--method.generator-channels",
    "4",
    "--method.discriminator-channels",
    "4",
    "--method.batch-size",
    "16",
    "--data.garden-pictures",
    "200",
    "--training.log-every",
    "5",
    "--training.checkpoint-every",
    "20",
    "--training.sample-every",
    "40",
    "--steps",
    "60",
]


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "limner", "train", "gan-cls", *FLAGS, "--out", str(out), *more]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def tiny(steps: int, **training: Any) -> Recipe:
    recipe = from_preset("gan-cls", "cpu", "garden", 16)
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, generator_channels=4, discriminator_channels=4, batch_size=16),
        training=dataclasses.replace(
            recipe.training, steps=steps, **{"log_every": 5, "checkpoint_every": 20, "sample_every": 1000, "device": "cpu"} | training
        ),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=200),
    )


def newest(run: Path) -> dict[str, Any]:
    state = checkpoints.Checkpoints(run).load()
    assert state is not None
    return state


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a if key not in ("seconds", "core_seconds"))
    return all(map(same, a, b)) and len(a) == len(b) if isinstance(a, list) else bool(a == b)


def losses(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "second" not in name} for line in lines]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 steps in one go."""
    out = tmp_path_factory.mktemp("straight") / "run"
    train(tiny(60), out)
    return out


SIGNALLED = """
import os, sys
from limner.cli.main import main
from limner.data.loader import Loader

make, at, number = Loader.batch, int(sys.argv[1]), int(sys.argv[2])

def batch(self, step):
    if step == at:
        os.kill(os.getpid(), number)
    return make(self, step)

Loader.batch = batch
sys.exit(main(sys.argv[3:]))
"""
"""A command line whose process gets a signal at a step: at that one, however busy the machine is."""


def signalled(step: int, number: int, words: list[str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", SIGNALLED, str(step), str(int(number)), *words[words.index("train") :]]
    return subprocess.run(argv, env=environment(), capture_output=True, text=True)


def test_kill_and_resume_is_bit_for_bit(straight: Path, tmp_path: Path) -> None:
    """`kill -9` after the first checkpoint, then --resume with a SIGTERM on the way, then --resume to the end, on the command line."""
    out = tmp_path / "run"
    assert signalled(27, signal.SIGKILL, command(out)).returncode == -signal.SIGKILL
    assert newest(out)["position"]["total_step"] == 20

    stopped = signalled(33, signal.SIGTERM, command(out, "--resume"))
    assert stopped.returncode == 143, stopped.stderr
    assert "going on with" in stopped.stderr and "--resume" in stopped.stderr
    assert newest(out)["position"]["total_step"] == 34  # the step is finished, and kept

    finished = subprocess.run(command(out, "--resume"), env=environment(), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    state = newest(out)
    assert state["position"]["total_step"] == 60
    assert same(state, newest(straight))
    assert losses(out)[-1] == losses(straight)[-1]


def test_a_run_that_trains_is_left_alone_until_it_is_gone(tmp_path: Path) -> None:
    """A second start, with or without --resume, is refused and touches nothing; after `kill -9` the folder is free."""
    out = tmp_path / "run"
    living = subprocess.Popen(command(out, "--steps", "100000"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(out / "checkpoints" / "00000020", living)
    recipe = (out / "recipe.yaml").read_bytes()
    for more in (["--resume"], ["--resume", "--steps", "50"], ["--seed", "3"]):
        refused = subprocess.run(command(out, *more), env=environment(), capture_output=True, text=True, timeout=120)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
        if "--resume" in more:
            assert refused.stderr.startswith(f"limner: {out} is being trained by process {living.pid} on host ")
    assert (out / "recipe.yaml").read_bytes() == recipe
    living.send_signal(signal.SIGKILL)
    living.wait()
    reached = newest(out)["position"]["total_step"]
    gone = subprocess.run(
        command(out, "--resume", "--steps", str(reached + 5)), env=environment(), capture_output=True, text=True, timeout=120
    )
    assert gone.returncode == 0, gone.stderr
    assert not (out / ".lock").exists()


def wait_for(path: Path, process: subprocess.Popen[Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end and process.poll() is None, f"{path} did not appear"
        time.sleep(0.01)


def test_a_finished_run_says_so(straight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = newest(straight)
    result = train(tiny(60), straight, resume=True)
    assert result.steps == 60 and not result.interrupted
    assert "finished after 60 steps: nothing to do" in capsys.readouterr().err
    assert same(newest(straight), before)


def test_resume_with_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tiny(3), tmp_path / "new", resume=True).steps == 3
    assert "nothing to resume" in capsys.readouterr().err


def test_a_folder_that_exists_is_not_touched(straight: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already: .*--resume"):
        train(tiny(60), straight)
    with pytest.raises(SettingsError, match="begun with training.seed 0, not 1"):
        train(tiny(60, seed=1), straight, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(CheckpointError, match="exists already"):
        train(tiny(5), tmp_path / "mine")


def test_cuda_without_one(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    recipe = tiny(5)
    with pytest.raises(SettingsError, match="sees no GPU"):
        train(dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, device="cuda")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_does_not_stop_training_but_is_an_error_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="could not save after step 25"):
        train(tiny(25), tmp_path / "run")
    assert "could not save after step 20" in capsys.readouterr().err
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    monkeypatch.undo()
    assert train(tiny(25), tmp_path / "run", resume=True).steps == 25


def test_a_folder_that_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(CheckpointError, match="holds something that is not a run"):
        train(tiny(3), tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_settings_that_cannot_work_leave_nothing_behind(tmp_path: Path) -> None:
    recipe = tiny(3, tensorboard=find_spec("tensorboard") is not None)  # whose writer makes files as soon as it is made
    recipe = dataclasses.replace(recipe, data_settings=dataclasses.replace(recipe.data_settings, counterfactuals=0))
    with pytest.raises(SettingsError, match="set data.counterfactuals to 1"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def poisoned(monkeypatch: pytest.MonkeyPatch, bad: range) -> None:
    """Make the generator's loss NaN in these steps."""
    honest = GANCLS.training_step

    def step(self: GANCLS, batch: Any, progress: Any) -> Any:
        for update in honest(self, batch, progress):
            spoil = update.player == "generator" and progress.step in bad
            yield Update(update.player, update.loss * torch.nan, update.metrics) if spoil else update

    monkeypatch.setattr(GANCLS, "training_step", step)


def test_a_loss_that_is_not_finite_never_reaches_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poisoned(monkeypatch, range(6, 8))
    train(tiny(10), tmp_path / "run")
    state = newest(tmp_path / "run")
    assert all(torch.isfinite(value).all() for value in state["modules"]["method"].values())
    steps = {name: {float(entry["step"]) for entry in turn["optimizer"]["state"].values()} for name, turn in state["players"].items()}
    assert steps == {"discriminator": {10.0}, "generator": {8.0}}
    assert "40.0% of the generator's updates before step 10 were left out" in capsys.readouterr().err


def test_a_picture_that_is_not_finite_leaves_no_trace_in_batch_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Loader.batch

    def batch(self: Loader, step: int) -> Any:
        made = honest(self, step)
        return dataclasses.replace(made, pictures=made.pictures * torch.nan) if step == 6 else made

    monkeypatch.setattr(Loader, "batch", batch)
    train(tiny(10), tmp_path / "run")
    state = newest(tmp_path / "run")  # a state that is not finite is not saved
    assert state["position"]["total_step"] == 10
    assert all(torch.isfinite(value).all() for value in state["players"]["generator"]["average"])


def test_a_line_s_means_reach_back_to_the_line_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the run was killed between the two, and went on from a checkpoint between them."""
    settings = tiny(9, log_every=6, checkpoint_every=4)
    train(settings, tmp_path / "straight")
    play, steps = Trainer.play, iter(range(100))

    def killed(self: Trainer, *given: Any, **named: Any) -> None:
        if next(steps) == 5:
            raise KeyboardInterrupt
        play(self, *given, **named)

    monkeypatch.setattr(Trainer, "play", killed)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "killed")
    train(settings, tmp_path / "killed", resume=True)
    one, other = (losses(tmp_path / name) for name in ("straight", "killed"))
    assert [line["step"] for line in one if "generator/loss" in line] == [6, 9]
    for line in (*one, *other):
        line.pop("memory_mib", None)
    assert one == other


@pytest.mark.parametrize("log_every", [1, 5])
def test_divergence_stops_the_run_after_ten_updates(log_every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(monkeypatch, range(20, 1000))
    with pytest.raises(TrainingError, match="last 10 updates of the generator before step 30 .*not finite: begin anew with a lower"):
        train(tiny(60, log_every=log_every), tmp_path / "run")
    assert newest(tmp_path / "run")["position"]["total_step"] == 30 and (tmp_path / "run" / "checkpoints" / "00000020" / "kept").exists()
    monkeypatch.undo()
    poisoned(monkeypatch, range(20, 33))
    assert train(tiny(36, log_every=log_every), tmp_path / "run", resume=True).steps == 36  # not stopped by the same batches again


def test_an_update_left_out_alone_on_its_line_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a line for each step, and on the last line of a phase, which covers one step."""
    for bad, log_every in ((2, 1), (5, 5)):
        with monkeypatch.context() as patch:
            poisoned(patch, range(bad, bad + 1))
            assert train(tiny(6, log_every=log_every), tmp_path / str(bad)).steps == 6
        assert f"100.0% of the generator's updates before step {bad + 1} were left out" in capsys.readouterr().err


def test_recipe_and_card_say_what_was_trained(tmp_path: Path) -> None:
    """After a longer --resume they hold every setting that it changed; a finished run's stay as they are."""
    out = tmp_path / "run"
    train(tiny(4), out)
    train(tiny(6, minutes=50.0, epochs=70.0, keep_checkpoints=3), out, resume=True)
    kept = load_recipe(out / "recipe.yaml").training
    assert (kept.steps, kept.minutes, kept.epochs, kept.keep_checkpoints) == (6, 50.0, 70.0, 3)
    card = (out / "model" / "README.md").read_text()
    assert "6 steps" in card and "  steps: 6\n" in card and "  minutes: 50.0\n" in card
    train(tiny(5, keep_checkpoints=1), out, resume=True)  # nothing to do
    assert load_recipe(out / "recipe.yaml").training == kept


def test_the_time_that_schedules_follow_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is told the phase's minutes and the seconds spent; a resumed run begins with those that were saved, not with none."""
    told, honest = [], GANCLS.training_step

    def training_step(self: GANCLS, batch: Batch, progress: Progress) -> Iterator[Update]:
        told.append(progress)
        yield from honest(self, batch, progress)

    monkeypatch.setattr(GANCLS, "training_step", training_step)
    train(tiny(3, minutes=60.0), tmp_path / "run")
    assert [progress.minutes for progress in told] == [60.0] * 3 and told[0].seconds == 0.0 < told[1].seconds < told[2].seconds
    saved = newest(tmp_path / "run")["position"]["seconds"]
    assert saved > told[-1].seconds
    train(tiny(5, minutes=60.0), tmp_path / "run", resume=True)
    assert told[3].step == 3 and told[3].seconds == saved
    assert told[3].spent == max(3 / 5, saved / 3600)


def test_the_text_phase_may_be_made_shorter_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def with_text(steps: int) -> Recipe:
        made = dataclasses.replace(tiny(4), data=str(data))
        settings = dataclasses.replace(made.method_settings, batch_size=4)
        return dataclasses.replace(made, method_settings=settings, text=dataclasses.replace(made.text, steps=steps, batch_size=4))

    data = prepared(tmp_path / "set", [("train", f"a {colour} bird") for colour in ("red", "blue", "green", "grey")])
    out, honest = tmp_path / "run", Loader.batch

    def batch(self: Loader, step: int) -> Any:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return honest(self, step)

    monkeypatch.setattr(Loader, "batch", batch)
    assert train(with_text(4), out).signal == signal.SIGTERM
    monkeypatch.undo()
    assert train(with_text(3), out, resume=True).steps == 7
    assert "text.steps is 3 in place of 4" in capsys.readouterr().err
    assert load_recipe(out / "recipe.yaml").text.steps == 3
    with pytest.raises(SettingsError, match="begun with text.steps 3, not 9, and no text encoder is in training now"):
        train(with_text(9), out, resume=True)
