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

SCRIPT = Path(__file__).with_name("two_processes.py")
ROOT = SCRIPT.parents[2]


def run(out: Path, method: str, processes: int, style_steps: int = 0) -> None:
    command = [sys.executable, str(SCRIPT), str(out), method, str(processes), str(style_steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


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
        run(tmp_path / "one", method, 1)
        alone = tensors(torch.load(tmp_path / "one" / "process-0.pt", weights_only=True))
        for a, b in zip(first, alone, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
        assert len(losses(tmp_path / "one")) == 12
        torch.testing.assert_close(torch.tensor(losses(tmp_path / "two")), torch.tensor(losses(tmp_path / "one")), rtol=1e-4, atol=1e-6)
