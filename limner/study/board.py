"""One line of progress for each run: live in a terminal, else a line whenever a run's state changes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from limner.study.plan import Planned
from limner.study.settings import Budget
from limner.study.state import Course, course


class Board:
    """What a study shows while it works. Lines of runs that have ended stay; below them, in a terminal, live those at work."""

    def __init__(self, runs: int, done: int, budget: Budget, together: int) -> None:
        self.runs, self.done, self.budget, self.together = runs, done, budget, together
        self.console = Console(stderr=True, highlight=False)
        self._live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        self._scoring: set[str] = set()
        self._failures = 0

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, soft_wrap=True)

    def began(self, run: Planned) -> None:
        """A run has a process now."""
        if not self._live:
            self.say(f"{self._count()}  {run.name}: begun")

    def ended(self, run: Planned, reached: Course) -> None:
        """A run is done."""
        self.done += 1
        self.say(f"{self._count()}  {run.name}: done, {_reached(reached)}")

    def failed(self, run: Planned, reason: str) -> None:
        """A run has ended by an error."""
        self._failures += 1
        self.say(f"{self._count()}  {run.name}: failed: {reason} (see {run.log})")

    def show(self, active: Sequence[tuple[Planned, Course, bool]], waiting: Sequence[Planned]) -> None:
        """Where the runs at work stand: each with its course, and whether it is being scored already."""
        for run, reached, scoring in active:
            if scoring and run.name not in self._scoring:
                self._scoring.add(run.name)
                if not self._live:
                    self.say(f"{self._count()}  {run.name}: trained, {_reached(reached)}; being scored")
        if not self._live:
            return
        table = Table.grid(padding=(0, 2))
        for run, reached, scoring in active:
            table.add_row(Text(run.name), *map(Text, self._cells(reached, scoring)))
        summary = Text(f"{self.done} of {self.runs} done, {len(waiting)} waiting{self._time_left(active, waiting)}", style="dim")
        self._live.update(Group(table, summary), refresh=True)

    def _cells(self, reached: Course, scoring: bool) -> tuple[str, str, str, str]:
        images = f"{reached.images:,} images" if reached.images else ""
        if scoring:
            return "being scored", "", images, ""
        if not reached.phases:
            return "getting ready", "", "", ""
        left = reached.left(self.budget)
        return reached.phase, f"step {reached.step:,}", images, "" if left is None else f"{duration(left)} left"

    def _time_left(self, active: Sequence[tuple[Planned, Course, bool]], waiting: Sequence[Planned]) -> str:
        seconds = sum(reached.left(self.budget) or 0.0 for _, reached, scoring in active if not scoring)
        later = [course(run.folder).left(self.budget) for run in waiting]
        if any(left is None for left in later):
            return ""
        seconds += sum(left or 0.0 for left in later)
        return f", {duration(seconds / max(1, self.together))} of training left at most" if seconds else ""

    def _count(self) -> str:
        return f"[{self.done}/{self.runs}]"


def _reached(reached: Course) -> str:
    return f"{reached.images:,} images in {duration(reached.seconds)}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
