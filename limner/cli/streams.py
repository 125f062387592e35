"""Standard streams that never stop the work: what cannot be encoded is escaped, and a reader that has gone is an error only at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class SteadyStream:
    """A text stream whose writing does not raise. failure: the first error, after which what is written is lost."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write what can be written; characters that the encoding lacks are escaped."""
        try:
            return self.stream.write(text)
        except OSError as error:
            self._give_up(error)
        except UnicodeEncodeError:  # of a stream that cannot be reconfigured
            encoding = self.stream.encoding or "ascii"
            return self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of some texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send on what is buffered."""
        try:
            self.stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """What is still buffered, and all that this process and its children write from now on, goes nowhere."""
        self.failure = self.failure or error
        with suppress(OSError, ValueError):  # a stream without a descriptor has nothing to turn away
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def steady_streams() -> Iterator[tuple[SteadyStream, SteadyStream]]:
    """While the block runs, `sys.stdout` and `sys.stderr` are steady streams, whatever they were: closed ones lead nowhere."""
    _open_descriptors()
    before = sys.stdout, sys.stderr
    steady = _steady(sys.stdout), _steady(sys.stderr)
    sys.stdout, sys.stderr = steady
    try:
        yield steady
    finally:
        for stream in steady:
            stream.flush()
        sys.stdout, sys.stderr = before


def _steady(stream: Any) -> SteadyStream:
    if isinstance(stream, SteadyStream):
        return stream
    if stream is None or stream.closed:
        return SteadyStream(open(os.devnull, "w", encoding="utf-8"))
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return SteadyStream(stream)


def _open_descriptors() -> None:
    """Occupy closed standard descriptors: the next file that is opened would take their place, and receive what others print."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_RDWR)
                if nowhere != descriptor:
                    os.dup2(nowhere, descriptor)
                    os.close(nowhere)
