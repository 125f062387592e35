"""How long a run will still take: one estimate, which the progress bar and the printed lines share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from limner.core.trainable import time_spent

MEMORY = 30.0
"""Seconds after which a step counts less than half (1/e) in the speed."""
FEWEST = 20
"""About how many steps the speed is taken over, however long they take."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What ends a phase: its number of steps or its time, whichever is spent first."""

    steps: int
    batch_size: int
    minutes: float | None = None
    """Time spent training; side work such as sample grids does not count."""
    core_minutes: float | None = None
    """Processor time spent training."""

    def seconds(self, seconds_per_image: float, cores: float = 1.0) -> float:
        """How long the whole phase takes at a speed, with so many cores at work."""
        needed = [self.steps * self.batch_size * seconds_per_image]
        needed += [] if self.minutes is None else [self.minutes * 60]
        needed += [] if self.core_minutes is None else [self.core_minutes * 60 / max(cores, 1e-9)]
        return min(needed)

    def time_spent(self, seconds: float, core_seconds: float) -> float:
        """How much of its time is spent, 1 at the end: of minutes or of core minutes, whichever is further; 0 where it has neither."""
        return time_spent((seconds, self.minutes), (core_seconds, self.core_minutes))


class TimeLeft:
    """Tells at any moment how long a phase and the whole run will still take, from the steps that were seen.

    Args:
        budget: The phase's.
        later: The budgets of the phases after it. Their speed is not known yet: a picture is taken to need as long there as here, so the
            time left of a run with later phases is rough.
        step: Steps of the phase done before, by an earlier process.
        seconds: Training time of the phase spent before.
        core_seconds: Processor time of it.
        side_work: How many steps lie between two pieces of side work, by name: sample grids, evaluations, checkpoints. 0 for none.
        clock: Seconds that only grow.

    It never waits for a device, and the first step counts only until there is a second: it warms up caches and compilers.
    """

    def __init__(
        self,
        budget: Budget,
        later: Sequence[Budget] = (),
        *,
        step: int = 0,
        seconds: float = 0.0,
        core_seconds: float = 0.0,
        side_work: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget, self.later, self.step, self.seconds, self.core_seconds = budget, later, step, seconds, core_seconds
        self._every, self._clock = dict(side_work or {}), clock
        self._begun = self._mark = clock()
        self._seen = 0
        self._weight = self._weighted = self._core_weighted = 0.0
        self._took: dict[str, tuple[int, float]] = {}
        self._doing: str | None = None

    def stepped(self, step: int, seconds: float, core_seconds: float = 0.0) -> None:
        """A step has ended, or several. step: steps of the phase so far; seconds, core_seconds: training time and processor time of the
        phase so far, side work left out."""
        count, took, cores_took = max(step - self.step, 1), max(seconds - self.seconds, 0.0), max(core_seconds - self.core_seconds, 0.0)
        self.step, self.seconds, self.core_seconds = step, seconds, core_seconds
        kept = 0.0 if self._seen == 1 else max(math.exp(-took / MEMORY), (1 - 1 / FEWEST) ** count)
        self._weight, self._weighted = kept * self._weight + count, kept * self._weighted + took
        self._core_weighted = kept * self._core_weighted + cores_took
        self._seen += 1
        self._mark = self._clock()

    @contextmanager
    def doing(self, name: str) -> Iterator[None]:
        """Within the block, a piece of side work is done."""
        self._doing, self._mark = name, self._clock()
        try:
            yield
        finally:
            count, total = self._took.get(name, (0, 0.0))
            self._took[name] = count + 1, total + self._clock() - self._mark
            self._doing, self._mark = None, self._clock()

    @property
    def fraction(self) -> float:
        """How much of the phase's budget is spent, 0 to 1: of its steps or of its time, whichever is further."""
        spent = self.step / max(self.budget.steps, 1)
        return min(max(spent, self.budget.time_spent(self.seconds, self.core_seconds)), 1.0)

    @property
    def elapsed(self) -> float:
        """Seconds since this process began with the phase."""
        return self._clock() - self._begun

    @property
    def images_per_second(self) -> float | None:
        """The speed of the last steps; None before there was one."""
        per_step = self._seconds_per_step()
        return None if per_step is None else self.budget.batch_size / max(per_step, 1e-9)

    @property
    def rough(self) -> bool:
        """Whether the run's time holds phases whose speed nobody has measured."""
        return bool(self.later)

    def phase(self) -> float | None:
        """Seconds to the end of the phase, side work that has been seen included: at least 0. None where no step has been seen."""
        per_step = self._seconds_per_step()
        if per_step is None:
            return None
        since = self._clock() - self._mark  # this long the step, or the side work, that is being done has taken
        steps, doing = max(self.budget.steps - self.step, 0), self._doing
        training = max(steps - 1, 0) * per_step + max((per_step if steps else 0.0) - (0.0 if doing else since), 0.0)
        for minutes, spent, speed in (
            (self.budget.minutes, self.seconds, 1.0),
            (self.budget.core_minutes, self.core_seconds, self._cores),
        ):
            if minutes is not None:
                training = min(training, max((minutes * 60 - spent) / max(speed, 1e-9) - (0.0 if doing else since), 0.0))
        left = training + self._side_work(self.step, min(self.step + training / max(per_step, 1e-9), self.budget.steps))
        return left + (max(self._mean(doing) - since, 0.0) if doing else 0.0)

    def run(self) -> float | None:
        """Seconds to the end of the run; None where no step has been seen."""
        own, per_step = self.phase(), self._seconds_per_step()
        if own is None or per_step is None:
            return None
        return own + sum(budget.seconds(per_step / self.budget.batch_size, self._cores) for budget in self.later)

    @property
    def _cores(self) -> float:
        """Seconds of processor time that a second of training takes."""
        return self._core_weighted / self._weighted if self._weighted and self._core_weighted else 1.0

    def _seconds_per_step(self) -> float | None:
        return self._weighted / self._weight if self._weight else None

    def _mean(self, name: str) -> float:
        count, total = self._took.get(name, (0, 0.0))
        return total / count if count else 0.0

    def _side_work(self, step: int, end: float) -> float:
        """Seconds of the side work that is due between two steps, the last of each kind at the end."""
        if end <= step:
            return 0.0
        return sum(max(math.ceil(end / every - 1e-6) - step // every, 0) * self._mean(name) for name, every in self._every.items() if every)
