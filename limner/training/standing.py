"""How far a run is, for whoever watches it from another process: a small file in its folder for as long as it trains."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from limner.training.estimate import TimeLeft

NAME = "standing.json"


class Place(msgspec.Struct, kw_only=True, frozen=True):
    """Where a phase stood at a moment."""

    phase: str
    step: int
    steps: int
    """Steps that the phase may take."""
    fraction: float
    """How much of the phase's budget, of steps or of time, is spent: 0 to 1."""
    images_per_second: float | None
    phase_left: float | None
    """Seconds; None before they are known."""
    run_left: float | None
    rough: bool
    """Whether the run has later phases, whose speed nobody has measured."""
    at: float
    """Seconds of Unix time."""

    def left(self, seconds: float | None) -> float | None:
        """What is left now of the seconds that were left then."""
        return None if seconds is None else max(seconds - max(time.time() - self.at, 0.0), 0.0)


def keep_place(run: Path, phase: str, left: TimeLeft) -> None:
    """Write down where a run stands; a disk that does not take it ends nothing."""
    place = Place(
        phase=phase,
        step=left.step,
        steps=left.budget.steps,
        fraction=left.fraction,
        images_per_second=left.images_per_second,
        phase_left=left.phase(),
        run_left=left.run(),
        rough=left.rough,
        at=time.time(),
    )
    fresh = run / f".{NAME}.new"
    with suppress(OSError):
        fresh.write_bytes(msgspec.json.encode(place))
        os.replace(fresh, run / NAME)


def drop_place(run: Path) -> None:
    """The run trains no longer."""
    with suppress(OSError):
        (run / NAME).unlink()


def read_place(run: Path) -> Place | None:
    """Where a run said last that it stood; None where it says nothing that can be read."""
    try:
        return msgspec.json.decode((run / NAME).read_bytes(), type=Place)
    except (OSError, msgspec.MsgspecError):
        return None
