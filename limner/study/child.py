"""`python -m limner.study.child VERB ... ++ VERB ...`: command lines of Limner, one after another, that end with the study that began them.

The study holds the other end of stdin and never writes. When it goes, however it goes, stdin ends, and this process sends itself SIGTERM:
a training saves and stops, so that a study that begins anew finds nobody at work in its folder.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Sequence

NEXT = "++"
"""Stands between two command lines."""


def main(words: Sequence[str]) -> int:
    """Run the command lines until one fails; returns its exit code, or 0."""
    threading.Thread(target=_end_with_the_study, daemon=True).start()
    for line in _split(words):
        sys.argv = ["limner", *line]
        try:
            runpy.run_module("limner", run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            if stop.code:
                return stop.code if isinstance(stop.code, int) else 1
    return 0


def _split(words: Sequence[str]) -> list[list[str]]:
    lines: list[list[str]] = [[]]
    for word in words:
        if word == NEXT:
            lines.append([])
        else:
            lines[-1].append(word)
    return lines


def _end_with_the_study() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
