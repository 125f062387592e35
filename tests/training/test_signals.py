"""A signal before the first step stops a run at once; later it waits for the step to end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from shared.tiny_runs import same, state_of, tiny

from limner.data.loader import Loader
from limner.training.run import train
from limner.training.signals import Stopped, StopRequest


def test_at_once_and_otherwise_at_the_end_of_a_step() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM  # noted, and nothing raised
        with pytest.raises(Stopped), stop.at_once():
            pytest.fail("it came before, and nothing may begin")
    with StopRequest() as stop, pytest.raises(Stopped), stop.at_once():
        os.kill(os.getpid(), signal.SIGTERM)
    with StopRequest(alone=False) as stop, stop.at_once():  # others would wait for this process for ever
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM


def test_a_run_that_is_stopped_while_it_prepares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first batch is never finished; going on, it ends as one that was never stopped."""
    honest = Loader.batch

    def batch(self: Loader, step: int) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal waited for a batch")

    monkeypatch.setattr(Loader, "batch", batch)
    result = train(tiny("gan-cls", 3), tmp_path / "run")
    assert result.interrupted and result.steps == 0 and result.signal == signal.SIGTERM
    monkeypatch.setattr(Loader, "batch", honest)
    assert train(tiny("gan-cls", 3), tmp_path / "run", resume=True).steps == 3
    train(tiny("gan-cls", 3), tmp_path / "straight")
    assert same(state_of(tmp_path / "run"), state_of(tmp_path / "straight"))
