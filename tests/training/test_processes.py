"""Two processes on one machine: equal weights on both, and the losses of one process where no batch statistics differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.rounding import Comparison, Disagreement

SCRIPT = Path(__file__).with_name("two_processes.py")
ROOT = SCRIPT.parents[2]


def run(out: Path, method: str, processes: int, style_steps: int = 0, *more: str) -> None:
    command = [sys.executable, str(SCRIPT), str(out), method, str(processes), str(style_steps), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Initializing distributed" not in result.stderr  # what the libraries say of it is for developers


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [item for key in value for item in tensors(value[key])]
    return [item for part in value for item in tensors(part)] if isinstance(value, list) else []


def losses(out: Path) -> list[tuple[float, float]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(line["discriminator/loss"], line["generator/loss"]) for line in lines if "generator/loss" in line]


@pytest.mark.parametrize(("method", "style_steps"), [("plain", 0), ("gan-cls", 0), ("gan-cls", 6)])
def test_both_processes_hold_the_same_weights(method: str, style_steps: int, tmp_path: Path) -> None:
    run(tmp_path / "two", method, 2, style_steps)
    first, second = (tensors(torch.load(tmp_path / "two" / f"process-{rank}.pt", weights_only=True)) for rank in (0, 1))
    assert len(first) > 20
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    if method == "plain":
        for name, more in (("one", ()), ("exact", ("exact",))):
            run(tmp_path / name, method, 1, 0, *more)
        alone, exact = (tensors(torch.load(tmp_path / name / "process-0.pt", weights_only=True)) for name in ("one", "exact"))
        comparison = Comparison()
        assert len(losses(tmp_path / "one")) == 12
        logged = [torch.tensor(losses(tmp_path / name)) for name in ("two", "one", "exact")]
        for values in (*zip(first, alone, exact, strict=True), logged):
            if values[0].is_floating_point() and values[0].any():
                two, one, double = (value.double() for value in values)
                comparison.tensor("a tensor", two, one, double)
                with pytest.raises(Disagreement):
                    Comparison().tensor("a tensor", 1.001 * two, one, double)
        comparison.finish()


@pytest.mark.parametrize("reason", ["signal", "time"])
def test_slow_steps_are_looked_at_one_by_one(reason: str, tmp_path: Path) -> None:
    """A stop that one process is asked for, and a limit on time, end both soon: not at the tenth step only."""
    command = [sys.executable, str(SCRIPT.with_name("two_slow_processes.py")), str(tmp_path / "run"), reason]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (steps,) = (int(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("steps "))
    assert 1 < steps < 8
