"""What a run shows of itself while it trains: a bar that moves by itself in a terminal, and the same in one line elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from limner.core.figures import is_verdict, verdict_label
from limner.training.estimate import TimeLeft

SMALLEST_BAR, LARGEST_BAR = 8, 40


@dataclass
class Health:
    """The newest figures of a phase."""

    losses: dict[str, float] = field(default_factory=dict)
    """By player."""
    verdicts: dict[str, float] = field(default_factory=dict)
    """What discriminators say, by label."""
    others: dict[str, float] = field(default_factory=dict)
    """Whatever else players report."""
    skipped: int = 0
    """Updates left out so far, because a loss or gradient was not finite."""
    pictures: Path | None = None
    """The newest sample grid."""

    def read(self, line: Mapping[str, Any]) -> None:
        """Take the figures of a line of the log."""
        values = {name: value for name, value in line.items() if isinstance(value, (int, float))}
        judges = {name.rpartition("/")[0] for name in values if is_verdict(name)}
        self.losses = {name.removesuffix("/loss"): value for name, value in values.items() if name.endswith("/loss")}
        left_out = ("loss", "gradient_norm", "skipped", "seconds")
        self.others = {
            name.replace("/", " ").replace("_", " "): value
            for name, value in values.items()
            if "/" in name and name.rpartition("/")[2] not in left_out and not is_verdict(name)
        }
        self.verdicts = {}
        for name, value in values.items():
            if is_verdict(name):
                player = name.rpartition("/")[0]
                self.verdicts[verdict_label(name) if len(judges) == 1 else f"{player} {verdict_label(name)}"] = value

    def items(self) -> Iterator[str]:
        """Each figure in words, the most telling first."""
        if self.skipped:
            yield f"skipped updates {self.skipped:,}"
        yield from (f"{player} loss {value:.3g}" for player, value in self.losses.items())
        yield from (f"{label} {value:.2f}" for label, value in self.verdicts.items())
        if not self.verdicts:
            yield from (f"{name} {value:.3g}" for name, value in self.others.items())
        if not self.skipped and self.losses:
            yield "skipped updates 0"


@dataclass
class Standing:
    """Where a phase stands, for a terminal to draw at any moment and for a line of text."""

    phase: str
    left: TimeLeft
    health: Health

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        before, after = self._around(width)
        room = width - len(before) - len(after) - 4
        yield Text(before, no_wrap=True, end="")
        if room >= SMALLEST_BAR:
            yield Text("  ", end="")
            bar = ProgressBar(total=1.0, completed=self.left.fraction, width=min(room, LARGEST_BAR))
            yield from (segment for segment in console.render(bar, options) if segment != Segment.line())
        yield Text(f"  {after}"[: max(width - len(before), 0)], no_wrap=True)
        yield from (Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in fitting(list(self.health.items()), width))
        if self.health.pictures is not None:
            yield Text(f"newest pictures {self.health.pictures}", style="dim", overflow="fold")

    def _around(self, width: int) -> tuple[str, str]:
        """What stands before and after the bar, as much of it as there is room for."""
        left, (phase, whole) = self.left, self._left()
        speed = "- images/s" if left.images_per_second is None else f"{rate(left.images_per_second)} images/s"
        parts = [f"{left.step:,}/{left.budget.steps:,}", speed, f"{hours(left.elapsed)} gone", f"{phase} left"]
        if whole is not None:
            parts.append(f"run {whole}")
        for dropped in (2, 1):  # the time that is gone first, then the speed
            if len(self.phase) + sum(len(part) + 2 for part in parts) + SMALLEST_BAR + 2 > width:
                del parts[dropped]
        return self.phase, "  ".join(parts)

    def _left(self) -> tuple[str, str | None]:
        """Time left of the phase and, where that is another, of the run."""
        left = self.left
        whole = ("~" if left.rough else "") + hours(left.run()) if left.later else None
        return hours(left.phase()), whole

    def line(self) -> str:
        """The same in one line."""
        left, (phase, whole) = self.left, self._left()
        speed = left.images_per_second
        parts = [self.phase, f"step {left.step:,} of {left.budget.steps:,}", *([] if speed is None else [f"{rate(speed)} images/s"])]
        return "  ".join([*parts, *self.health.items(), f"{phase} left" + (f", of the run {whole}" if whole else "")])


def fitting(items: list[str], width: int) -> list[str]:
    """The items in at most two lines of a width; those that have no room are left out."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 2 + len(item) <= width:
            lines[-1] += f"  {item}"
        elif len(lines) < 2:
            lines.append(item)
    return lines


def hours(seconds: float | None) -> str:
    """Seconds as 0:01:36, and - where they are not known."""
    if seconds is None:
        return "-"
    whole = round(max(seconds, 0.0))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def rate(value: float) -> str:
    """Pictures a second: 289, 9.4, 0.4."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def spoken(seconds: float) -> str:
    """12.3 s, 2 min 47 s, 3 h 5 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    return f"{minutes} min {round(seconds) % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
