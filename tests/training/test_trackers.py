"""Where else a run's figures go: services that are made up here, called as the real ones are."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from shared.tiny_runs import tiny

from limner.core.errors import SettingsError
from limner.training.log import RunLog
from limner.training.run import train
from limner.training.trackers import Tracker


class FakeService(types.ModuleType):
    """A library with the functions of Weights & Biases and trackio."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begun: list[dict[str, Any]] = []
        self.told: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def init(self, **given: Any) -> None:
        self.begun.append(given)

    def log(self, figures: dict[str, float], *, step: int) -> None:
        self.told.append((step, figures))

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_service_gets_what_the_log_gets(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService(name)
    monkeypatch.setitem(sys.modules, name, service)
    recipe = tiny("gan-cls", 2, **{name: "birds"})
    train(recipe, tmp_path / "first")
    (begun,) = service.begun
    assert (begun["project"], begun["name"], begun["resume"]) == ("birds", "first", "allow")
    assert begun["config"]["training.steps"] == 2 and begun["config"]["method"] == "gan-cls"
    lines = [json.loads(line) for line in (tmp_path / "first" / "log.jsonl").read_text().splitlines()]
    assert [step for step, _ in service.told] == [line["total_step"] for line in lines]
    assert service.told[0][1]["gan/generator/loss"] == lines[0]["generator/loss"]
    assert service.finished == 1
    train(recipe, tmp_path / "first", resume=True)
    assert len(service.begun) == 1, "nothing is begun where nothing is logged"


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_without_its_library_a_run_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=rf"training.{name} needs its library: pip install 'limner\[{name}\]'"):
        train(tiny("gan-cls", 2, **{name: "birds"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Broken(Tracker):
    """A service whose connection is lost."""

    def write(self, figures: Any, step: int) -> None:
        raise OSError("no connection")

    def close(self) -> None:
        raise OSError("no connection")


def test_a_lost_connection_ends_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path, trackers={"training.wandb": Broken})
    log.write({"phase": "gan", "step": 1, "total_step": 1, "loss": 2.0})
    log.close()
    assert "loss" in (tmp_path / "log.jsonl").read_text()
    assert "warning: step 1 did not reach training.wandb (OSError: no connection): the run goes on" in capsys.readouterr().err


def test_a_tracker_that_does_not_start_is_named_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def locked() -> Tracker:
        raise RuntimeError("api_key not configured")

    log = RunLog(tmp_path, trackers={"training.wandb": locked, "training.trackio": Broken})
    for step in (1, 2):
        log.write({"phase": "gan", "step": step, "total_step": step, "loss": 2.0})
    log.close()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
    said = capsys.readouterr().err
    assert said.count("training.wandb does not start and is off (RuntimeError: api_key not configured): put that right and --resume") == 1
    assert "is not in the log" not in said and said.count("did not reach training.trackio") == 2
