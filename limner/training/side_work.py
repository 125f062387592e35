"""What a run does besides training: sample grids and evaluations. They look at the model, change nothing of it, and never end the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from limner.core.abilities import TellsStories
from limner.core.errors import in_words
from limner.core.files import save_whole
from limner.core.method import Method
from limner.core.trainable import Trainable
from limner.data.sheet import caption_grid
from limner.features.network import to_bytes
from limner.model import Model
from limner.nn.uncompiled import uncompiled
from limner.training.evaluation import Evaluator, make_evaluator
from limner.training.grids import grid_name
from limner.training.plan import PlannedPhase
from limner.training.players import painting
from limner.training.samples import PICTURES, SampleGrid
from limner.training.validation import Validation

if TYPE_CHECKING:
    from limner.training.run import Run

TOO_EARLY = 0.25
"""Share of a painting phase's budget before which no state is chosen: a model that is turned to another set begins with scores that it
loses at first."""


class SideWork:
    """The side work of one process; only the first has any, and the others wait for it.

    All that it needs is chosen, opened and tried before training begins. remarks: what is to be said of that. Raises LimnerError for an
    evaluation that was asked for and cannot be.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.remarks: list[str] = []
        self.evaluator: Evaluator | None = None
        self.grid: SampleGrid | None = None
        self.validation: Validation | None = None
        if run.fabric.global_rank == 0:
            self.evaluator = make_evaluator(run.recipe, run.plan)
            self.validation = Validation(run)
            self.grid = self._make_grid()
            self.remarks += [made.remark for made in (self.evaluator, self.validation, self.grid) if made is not None and made.remark]

    def _make_grid(self) -> SampleGrid | None:
        run = self.run
        if not any(planned.paints for planned in run.plan.phases):
            return None
        try:
            trained = run.plan.asked_for.trained
            return SampleGrid(run.recipe, run.pictures, run.plan.encoder, trained.frames if isinstance(trained, TellsStories) else 0)
        except Exception as error:
            self.remarks.append(f"there will be no sample grid: {in_words(error)}")
            return None

    def sample(self) -> dict[str, float]:
        """Paint the sample grid with the averaged weights. Returns how much its pictures differ, for the log."""
        return self._aside("the sample grid", self._sample)

    def evaluate(self) -> dict[str, float]:
        """Score what is being trained; of a matching model, keep the best. Returns the figures for the log."""
        figures = self._aside("the evaluation", self._evaluate)
        if self.run.now.phase.patience and self.run.fabric.world_size > 1:
            position = self.run.position
            shared = self.run.fabric.broadcast((position.best, position.best_step, position.since_best))
            position.best, position.best_step, position.since_best = shared
        return figures

    def _aside(self, what: str, work: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Do what may fail: that is said then, and all processes go on together."""
        figures: dict[str, float] = {}
        try:
            figures = work()
        except Exception as error:
            step = self.run.position.total_step
            self.run.log.say(f"warning: {what} after step {step:,} failed ({in_words(error)}): training goes on")
        self.run.fabric.barrier()
        return figures

    def _sample(self) -> dict[str, float]:
        if not self.run.now.paints:
            self._preview(self.run.now)
            return {}
        if self.grid is None:
            return {}
        with self._painter() as model:
            pictures = self.grid.paint(model)
        grid = self.grid
        self._write(lambda path: grid.save(pictures, path))
        return grid.diversity(pictures)

    def _preview(self, planned: PlannedPhase) -> None:
        """What a phase that does not paint shows of the first pictures it trains on: these above, what it makes of them below."""
        run = self.run
        if run.loader is None or run.fabric.global_rank:
            return
        batch = run.loader.batch(0)
        with torch.random.fork_rng(devices=[]), torch.no_grad(), self._at_rest(planned.trained), painting(run.players):
            shown = planned.trained.preview(batch)
        if shown is None:
            return
        most = min(len(batch), PICTURES)
        rows = [to_bytes(images[:most]).permute(0, 2, 3, 1).cpu().numpy() for images in (batch.pictures, *shown.stages, shown.images)]
        grid = caption_grid([list(row) for row in rows], ["pictures", *[""] * (len(rows) - 2), "preview"])
        self._write(lambda path: save_whole(grid, path))

    def _write(self, save: Callable[[Path], None]) -> None:
        """Write a grid of the present step."""
        run = self.run
        path = run.out / "samples" / grid_name(run.position.phase, run.now.phase.name, run.position.step)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path)
            run.log.painted(path)
        except OSError as error:
            run.log.say(f"warning: could not write {path} ({error}): training goes on, free some space")

    def _evaluate(self) -> dict[str, float]:
        run, planned = self.run, self.run.now
        if run.fabric.global_rank:
            return {}
        scores: dict[str, float] = {}
        if planned.paints and self.evaluator is not None and run.recipe.evaluation.every:
            with self._painter() as model:
                scores = self.evaluator.painting(model, run.out / "evaluation.json")
        figures = self._validated(planned)
        if figures is not None:
            self._judge(planned, figures["score"])
        return {name: value for name, value in (scores | (figures or {})).items() if math.isfinite(value)}

    def _validated(self, planned: PlannedPhase) -> dict[str, float] | None:
        """What held-out pictures say of what is trained; its "score" chooses the state that is kept."""
        with self._at_rest(planned.trained), painting(self.run.players):
            if self.evaluator is not None and planned.act.is_asked_for and not planned.paints:
                return planned.trained.validate(self.evaluator.pictures)
            return None if self.validation is None else self.validation.figures()

    def _judge(self, planned: PlannedPhase, score: float) -> None:
        """Keep the state that has this score, if it is the best so far."""
        run, position = self.run, self.run.position
        if planned.phase.patience and planned.paints and position.share(planned) < TOO_EARLY:
            return
        if not math.isfinite(score) or (position.best is not None and score <= position.best):
            position.since_best += 1
            return
        position.best, position.best_step, position.since_best = score, position.step, 0
        run.best.keep()

    @contextmanager
    def _at_rest(self, trained: Trainable) -> Iterator[None]:
        """In evaluation mode within the block; afterwards training goes on as before."""
        training = trained.training
        trained.eval()
        try:
            yield
        finally:
            trained.train(training)

    @contextmanager
    def _painter(self) -> Iterator[Model]:
        """The model as it would be shared now. Training goes on as if nothing had been, whatever happens meanwhile."""
        run, method = self.run, self.run.now.trained
        assert isinstance(method, Method)
        requires_grad = [parameter for parameter in method.parameters() if parameter.requires_grad]
        try:
            with uncompiled(), painting(run.players):
                yield Model(method, run.plan.encoder)
        finally:
            for parameter in requires_grad:
                parameter.requires_grad_(True)
            method.train()
