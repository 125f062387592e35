"""Where the time of training goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class PlayerClock:
    """Seconds that each player's updates take: what a step computes for it, its gradient and its optimiser.

    On a GPU, events in its queue are timed, and read when they are asked for; nothing waits for the device before.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._mark: float | torch.cuda.Event = 0.0

    def start(self) -> None:
        """A step begins."""
        self._mark = self._now()

    def took(self, player: str) -> None:
        """What has been done since the start, or since the last call, was done for this player."""
        now, before = self._now(), self._mark
        if isinstance(now, float):
            assert isinstance(before, float)
            self._seconds[player] = self._seconds.get(player, 0.0) + now - before
        else:
            assert not isinstance(before, float)
            self._events.append((player, before, now))
        self._mark = now

    def read(self, steps: int) -> dict[str, float]:
        """Mean seconds a step by player since the last reading, over so many steps."""
        for player, before, after in self._events:
            after.synchronize()
            self._seconds[player] = self._seconds.get(player, 0.0) + before.elapsed_time(after) / 1000
        found = {player: seconds / max(steps, 1) for player, seconds in self._seconds.items()}
        self._seconds, self._events = {}, []
        return found

    @staticmethod
    def _now() -> float | torch.cuda.Event:
        if not torch.cuda.is_initialized():
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


class Stopwatch:
    """Time spent training, pauses left out: in all, and since the last lap; and this process's processor time, its threads together."""

    def __init__(self, step: int) -> None:
        self._start = self._lap_start = time.monotonic()
        self._core_start = time.process_time()
        self._lap_step = step

    def total(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def core_total(self) -> float:
        """Seconds of processor time since the start."""
        return time.process_time() - self._core_start

    def lap(self, step: int) -> tuple[int, float]:
        """Steps and seconds since the last lap, which ends here."""
        now = time.monotonic()
        result = step - self._lap_step, now - self._lap_start
        self._lap_step, self._lap_start = step, now
        return result

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time of the block."""
        begin, core_begin = time.monotonic(), time.process_time()
        yield
        pause = time.monotonic() - begin
        self._start += pause
        self._lap_start += pause
        self._core_start += time.process_time() - core_begin
