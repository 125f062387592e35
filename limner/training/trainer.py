"""The one training loop. It knows no method: a method's step yields updates, and the loop takes them."""

from __future__ import annotations

import math
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from limner.core import random
from limner.core.errors import TrainingError
from limner.core.method import Method
from limner.core.settings import TrainingSettings
from limner.core.trainable import Phase, Player, Progress
from limner.data.loader import Loader
from limner.training.estimate import Budget, TimeLeft
from limner.training.grids import GRIDS, is_due, steps_between
from limner.training.health import CollapseWatch
from limner.training.log import Means, RunLog
from limner.training.players import AllReduce, Statistics, Turn
from limner.training.progress import spoken
from limner.training.signals import StopRequest

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass
class Position:
    """Where a run stands: what a checkpoint holds beside the weights."""

    stage: int = 0
    step: int = 0
    """Steps done in this stage."""
    total_step: int = 0
    """Steps done in all stages."""
    seconds: float = 0.0
    """Time spent in this stage, over all its runs."""
    best: float | None = None
    """The highest score that an evaluation has given, where one chooses what is kept."""
    finished: bool = False

    def next_stage(self) -> None:
        """Stand at the start of the next stage."""
        self.stage, self.step, self.seconds = self.stage + 1, 0, 0.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One phase of one method, with its budget resolved."""

    name: str
    """Which of the run's methods it belongs to: "text", "method" or "style"."""
    method: Method
    phase: Phase
    steps: int
    minutes: float | None = None
    evaluate_every: int = 0
    """Steps between two evaluations; 0 for none."""

    @property
    def budget(self) -> Budget:
        """What ends it."""
        return Budget(steps=self.steps, batch_size=self.phase.batch_size, minutes=self.minutes)

    def players(self) -> dict[str, Player]:
        """Who is trained in this phase."""
        players = self.method.players()
        return players if self.phase.players is None else {name: players[name] for name in self.phase.players}

    def turns(self, settings: TrainingSettings, fabric: Fabric, before: Mapping[str, Turn] | None = None) -> dict[str, Turn]:
        """Their turns, ready to train on this device; those of `before` go on as they are."""
        statistics = Statistics(self.method)
        all_reduce = mean_over_processes(fabric)
        turns = dict(before or {})
        for turn in turns.values():
            turn.statistics = statistics
        for name, player in self.players().items():
            if name not in turns:
                turns[name] = Turn(player, statistics, ema_half_life=settings.ema_half_life, all_reduce=all_reduce)
        return turns


def mean_over_processes(fabric: Fabric) -> AllReduce | None:
    """Averages a tensor over all processes; None where there is one alone."""

    def mean(value: Tensor) -> Tensor:
        result = fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(result, Tensor)
        return result

    return mean if fabric.world_size > 1 else None


@dataclass
class Trainer:
    """Runs stages. `save` writes a checkpoint; `sample` paints a grid and `evaluate` scores, and both return figures for the log.

    None of the three raises for what goes wrong in it.
    """

    settings: TrainingSettings
    fabric: Fabric
    log: RunLog
    stop: StopRequest
    save: Callable[[], None]
    sample: Callable[[], dict[str, float]]
    evaluate: Callable[[], dict[str, float]] = dict
    stages: Sequence[Stage] = ()
    """All of the run's, for the time that it will take."""
    _means: Means = field(default_factory=Means)
    _watch: CollapseWatch = field(default_factory=CollapseWatch)

    def train(self, stage: Stage, loader: Loader, turns: Mapping[str, Turn], position: Position) -> bool:
        """Train a stage from where it stands to its end; returns False where it was asked to stop before. The caller saves what is reached.

        A step is a function of (seed, step): its batch, its noise and what layers draw depend on nothing that came before but the weights.
        """
        settings = self.settings
        stage.method.train()
        self._left = self._time_left(stage, position)
        self.log.begin(stage.phase.name, self._left)
        before, first, clock = position.seconds, position.step, Stopwatch(position.step)
        written = drawn = evaluated = saved = position.step
        while not self._is_over(stage, position):
            step = position.step
            torch.manual_seed(int(random.hash64(settings.seed, "layers", stage.name, step, self.fabric.global_rank) >> 1))
            batch = loader.batch(step)
            self._play(stage, batch, turns, self._progress(stage, loader, step), check=self.fabric.world_size > 1 and step - first < 3)
            position.step, position.total_step = step + 1, position.total_step + 1
            position.seconds = before + clock.total()
            self._left.stepped(position.step, position.seconds)
            self.log.advance()
            if position.step % settings.log_every == 0 or position.step == stage.steps:
                self._write(stage, loader, position, clock)
                written = position.step
            with clock.paused():  # what is reached is saved before anything looks at it, and after an evaluation that has kept a state
                if due := position.step % settings.checkpoint_every == 0:
                    self._save()
                    saved = position.step
                if self._is_over(stage, position):
                    break
                if self._grid_is_due(stage, position, drawn):
                    self._sample(stage, loader, turns, position)
                    drawn = position.step
                if stage.evaluate_every and position.step % stage.evaluate_every == 0:
                    self._evaluate(stage, loader, position)
                    evaluated = position.step
                    if due:
                        self._save()
        if position.step != written and self._time_is_up(stage, position):
            self._write(stage, loader, position, clock)
        if position.step != saved:
            self._save()
        if position.step != drawn:
            self._sample(stage, loader, turns, position)
        asked = self._asked_to_stop(0)  # 0: asked of all processes, so that none goes on alone
        if stage.evaluate_every and position.step != evaluated and (position.step % stage.evaluate_every == 0 or not asked):
            self._evaluate(stage, loader, position)
        whole = not self._asked_to_stop(0)
        self.log.end(self._how_it_ended(stage, position))
        return whole

    def _play(self, stage: Stage, batch: Any, turns: Mapping[str, Turn], progress: Progress, check: bool) -> None:
        """One step of the method: each update it yields is taken before it goes on."""
        updates = stage.method.training_step(batch, progress)
        while True:
            with self.fabric.autocast():
                update = next(updates, None)
            if update is None:
                return
            if check:
                self._compare_processes(update.player)
            turn = turns[update.player]
            skipped = turn.take(update.loss, progress, stage.phase.batch_size)
            loss = torch.where(skipped > 0, 0.0, update.loss.detach().float())
            figures = {"loss": loss, "gradient_norm": turn.gradient_norm, "skipped": skipped, **update.metrics}
            self._means.add({f"{update.player}/{name}": value for name, value in figures.items()})

    def _progress(self, stage: Stage, loader: Loader, step: int) -> Progress:
        images = step * stage.phase.batch_size
        return Progress(phase=stage.phase.name, step=step, steps=stage.steps, images=images, epoch=step / loader.steps_per_epoch)

    def _write(self, stage: Stage, loader: Loader, position: Position, clock: Stopwatch) -> None:
        means = self._means.read(mean_over_processes(self.fabric))
        steps, seconds = clock.lap(position.step)
        speed = steps * stage.phase.batch_size / max(seconds, 1e-9)
        left_out = {}
        for player in [name.removesuffix("/skipped") for name in means if name.endswith("/skipped")]:
            share = means.pop(f"{player}/skipped")
            if share:
                left_out[f"{player}/skipped"] = round(share, 6)
                self.log.skipped(round(share * self._means.counts[f"{player}/skipped"]))
            self._judge_skipped(player, share, position)
        line = self._place(stage, loader, position) | {"images_per_second": round(speed, 1)}
        self.log.write(line | {name: value if math.isfinite(value) else None for name, value in means.items()} | left_out)

    @staticmethod
    def _place(stage: Stage, loader: Loader, position: Position) -> dict[str, Any]:
        """Where a line of the log stands."""
        return {
            "phase": stage.phase.name,
            "stage": stage.name,
            "step": position.step,
            "total_step": position.total_step,
            "images": position.step * stage.phase.batch_size,
            "epoch": round(position.step / loader.steps_per_epoch, 4),
            "seconds": round(position.seconds, 2),
        }

    def _sample(self, stage: Stage, loader: Loader, turns: Mapping[str, Turn], position: Position) -> None:
        with self._left.doing("sample"):
            figures = self.sample()
        self.log.sampled(self._place(stage, loader, position), figures)
        warning = self._watch.judge(figures, max((turn.updates for turn in turns.values() if turn.player.averaged), default=0))
        if warning:
            self.log.say(f"warning: {warning}")

    def _evaluate(self, stage: Stage, loader: Loader, position: Position) -> None:
        with self._left.doing("evaluate"):
            figures = self.evaluate()
        self.log.evaluated(self._place(stage, loader, position), figures)

    def _save(self) -> None:
        with self._left.doing("save"):
            self.save()

    def _time_left(self, stage: Stage, position: Position) -> TimeLeft:
        settings = self.settings
        side_work = {
            "sample": steps_between(stage.steps, settings.sample_every),
            "evaluate": stage.evaluate_every,
            "save": settings.checkpoint_every,
        }
        later = [other.budget for other in self.stages[position.stage + 1 :]]
        return TimeLeft(stage.budget, later, step=position.step, seconds=position.seconds, side_work=side_work)

    def _how_it_ended(self, stage: Stage, position: Position) -> str:
        """What ended a phase, in words."""
        place, took = f"step {position.step:,} of {stage.steps:,}", f"after {spoken(position.seconds)} of training"
        if position.step >= stage.steps:
            return f"all {stage.steps:,} steps done {took}"
        if self.stop.signal is not None:
            return f"stopped by {signal.Signals(self.stop.signal).name} at {place} {took}"
        own, whole = stage.minutes or 0.0, self.settings.minutes or 0.0
        part = "" if own == whole else f" (this phase's part: {own:.3g})"
        return f"stopped by --training.minutes {whole:g}{part} at {place} {took}"

    def _judge_skipped(self, player: str, share: float, position: Position) -> None:
        if share >= 1.0:
            raise TrainingError(
                f"every update of the {player} before step {position.step} had a loss or gradient that is not finite: "
                "the weights are as they were; go on from the last checkpoint with --resume and a lower learning rate"
            )
        if share > 0:
            self.log.say(
                f"warning: {share:.1%} of the {player}'s updates before step {position.step} were left out: loss or gradient not finite"
            )

    def _grid_is_due(self, stage: Stage, position: Position, drawn: int) -> bool:
        """By the number of steps; the first one of a phase that the clock may end also by the clock."""
        every = self.settings.sample_every
        if is_due(position.step, stage.steps, every):
            return True
        if every is not None or stage.minutes is None or drawn > 0:
            return False
        return self._any(position.step, position.seconds >= stage.minutes * 60 / GRIDS)

    def _is_over(self, stage: Stage, position: Position) -> bool:
        return position.step >= stage.steps or self._time_is_up(stage, position) or self._asked_to_stop(position.step)

    def _time_is_up(self, stage: Stage, position: Position) -> bool:
        return stage.minutes is not None and self._any(position.step, position.seconds >= stage.minutes * 60)

    def _asked_to_stop(self, step: int) -> bool:
        asked = self._any(step, self.stop.signal is not None)
        if asked and self.stop.signal is None:
            self.stop.signal = 15  # another process was told to stop
        return asked

    def _any(self, step: int, value: bool) -> bool:
        """Whether it is so in any process; with several they ask each other every tenth step, so that all leave the loop together."""
        if self.fabric.world_size == 1:
            return value
        if step % 10:
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


class Stopwatch:
    """Time spent training, pauses left out: in all, and since the last lap."""

    def __init__(self, step: int) -> None:
        self._start = self._lap_start = time.monotonic()
        self._lap_step = step

    def total(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def lap(self, step: int) -> tuple[int, float]:
        """Steps and seconds since the last lap, which ends here."""
        now = time.monotonic()
        result = step - self._lap_step, now - self._lap_start
        self._lap_step, self._lap_start = step, now
        return result

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time of the block."""
        begin = time.monotonic()
        yield
        pause = time.monotonic() - begin
        self._start += pause
        self._lap_start += pause
