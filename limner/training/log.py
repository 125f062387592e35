"""What a run tells: `log.jsonl`, a progress bar or plain lines, and the trackers that are asked for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.live import Live
from torch import Tensor

from limner.core.errors import in_words
from limner.core.files import write_whole
from limner.training.estimate import TimeLeft
from limner.training.grids import grids_of
from limner.training.players import AllReduce
from limner.training.progress import Health, Standing
from limner.training.standing import drop_place, keep_place
from limner.training.trackers import Tracker

BETWEEN_LINES = 10.0
"""Seconds between two lines where there is no terminal."""


class Means:
    """Means of device scalars between two log lines, without waiting for the device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        """Of how many values each mean was taken that was read last, in this process."""

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add device scalars, by name."""
        for name, value in values.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self, all_reduce: AllReduce | None = None) -> dict[str, float]:
        """The means since the last reading, over all processes: the one place where the loop waits for the device."""
        if not self._sums:
            return {}
        sums = torch.stack(list(self._sums.values()))
        values = (all_reduce(sums) if all_reduce else sums).tolist()
        means = {name: value / self._counts[name] for name, value in zip(self._sums, values, strict=True)}
        self.counts = self._counts
        self._sums, self._counts = {}, {}
        return means

    @property
    def pending(self) -> bool:
        """Whether anything was added since the last reading."""
        return bool(self._sums)

    def share(self, all_reduce: AllReduce | None) -> None:
        """Let every process have the mean of all, so that any of them can say what was added."""
        if self._sums and all_reduce:
            self._sums = dict(zip(self._sums, all_reduce(torch.stack(list(self._sums.values()))).unbind(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """What was added since the last reading, for a checkpoint."""
        return {"sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what `state_dict` gave; from nothing where a checkpoint is of a time when it held none."""
        self._sums = {name: value.to(device) for name, value in state.get("sums", {}).items()}
        self._counts = dict(state.get("counts", {}))


class RunLog:
    """The log of one process; a quiet one (any but the first) writes and shows nothing."""

    def __init__(self, run: Path, *, quiet: bool = False, trackers: Mapping[str, Callable[[], Tracker]] | None = None) -> None:
        self.path, self.quiet = run / "log.jsonl", quiet
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._standing: Standing | None = None
        self._live: Live | None = None
        self._last_line = 0.0
        self._shown: Path | None = next(reversed(grids_of(run)), None)
        self._to_make, self._trackers = {} if quiet else dict(trackers or {}), dict[str, Tracker]()

    def say(self, text: str) -> None:
        """A line for the user, on stderr; where nobody can read it any more, that ends no run."""
        with suppress(OSError, ValueError):
            self.console.print(text, markup=False, soft_wrap=True)

    def drop_after(self, step: int) -> None:
        """Forget lines beyond a step of the run, which a resumed run will write again; a line cut short by a crash goes too."""
        if self.quiet or not self.path.exists():
            return
        kept, text = [], self.path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            try:
                if json.loads(line)["total_step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):  # not a line of this log, or damaged
                continue
        if (left := "".join(kept)) != text:
            write_whole(self.path, left)

    def begin(self, phase: str, left: TimeLeft) -> None:
        """Show how a phase goes, from where `left` stands."""
        self.end()
        if self.quiet:
            return
        self._standing, self._last_line = Standing(phase, left, Health(pictures=self._shown)), time.monotonic()
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(
                get_renderable=lambda: self._standing or "",
                console=self.console,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()

    def advance(self) -> None:
        """A step has ended: the bar moves by itself, and elsewhere a line is printed where the last one is old."""
        if self._standing and not self._live and time.monotonic() - self._last_line > BETWEEN_LINES:
            self._say_standing()

    def skipped(self, count: int) -> None:
        """So many more updates were left out."""
        if self._standing:
            self._standing.health.skipped += count

    def write(self, line: dict[str, Any]) -> None:
        """Write one line of numbers, and show them."""
        if self.quiet:
            return
        self._keep(line)
        if self._standing:
            first = not self._standing.health.losses
            self._standing.health.read(line)
            keep_place(self.path.parent, self._standing.phase, self._standing.left)
            if not self._live and (first or time.monotonic() - self._last_line > BETWEEN_LINES):
                self._say_standing()

    def _say_standing(self) -> None:
        assert self._standing
        self._last_line = time.monotonic()
        self.say(self._standing.line())

    def painted(self, path: Path) -> None:
        """A sample grid was written."""
        self._shown = path
        if self._standing:
            self._standing.health.pictures = path

    def evaluated(self, place: dict[str, Any], figures: dict[str, float]) -> None:
        """Write and show what an evaluation found."""
        if self.quiet or not figures:
            return
        self._keep(place | {f"evaluation/{name}": value for name, value in figures.items()})
        shown = "  ".join(f"{name} {value:,.4g}" for name, value in figures.items())
        self.say(f"{place['phase']}  step {place['step']:,}, {place['epoch']:.1f} epochs  evaluation: {shown}")

    def sampled(self, place: dict[str, Any], figures: dict[str, float]) -> None:
        """Write what the pictures of a sample grid tell."""
        if not self.quiet and figures:
            self._keep(place | figures)

    def _keep(self, line: dict[str, Any]) -> None:
        try:
            self._write_down(line)
        except Exception as error:  # such as a full disk
            self.say(f"warning: step {line['step']:,} is not in the log ({in_words(error)}): the run goes on")
        self._track(line)

    def _write_down(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _track(self, line: dict[str, Any]) -> None:
        """Send a line to the trackers. What goes wrong in one of them is said, and ends neither the run nor another."""
        made, self._to_make = self._to_make, {}  # not before there is a run: they make files at once
        for name, make in made.items():
            try:
                self._trackers[name] = make()
            except Exception as error:
                fix = "put that right and --resume, or leave the setting out"
                self.say(f"warning: {name} does not start and is off ({in_words(error)}): {fix}; the log has all figures")
        figures = {f"{line['phase']}/{name}": value for name, value in line.items() if isinstance(value, (int, float))}
        for name, tracker in self._trackers.items():
            try:
                tracker.write(figures, line["total_step"])
            except Exception as error:
                self.say(f"warning: step {line['step']:,} did not reach {name} ({in_words(error)}): the run goes on")

    def end(self, how: str | None = None) -> None:
        """Take the bar away: the phase is over, and `how` says what ended it."""
        if self._live:
            self._live.stop()
        if self._standing and how:
            pictures = self._standing.health.pictures
            self.say(f"{self._standing.phase}  {how}" + (f"; newest pictures {pictures}" if pictures else ""))
        self._standing = self._live = None

    def close(self) -> None:
        """End the phase, and close the event files."""
        self.end()
        if not self.quiet:
            drop_place(self.path.parent)
        for tracker in self._trackers.values():
            with suppress(Exception):  # what a service says at its end ends no run
                tracker.close()
        sys.stderr.flush()
