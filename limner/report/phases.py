"""What a log tells of each phase of a run. Figures of a text encoder's phase and of the method's are never added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Line = Mapping[str, Any]

OTHERS = ("text", "style")
"""Acts of a run that are not the method's own. Logs of version 0.1 call acts stages, and earlier ones name phases alone."""


def act_of(line: Line) -> str:
    """What the phase of a line belongs to: "text", "method" or "style"; a method's own phase may be called "text", too."""
    return str(line.get("act", line.get("stage", line["phase"])))


def is_of_the_method(line: Line) -> bool:
    """Whether a line is of one of the method's own phases."""
    return act_of(line) not in OTHERS


def last_lines(log: Iterable[Line]) -> list[Line]:
    """The last line of each phase, in the order in which they began."""
    return list({(act_of(line), line["phase"]): line for line in log}.values())


@dataclass(frozen=True)
class Passed:
    """A phase, as far as it has come."""

    name: str
    steps: int
    images: int
    seconds: float
    epochs: float
    before: int
    """Steps of the phases before it."""


def passed(log: Sequence[Line]) -> list[Passed]:
    """Every phase of a log, in order."""
    return [
        Passed(
            line["phase"],
            line["step"],
            line["images"],
            line["seconds"],
            line.get("epoch", 0.0),
            line.get("total_step", line["step"]) - line["step"],
        )
        for line in last_lines(log)
    ]


def of_the_method(log: Sequence[Line]) -> list[Line]:
    """The lines of the method's own phases; all lines, where a log has no other."""
    own = [line for line in log if is_of_the_method(line)]
    return own or list(log)


def when(log: Sequence[Line], total_step: int) -> str:
    """A step of the whole run as a step of its phase: `step 300`, and `step 300 of gan` where the run has several phases."""
    known = passed(log)
    phase = next((phase for phase in reversed(known) if phase.before < total_step), None)
    if phase is None:
        return f"step {total_step:,}"
    return f"step {total_step - phase.before:,}" + (f" of {phase.name}" if len(known) > 1 else "")
