"""What a run tells: `log.jsonl`, a progress bar or plain lines, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from limner.core.errors import SettingsError
from limner.training.players import AllReduce


class Means:
    """Means of device scalars between two log lines, without waiting for the device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

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
        self._sums, self._counts = {}, {}
        return means


class RunLog:
    """The log of one process; a quiet one (any but the first) writes and shows nothing."""

    def __init__(self, run: Path, *, quiet: bool = False, tensorboard: bool = False) -> None:
        self.path, self.quiet = run / "log.jsonl", quiet
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar: Progress | None = None
        self._last_line = 0.0
        self._make_events = _event_writer() if tensorboard and not quiet else None
        self._events: Any = None

    def say(self, text: str) -> None:
        """A line for the user, on stderr; where nobody can read it any more, that ends no run."""
        with suppress(OSError, ValueError):
            self.console.print(text, markup=False, soft_wrap=True)

    def drop_after(self, step: int) -> None:
        """Forget lines beyond a step of the run, which a resumed run will write again; a line cut short by a crash goes too."""
        if self.quiet or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["total_step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError):
                continue
        self.path.write_text("".join(kept), encoding="utf-8")

    def begin(self, phase: str, done: int, steps: int) -> None:
        """Show progress of a phase, from `done` steps on."""
        self.end()
        if self.console.is_terminal and not self.quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._bar.add_task(phase, total=steps, completed=done, speed="")
            self._bar.start()

    def advance(self, step: int, images_per_second: float | None = None) -> None:
        """Move the progress bar to a step of the phase, and show the speed."""
        if self._bar:
            speed = {} if images_per_second is None else {"speed": f"{images_per_second:.0f} images/s"}
            self._bar.update(self._task, completed=step, **speed)  # type: ignore[arg-type]

    def write(self, line: dict[str, Any], remaining: float) -> None:
        """Write one line of numbers, and show it where there is no progress bar. remaining: seconds to the end of the phase."""
        if self.quiet:
            return
        self._keep(line)
        if not self._bar and time.monotonic() - self._last_line > 10:
            self._last_line = time.monotonic()
            losses = "  ".join(f"{name} {value:.3f}" for name, value in line.items() if name.endswith("/loss"))
            self.say(
                f"{line['phase']}  step {line['step']:,}  {line['images_per_second']:.0f} images/s  {losses}  {remaining / 60:.1f} min left"
            )

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
        except Exception as error:  # a full disk, or what TensorBoard makes of it
            self.say(f"warning: step {line['step']:,} is not in the log ({error}): the run goes on")

    def _write_down(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        if self._make_events and not self._events:  # not before there is a run: it makes files at once
            self._events = self._make_events(str(self.path.with_name("tensorboard")))
        if self._events:
            for name, value in line.items():
                if isinstance(value, (int, float)):
                    self._events.add_scalar(f"{line['phase']}/{name}", value, line["total_step"])

    def end(self) -> None:
        """Take the progress bar away: the phase is over."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def close(self) -> None:
        """End the phase, and close the event files."""
        self.end()
        if self._events:
            self._events.close()
        sys.stderr.flush()


def _event_writer() -> Callable[[str], Any]:
    """TensorBoard's writer, which takes a folder. Raises SettingsError where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError("training.tensorboard needs TensorBoard: pip install 'limner[log]', or leave the setting out") from error
    return cast("Callable[[str], Any]", SummaryWriter)
