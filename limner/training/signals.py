"""Ctrl-C and SIGTERM: finish the step, save, stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Stopped(BaseException):
    """A signal came where there is nothing to finish; raised within `StopRequest.at_once` alone."""


class StopRequest:
    """Within `with StopRequest() as stop:`, the first signal sets `stop.signal`; a second Ctrl-C stops at once.

    Within `with stop.at_once():`, where no step is being taken, the first signal raises `Stopped` instead of waiting for a step to end.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, *, alone: bool = True) -> None:
        """alone: whether this is the run's only process; with others, a signal always waits, so that none is left behind."""
        self.signal: int | None = None
        self.alone = alone
        self._at_once = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block, a signal raises `Stopped`: what is prepared there is prepared anew by a run that goes on."""
        before, self._at_once = self._at_once, self.alone
        if self._at_once and self.signal is not None:
            self._at_once = before
            raise Stopped
        try:
            yield
        finally:
            self._at_once = before

    def __enter__(self) -> StopRequest:
        self._main = threading.current_thread() is threading.main_thread()  # only there may handlers be set
        if self._main:
            self._before = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._main:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        if self._at_once:
            raise Stopped
