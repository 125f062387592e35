"""What a run says while it trains: in a terminal, and where there is none."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.methods.gan_cls import GANCLS
from limner.report.curves import read_log
from limner.training import log as log_module
from limner.training.estimate import Budget, TimeLeft
from limner.training.log import RunLog
from limner.training.progress import Health, Standing, hours, spoken
from limner.training.run import train

LINE = {
    "phase": "gan",
    "step": 50,
    "images_per_second": 12.0,
    "discriminator-64/loss": 0.5,
    "generator/loss": 1.25,
    "generator/gradient_norm": 3.0,
    "discriminator-64/real": 0.75,
    "discriminator-64/fake_unconditional": 0.25,
    "discriminator-64/penalty": 9.0,
    "discriminator-64/confidence": 0.9,
}


def standing(step: int = 50, steps: int = 75_000, later: int = 0, **health: Any) -> Standing:
    left = TimeLeft(Budget(steps=steps, batch_size=32, minutes=2.7), [Budget(steps=10, batch_size=1)] * later)
    left.stepped(1, 0.1)
    left.stepped(step, 42.0)
    shown = Health(**health)
    shown.read(LINE)
    return Standing("gan", left, shown)


def drawn(what: Standing, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [30, 45, 80, 200])
@pytest.mark.parametrize("later", [0, 2])
def test_the_bar_keeps_to_the_width_of_the_terminal(width: int, later: int) -> None:
    grid = Path("runs/a-run-with-a-rather-long-name/in-a-deep-folder/of-many-runs/samples/00000500.png")
    lines = drawn(standing(later=later, skipped=3, pictures=grid), width)
    assert [line for line in lines if len(line) > width] == []
    assert "50/75,000" in lines[0] and ("left" in lines[0] or width < 40)
    assert "".join(lines).replace(" ", "").endswith(str(grid)), "the path of the newest grid is whole"
    assert "skipped updates 3" in "\n".join(lines)


def test_the_bar_shows_losses_and_verdicts_by_their_names_and_nothing_else_as_a_verdict() -> None:
    text = "\n".join(drawn(standing(later=1), 120))
    assert re.search(r"0:0[12]:\d\d left  run ~0:0[12]:\d\d", text)
    assert all(
        shown in text for shown in ("generator loss 1.25", "discriminator-64 loss 0.5", "D(real) 0.75", "D(fake unconditional) 0.25")
    )
    assert "D(penalty)" not in text and "D(confidence)" not in text and "gradient" not in text
    unlike = Health()
    unlike.read({"phase": "match", "matching/loss": 1.0, "matching/right_first": 0.5, "epoch": 3})
    assert list(unlike.items()) == ["matching loss 1", "matching right first 0.5", "skipped updates 0"]


def test_before_the_first_step_nothing_is_guessed() -> None:
    begun = Standing("gan", TimeLeft(Budget(steps=10, batch_size=4)), Health())
    (line,) = drawn(begun, 80)
    assert line.rstrip().endswith("- left") and "- images/s" in line and "0/10" in line


def test_durations_in_words() -> None:
    assert [hours(value) for value in (None, -3.0, 95.6, 8000.0)] == ["-", "0:00:00", "0:01:36", "2:13:20"]
    assert [spoken(value) for value in (12.34, 59.97, 167.2, 11_100.0)] == ["12.3 s", "1 min 0 s", "2 min 47 s", "3 h 5 min"]


def test_a_terminal_moves_without_being_told(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.console = Console(file=io.StringIO(), width=80, force_terminal=True)
    left = TimeLeft(Budget(steps=100, batch_size=8), clock=lambda: 0.0)
    log.begin("gan", left)
    assert log._live is not None
    for step in (1, 2, 7):
        left.stepped(step, step * 10.0)
        log.advance()
    log._live.refresh()
    shown = log.console.file.getvalue()
    assert "7/100" in shown and "0:15:30 left" in shown, "neither a log line nor a call of the bar was needed"
    log.end("all done")
    assert "gan  all done" in log.console.file.getvalue() and log._live is None


@pytest.mark.parametrize("between", [0.0, 1e9])
def test_without_a_terminal_a_slow_phase_still_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], between: float
) -> None:
    monkeypatch.setattr(log_module, "BETWEEN_LINES", between)
    log = RunLog(tmp_path)
    left = TimeLeft(Budget(steps=100, batch_size=8))
    log.begin("gan", left)
    left.stepped(1, 10.0)
    log.advance()
    said = capsys.readouterr().err
    assert ("step 1 of 100" in said and "0:16:30 left" in said) == (between == 0.0), "before any line of the log is due"


def recipe(**training: Any) -> Recipe:
    made = from_preset("gan-cls", "cpu", "garden", 16)
    settings = {"steps": 6, "log_every": 2, "sample_every": 100, "checkpoint_every": 100, "device": "cpu"} | training
    return dataclasses.replace(
        made,
        method_settings=dataclasses.replace(made.method_settings, generator_channels=4, discriminator_channels=4, batch_size=8),
        training=dataclasses.replace(made.training, **settings),
        data_settings=dataclasses.replace(made.data_settings, garden_pictures=64),
    )


def interrupting(step: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends a run a signal in one of its steps."""
    honest = GANCLS.training_step

    def training_step(self: GANCLS, batch: Any, progress: Any) -> Iterator[Any]:
        if progress.step == step:
            signal.raise_signal(number)
        yield from honest(self, batch, progress)

    monkeypatch.setattr(GANCLS, "training_step", training_step)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_named_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    interrupting(3, number, monkeypatch)
    train(recipe(), tmp_path / "run")
    assert f"gan  stopped by {number.name} at step 4 of 6 after " in capsys.readouterr().err
    monkeypatch.undo()
    train(recipe(), tmp_path / "run", resume=True)
    assert "gan  all 6 steps done after " in capsys.readouterr().err


def test_minutes_are_named_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(recipe(steps=None, epochs=1e6, minutes=0.005), tmp_path / "run")
    said = capsys.readouterr().err
    assert re.search(
        r"gan  stopped by --training.minutes 0.005 at step [\d,]+ of 8,000,000 after 0.\d s of training; newest pictures .*png", said
    )
    times = re.findall(r"([\d:-]+) left", said)
    assert times and all(time in ("0:00:00", "0:00:01") for time in times), "minutes end the run, and not the eight million steps"


def test_minutes_of_processor_time_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A second of it a step, say: three of the six seconds are spent after three steps, and the rest when the run goes on."""
    spent = iter(range(10**6))
    monkeypatch.setattr("limner.training.clocks.time.process_time", lambda: float(next(spent)))
    train(recipe(steps=None, epochs=1e6, core_minutes=0.05), tmp_path / "run")
    assert re.search(r"gan  stopped by --training.core-minutes 0.05 at step \d of 8,000,000", capsys.readouterr().err)
    position = json.loads(max((tmp_path / "run" / "checkpoints").glob("*/manifest.json")).read_text())["position"]
    assert position["core_seconds"] >= 3.0
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["core_seconds"] for line in lines if "images_per_second" in line][-1] >= 3.0
    train(recipe(steps=None, epochs=1e6, core_minutes=0.05), tmp_path / "run", resume=True)
    assert "nothing to do" in capsys.readouterr().err
    train(recipe(steps=None, epochs=1e6, core_minutes=0.1), tmp_path / "run", resume=True)
    assert "stopped by --training.core-minutes 0.1 at step" in capsys.readouterr().err


def test_updates_left_out_are_counted_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = GANCLS.training_step

    def training_step(self: GANCLS, batch: Any, progress: Any) -> Iterator[Any]:
        for update in honest(self, batch, progress):
            trouble = torch.nan if update.player == "generator" and progress.step in (0, 3) else 1.0
            yield dataclasses.replace(update, loss=update.loss * trouble)

    monkeypatch.setattr(GANCLS, "training_step", training_step)
    monkeypatch.setattr(log_module, "BETWEEN_LINES", 0.0)
    train(recipe(), tmp_path / "run")
    assert "skipped updates 2" in capsys.readouterr().err.splitlines()[-2]
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line.get("generator/skipped") for line in lines if "generator/loss" in line] == [0.5, 0.5, None]
    assert all(line["act"] == "method" for line in lines)


def test_damaged_lines_of_a_log_end_no_run(tmp_path: Path) -> None:
    whole, late = b'{"phase": "gan", "total_step": 3}\n', b'{"phase": "gan", "total_step": 9}\n'
    (tmp_path / "log.jsonl").write_bytes(whole + b'[1, 2]\n{"total_step": []}\n\xff\xfe\n' + late)
    RunLog(tmp_path, quiet=False).drop_after(5)
    assert (tmp_path / "log.jsonl").read_text() == '{"phase": "gan", "total_step": 3}\n'
    (tmp_path / "log.jsonl").write_bytes(b'{"phase": "gan", "step": 3}\n[1, 2]\n{"step": 4}\n\xff\n')
    assert read_log(tmp_path / "log.jsonl") == [{"phase": "gan", "step": 3}]


def test_a_log_is_not_cut_where_a_disk_takes_no_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a process that ends meanwhile, costs no line; where no line goes, nothing is written."""
    log, lines = tmp_path / "log.jsonl", [json.dumps({"total_step": step}) + "\n" for step in range(4)]
    log.write_text("".join(lines))

    def full(self: Path, *given: object, **named: object) -> int:
        self.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    RunLog(tmp_path).drop_after(3)
    with pytest.raises(OSError, match="No space left"):
        RunLog(tmp_path).drop_after(1)
    assert log.read_text() == "".join(lines) and [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    monkeypatch.undo()
    RunLog(tmp_path).drop_after(1)
    assert log.read_text() == "".join(lines[:2])
    log.write_text(lines[0] + lines[1].strip())  # a last line without its end
    RunLog(tmp_path).drop_after(1)
    assert log.read_text() == "".join(lines[:2])
