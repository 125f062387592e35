"""What a run does beside training: sample grids and evaluations. They look at the model, change nothing of it, and never end the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from limner.core.errors import in_words
from limner.matching.model import MatchingModel
from limner.model import Model
from limner.nn.uncompiled import uncompiled
from limner.training.evaluation import Evaluator, make_evaluator
from limner.training.grids import grid_name
from limner.training.players import painting
from limner.training.samples import SampleGrid
from limner.training.trainer import Stage

if TYPE_CHECKING:
    from limner.training.run import Run


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
        if run.fabric.global_rank == 0:
            self.evaluator = make_evaluator(run.recipe, run.method, run.stages, run.encoder)
            self.grid = self._make_grid()
            self.remarks += [made.remark for made in (self.evaluator, self.grid) if made is not None and made.remark]

    def _make_grid(self) -> SampleGrid | None:
        run = self.run
        if not any(map(paints, run.stages)):
            return None
        try:
            return SampleGrid(run.recipe, run.pictures, run.encoder)
        except Exception as error:
            self.remarks.append(f"there will be no sample grid: {in_words(error)}")
            return None

    def sample(self) -> dict[str, float]:
        """Paint the sample grid with the averaged weights. Returns how much its pictures differ, for the log."""
        return self._aside("the sample grid", self._sample)

    def evaluate(self) -> dict[str, float]:
        """Score what is being trained; of a matching model, keep the best. Returns the figures for the log."""
        return self._aside("the evaluation", self._evaluate)

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
        run = self.run
        stage = run.stages[run.position.stage]
        if self.grid is None or not paints(stage):
            return {}
        with self._painter() as model:
            pictures = self.grid.paint(model)
        path = run.out / "samples" / grid_name(run.position.stage, stage.phase.name, run.position.step)
        try:
            self.grid.save(pictures, path)
            run.log.painted(path)
        except OSError as error:
            path.unlink(missing_ok=True)
            run.log.say(f"warning: could not write {path} ({error}): training goes on, free some space")
        return self.grid.diversity(pictures)

    def _evaluate(self) -> dict[str, float]:
        run = self.run
        if self.evaluator is None:
            return {}
        if not isinstance(run.method, MatchingModel):
            with self._painter() as model:
                return self.evaluator.painting(model, run.out / "evaluation.json")
        figures = self.evaluator.matching(run.method)
        if run.position.best is None or figures["score"] > run.position.best:
            run.write_matching(figures["score"])
            run.position.best = figures["score"]
        return figures

    @contextmanager
    def _painter(self) -> Iterator[Model]:
        """The model as it would be shared now. Training goes on as if nothing had been, whatever happens meanwhile."""
        run = self.run
        requires_grad = [parameter for parameter in run.method.parameters() if parameter.requires_grad]
        try:
            with uncompiled(), painting(run.turns):
                yield Model(run.method, run.encoder)
        finally:
            for parameter in requires_grad:
                parameter.requires_grad_(True)
            run.method.train()


def paints(stage: Stage) -> bool:
    """Whether somebody who is trained in this phase paints."""
    return any(player.averaged for player in stage.method.players().values())
