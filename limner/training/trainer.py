"""The one training loop. It does not know what it trains: a step yields updates, and the loop takes them."""

from __future__ import annotations

import math
import signal
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from limner.core import random
from limner.core.batch import Batch
from limner.core.errors import TrainingError
from limner.core.settings import TrainingSettings
from limner.core.trainable import Progress, Update
from limner.data.loader import Loader
from limner.training.accumulation import accumulated, coupling
from limner.training.clocks import PlayerClock, Stopwatch
from limner.training.estimate import TimeLeft
from limner.training.grids import GRIDS, is_due, steps_between
from limner.training.health import CollapseWatch, LeftOutWatch, OutburstWatch
from limner.training.log import Means, RunLog
from limner.training.meetings import Meetings
from limner.training.memory import most_memory
from limner.training.plan import PlannedPhase
from limner.training.players import PlayerTraining, mean_over_processes
from limner.training.progress import spoken
from limner.training.signals import StopRequest

if TYPE_CHECKING:
    from limner.training.processes import Processes


@dataclass
class Position:
    """Where a run stands: what a checkpoint holds besides the weights."""

    phase: int = 0
    """Which of the run's phases, counted from 0."""
    step: int = 0
    """Steps done in this phase."""
    total_step: int = 0
    """Steps done in all phases."""
    seconds: float = 0.0
    """Time spent in this phase, over all its runs."""
    core_seconds: float = 0.0
    """Processor time spent in it: of several processes, this one's times their number."""
    best: float | None = None
    """The highest score that an evaluation has given in this phase, where one chooses what is kept."""
    best_step: int = 0
    """After which step of the phase."""
    since_best: int = 0
    """Evaluations after it."""
    evaluated: int = 0
    """After which step of the phase the newest evaluation was."""
    earlier: dict[str, float] = field(default_factory=dict)
    """Steps, images, seconds and core_seconds of the ended phases of the same act, together."""
    finished: bool = False

    def waited_enough(self, planned: PlannedPhase) -> bool:
        """Whether so many evaluations have found nothing better that the phase is over."""
        return bool(planned.phase.patience) and self.since_best >= planned.phase.patience

    def share(self, planned: PlannedPhase) -> float:
        """How much of the phase's budget is spent, by steps or by time, whichever is nearer to its end."""
        return self.progress(planned, self.seconds, self.core_seconds).spent

    def progress(self, planned: PlannedPhase, seconds: float, core_seconds: float) -> Progress:
        """How far the phase has come. seconds, core_seconds: the time spent in it, by the clocks that its processes have in common."""
        return Progress(
            phase=planned.phase.name,
            step=self.step,
            steps=planned.steps,
            images=self.step * planned.phase.batch_size,
            epoch=self.step / planned.steps_per_epoch,
            seconds=seconds,
            minutes=planned.minutes,
            core_seconds=core_seconds,
            core_minutes=planned.core_minutes,
        )

    def next_phase(self) -> None:
        """Stand at the start of the next phase."""
        self.phase, self.step, self.seconds, self.core_seconds = self.phase + 1, 0, 0.0, 0.0
        self.best, self.best_step, self.since_best, self.evaluated, self.earlier = None, 0, 0, 0, {}


@dataclass
class Trainer:
    """Runs phases. `save` writes a checkpoint; `sample` paints a grid and `evaluate` scores, and both return figures for the log.

    None of the three raises for what goes wrong in it.
    """

    settings: TrainingSettings
    fabric: Processes
    log: RunLog
    stop: StopRequest
    save: Callable[[], None]
    sample: Callable[[], dict[str, float]]
    evaluate: Callable[[], dict[str, float]] = dict
    keep_newest: Callable[[], Path | None] = lambda: None
    """Lets the newest checkpoint stay, and says where it is."""
    phases: Sequence[PlannedPhase] = ()
    """All of the run's, for the time that it will take."""
    means: Means = field(default_factory=Means)
    """Of figures that no line of the log has yet."""
    _clock: PlayerClock = field(default_factory=PlayerClock)
    _watch: CollapseWatch = field(default_factory=CollapseWatch)
    _outbursts: OutburstWatch = field(default_factory=OutburstWatch)
    _left_out: LeftOutWatch = field(default_factory=LeftOutWatch)
    _times: tuple[float, float] | None = None

    def train(self, planned: PlannedPhase, loader: Loader, players: Mapping[str, PlayerTraining], position: Position) -> bool:
        """Train a phase from where it stands to its end; returns False where it was asked to stop before. The caller saves what is reached.

        A step is a function of (seed, step): its batch, its noise and what layers draw depend on nothing that came before but the weights.
        """
        settings = self.settings
        planned.trained.train()
        self._left, self._times = self._time_left(planned, position), None
        self._meetings = Meetings(self.fabric, position.step)
        self.log.begin(planned.phase.name, self._left)
        before, core_before = position.seconds, position.core_seconds
        first, clock = position.step, Stopwatch(position.step)
        drawn = saved = position.step
        if self._evaluation_was_missed(planned, position):
            self._evaluate(planned, loader, position)
            clock = Stopwatch(position.step)
        while not self._is_over(planned, position):
            step = position.step
            torch.manual_seed(int(random.hash64(settings.seed, "layers", planned.act.name, step, self.fabric.global_rank) >> 1))
            with self.stop.at_once() if step == first else nullcontext():  # the first batch may be long in coming: the garden is painted
                batch = loader.batch(step)
            check = self.fabric.world_size > 1 and step - first < 3
            self.play(planned, batch, players, self._progress(planned, position), check=check)
            position.step, position.total_step = step + 1, position.total_step + 1
            position.seconds = before + clock.total()
            position.core_seconds = core_before + clock.core_total() * self.fabric.world_size
            self._left.stepped(position.step, position.seconds, position.core_seconds)
            self.log.advance()
            if position.step % settings.log_every == 0 or position.step == planned.steps:
                self._write(planned, loader, position, clock)
            with clock.paused():  # what is reached is saved before anything looks at it, and after an evaluation that has kept a state
                if due := position.step % settings.checkpoint_every == 0:
                    self._save()
                    saved = position.step
                if self._is_over(planned, position):
                    break
                if self._grid_is_due(planned, position, drawn):
                    self._sample(planned, loader, players, position)
                    drawn = position.step
                if planned.evaluate_every and position.step % planned.evaluate_every == 0:
                    self._evaluate(planned, loader, position)
                    if due:
                        self._save()
        if self.means.pending and (position.waited_enough(planned) or self._time_is_up(planned, position)):
            self._write(planned, loader, position, clock)
        if position.step != saved:
            self._save()
        if position.step != drawn:
            self._sample(planned, loader, players, position)
        asked = self._asked_to_stop(0)  # 0: asked of all processes, so that none goes on alone
        if planned.evaluate_every and position.step != position.evaluated and (position.step % planned.evaluate_every == 0 or not asked):
            self._evaluate(planned, loader, position)
        whole = not self._asked_to_stop(0)
        self.log.end(self._how_it_ended(planned, position))
        return whole

    def play(
        self, planned: PlannedPhase, batch: Batch, players: Mapping[str, PlayerTraining], progress: Progress, *, check: bool = False
    ) -> None:
        """One training step: each update that it yields is taken before it goes on."""
        clock = self._clock
        clock.start()
        for update in self._updates(planned, batch, players, progress):
            if check:
                self._compare_processes(update.player)
            player = players[update.player]
            skipped = player.step(progress, planned.phase.batch_size)
            clock.took(update.player)
            loss = torch.where(skipped > 0, 0.0, update.loss.detach().float())
            figures = {"loss": loss, "gradient_norm": player.gradient_norm, "skipped": skipped, **update.metrics}
            self.means.add({f"{update.player}/{name}": value for name, value in figures.items()})

    def _updates(self, planned: PlannedPhase, batch: Batch, players: Mapping[str, PlayerTraining], progress: Progress) -> Iterator[Update]:
        """The updates of a step, the gradient of each added to its player's when it comes."""
        size = self.settings.micro_batch
        # A text encoder that is trained first contrasts the rows of its whole batch, whatever what comes after it can do.
        if size is None or size >= len(batch) or coupling(planned.trained):
            updates = planned.trained.training_step(batch, progress)
            while (update := self._next(updates)) is not None:
                players[update.player].add(update.loss)
                yield update
            return
        size = max(size // batch.frames, 1) * batch.frames  # whole stories
        parts = [batch.part(slice(start, start + size)) for start in range(0, len(batch), size)]
        yield from accumulated(planned.trained, parts, players, progress, self._next)

    def _next(self, updates: Iterator[Update]) -> Update | None:
        with self.fabric.autocast():
            return next(updates, None)

    def _progress(self, planned: PlannedPhase, position: Position) -> Progress:
        return position.progress(planned, *self._common_times(planned, position))

    def _common_times(self, planned: PlannedPhase, position: Position) -> tuple[float, float]:
        """The time and the processor time that all processes go by: each has clocks of its own, and at their meetings they take the mean
        of these."""
        if self.fabric.world_size == 1 or not planned.ends_by_time:
            return position.seconds, position.core_seconds
        if self._times is None or self._meetings.is_at(position.step):
            own = torch.tensor([position.seconds, position.core_seconds], dtype=torch.float64, device=self.fabric.device)
            common = self.fabric.all_reduce(own, reduce_op="mean")
            assert isinstance(common, Tensor)
            self._times = float(common[0]), float(common[1])
        return self._times

    def _write(self, planned: PlannedPhase, loader: Loader, position: Position, clock: Stopwatch) -> None:
        means = self.means.read(mean_over_processes(self.fabric))
        steps, seconds = clock.lap(position.step)
        speed = steps * planned.phase.batch_size / max(seconds, 1e-9)
        left_out, too_many = {}, ""
        for player in [name.removesuffix("/skipped") for name in means if name.endswith("/skipped")]:
            share, count = means.pop(f"{player}/skipped"), self.means.counts[f"{player}/skipped"]
            if share:
                left_out[f"{player}/skipped"] = round(share, 6)
                self.log.skipped(round(share * count))
            too_many = self._judge_skipped(player, share, count, position) or too_many
        line = self._place(planned, loader, position) | {"images_per_second": round(speed, 1)}
        line |= {"memory_mib": most_memory(self.fabric.device)}
        line |= {f"{player}/seconds": round(took, 5) for player, took in self._clock.read(steps).items()}
        self.log.write(line | {name: value if math.isfinite(value) else None for name, value in means.items()} | left_out)
        if too_many:
            self.keep_newest()  # from before it
            self._save()  # what was left out has harmed no weight, and a resumed run does not come to the same batches again
            raise TrainingError(too_many)
        if warning := self._outbursts.judge(planned.phase.name, means):
            back = f", or remove the checkpoints after {kept}, which is kept, and --resume" if (kept := self.keep_newest()) else ""
            self.log.say(f"warning: step {position.step:,}: {warning}: begin anew with a lower --method.learning-rate{back}")

    @staticmethod
    def _place(planned: PlannedPhase, loader: Loader, position: Position) -> dict[str, Any]:
        """Where a line of the log stands."""
        return {
            "phase": planned.phase.name,
            "act": planned.act.name,
            "step": position.step,
            "total_step": position.total_step,
            "images": position.step * planned.phase.batch_size,
            "epoch": round(position.step / loader.steps_per_epoch, 4),
            "seconds": round(position.seconds, 2),
            "core_seconds": round(position.core_seconds, 2),
        }

    def _sample(self, planned: PlannedPhase, loader: Loader, players: Mapping[str, PlayerTraining], position: Position) -> None:
        with self._left.doing("sample"):
            figures = self.sample()
        self.log.sampled(self._place(planned, loader, position), figures)
        warning = self._watch.judge(figures, max((player.updates for player in players.values() if player.player.averaged), default=0))
        if warning:
            self.log.say(f"warning: {warning}")

    @staticmethod
    def _evaluation_was_missed(planned: PlannedPhase, position: Position) -> bool:
        """Whether the process was killed between the checkpoint of a step and the evaluation at it, which may choose what is kept."""
        every, step = planned.evaluate_every, position.step
        return bool(every and step) and step % every == 0 and position.evaluated != step

    def _evaluate(self, planned: PlannedPhase, loader: Loader, position: Position) -> None:
        with self._left.doing("evaluate"):
            position.evaluated = position.step
            figures = self.evaluate()
        self.log.evaluated(self._place(planned, loader, position), figures)

    def _save(self) -> None:
        with self._left.doing("save"):
            self.save()

    def _time_left(self, planned: PlannedPhase, position: Position) -> TimeLeft:
        settings = self.settings
        side_work = {
            "sample": steps_between(planned.steps, settings.sample_every),
            "evaluate": planned.evaluate_every,
            "save": settings.checkpoint_every,
        }
        later = [other.budget for other in self.phases[position.phase + 1 :]]
        return TimeLeft(
            planned.budget,
            later,
            step=position.step,
            seconds=position.seconds,
            core_seconds=position.core_seconds,
            side_work=side_work,
        )

    def _how_it_ended(self, planned: PlannedPhase, position: Position) -> str:
        """What ended a phase, in words."""
        place, took = f"step {position.step:,} of {planned.steps:,}", f"after {spoken(position.seconds)} of training"
        kept = f"; the state of step {position.best_step:,} is kept" if planned.phase.patience and position.since_best else ""
        if position.step >= planned.steps:
            return f"all {planned.steps:,} steps done {took}{kept}"
        if position.waited_enough(planned):
            return f"stopped at {place} {took}: no better score on the val split in {position.since_best} evaluations{kept}"
        if self.stop.signal is not None:
            return f"stopped by {signal.Signals(self.stop.signal).name} at {place} {took}"
        option, own, whole = "minutes", planned.minutes or 0.0, self.settings.minutes or 0.0
        if planned.core_minutes is not None and position.core_seconds >= planned.core_minutes * 60:
            option, own, whole = "core-minutes", planned.core_minutes, self.settings.core_minutes or 0.0
        part = "" if own == whole else f" (this phase's part: {own:.3g})"
        return f"stopped by --training.{option} {whole:g}{part} at {place} {took}{kept}"

    def _judge_skipped(self, player: str, share: float, count: int, position: Position) -> str | None:
        """Say that updates were left out; returns an error where they are too many in a row."""
        if in_a_row := self._left_out.judge(player, share, count):
            why = f"the last {in_a_row} updates of the {player} before step {position.step} had a loss or gradient that is not finite"
            return f"{why}: begin anew with a lower --method.learning-rate, or try the batches after them by --resume"
        if share > 0:
            self.log.say(
                f"warning: {share:.1%} of the {player}'s updates before step {position.step} were left out: loss or gradient not finite"
            )
        return None

    def _grid_is_due(self, planned: PlannedPhase, position: Position, drawn: int) -> bool:
        """By the number of steps; the first one of a phase that the clock may end also by the clock."""
        every = self.settings.sample_every
        if is_due(position.step, planned.steps, every):
            return True
        if every is not None or not planned.ends_by_time or drawn > 0:
            return False
        return self._any(position.step, planned.budget.time_spent(position.seconds, position.core_seconds) >= 1 / GRIDS)

    def _is_over(self, planned: PlannedPhase, position: Position) -> bool:
        if position.step >= planned.steps or position.waited_enough(planned):
            return True
        return self._time_is_up(planned, position) or self._asked_to_stop(position.step)

    def _time_is_up(self, planned: PlannedPhase, position: Position) -> bool:
        spent = planned.budget.time_spent(position.seconds, position.core_seconds)
        return planned.ends_by_time and self._any(position.step, spent >= 1.0)

    def _asked_to_stop(self, step: int) -> bool:
        asked = self._any(step, self.stop.signal is not None)
        if asked and self.stop.signal is None:
            self.stop.signal = 15  # another process was asked to stop
        return asked

    def _any(self, step: int, value: bool) -> bool:
        """Whether it is so in any process; several ask each other at their meetings, and at step 0, so that all leave the loop together."""
        if self.fabric.world_size == 1:
            return value
        if step and not self._meetings.is_at(step):
            return False
        result = self.fabric.all_reduce(torch.tensor(float(value), device=self.fabric.device), reduce_op="sum")
        assert isinstance(result, Tensor)
        return bool(result > 0)

    def _compare_processes(self, player: str) -> None:
        """Every process must yield the same updates, or the averaging would mix different players' gradients."""
        own = torch.tensor(zlib.crc32(player.encode()), device=self.fabric.device)
        total = self.fabric.all_reduce(own.clone(), reduce_op="sum")
        assert isinstance(total, Tensor)
        if int(total) != int(own) * self.fabric.world_size:
            raise TrainingError(
                f"process {self.fabric.global_rank} updates the {player} while another updates another player: "
                "a training_step must yield the same players in every process"
            )
