"""A signal before the first step stops a run at once; later it waits for the step to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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


SECOND = """
import time
from limner.training.launch import ending_with_the_first
with ending_with_the_first():
    print("ready", flush=True)
    time.sleep(600)
"""
FIRST = """
import os, subprocess, sys
second = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=os.environ | {"LOCAL_RANK": "1"})
print(second.pid, flush=True)
second.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux whether a process runs")
def test_a_process_that_waits_for_a_first_one_that_is_gone_ends() -> None:
    """It would wait for it for many minutes, with nobody to end it."""
    first = subprocess.Popen([sys.executable, "-c", FIRST, SECOND], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    second = Path("/proc") / first.stdout.readline().strip()
    assert first.stdout.readline() == "ready\n" and _runs(second)
    first.kill()
    first.wait()
    end = time.monotonic() + 60
    while _runs(second) and time.monotonic() < end:
        time.sleep(0.2)
    assert not _runs(second)


def _runs(process: Path) -> bool:
    """Whether a process of Linux is there, and not only its exit code."""
    try:
        return ") Z " not in (process / "stat").read_text()
    except OSError:
        return False
