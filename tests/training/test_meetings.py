"""When several processes look at each other: together, soon after slow steps, and seldom in fast ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from limner.training.meetings import Meetings


def steps_met(seconds: list[float], monkeypatch: pytest.MonkeyPatch, first: int = 0) -> list[int]:
    """The steps at which two processes meet, of which the other has a clock that stands still. seconds: those of each step."""
    said: list[Tensor] = []
    clock = [0.0]

    def lead(value: Tensor, *, reduce_op: str) -> Tensor:
        assert reduce_op == "sum"
        said.append(value)
        return value

    def follow(value: Tensor, *, reduce_op: str) -> Tensor:
        assert value == 0, "only the first process says when"
        return value + said[-1]

    mine, theirs = (
        Meetings(SimpleNamespace(global_rank=rank, device=torch.device("cpu"), all_reduce=reduce), first)  # type: ignore[arg-type]
        for rank, reduce in enumerate((lead, follow))
    )
    found = []
    for step, took in enumerate(seconds, first):
        monkeypatch.setattr("limner.training.meetings.time.monotonic", lambda: clock[0])
        for _ in range(3):  # a step is asked about more than once
            met = mine.is_at(step)
            monkeypatch.setattr("limner.training.meetings.time.monotonic", lambda: 0.0)
            assert theirs.is_at(step) == met == (step in found or met)
            monkeypatch.setattr("limner.training.meetings.time.monotonic", lambda: clock[0])
        found += [step] if met else []
        clock[0] += took
    return found


def test_slow_steps_are_met_one_by_one_and_fast_ones_by_tens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_met([5.0] * 6, monkeypatch) == [0, 1, 2, 3, 4, 5]
    assert steps_met([0.01] * 40, monkeypatch) == [0, 1, 11, 21, 31]
    assert steps_met([0.3] * 12, monkeypatch, first=7) == [7, 8, 11, 14, 17]


def test_steps_that_become_slow_are_met_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_met([0.01] * 12 + [3.0] * 20, monkeypatch) == [0, 1, 11, *range(21, 32)]
