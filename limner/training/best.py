"""The best state that the validation of a phase has seen: it is the run's model, and what comes after the phase goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from limner.core import folder
from limner.core.errors import in_words
from limner.training.plan import PlannedPhase
from limner.training.players import painting

if TYPE_CHECKING:
    from limner.training.run import Run


class Best:
    """The best state of the phase that a run is in, in the first process; `Position` says of which step it is."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.state: dict[str, Tensor] | None = None
        """Its tensors, where they are needed again; those that paint are averaged ones."""
        self.unwritten = False
        """Whether the model could not be written when this state was found."""

    def keep(self) -> None:
        """What is trained now is the best: write the model of it, and remember it where another act builds on it, now or later.

        A model that cannot be written now is written with a later checkpoint, from what is remembered.
        """
        run, self.unwritten = self.run, False
        if run.now.phase.patience and self._is_handed_on():
            self.state = self._copy()
        if not run.now.writes:
            return
        try:
            run.write_folder()
        except Exception as error:  # whatever it is, the state is there, and the next checkpoint tries again
            self.state, self.unwritten = self.state or self._copy(), True
            run.log.say(
                f"warning: the best state so far is not in {run.out / 'model'} yet ({in_words(error)}): the next checkpoint tries again"
            )

    def write(self) -> None:
        """Write the model of a state that could not be written when it was found."""
        self.run.write_folder()
        self.unwritten = False
        if not self.run.now.phase.patience:
            self.state = None

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block, a best state that is not written yet takes the place of what is trained."""
        if self.state is None or not self.unwritten:
            yield
            return
        trained = self.run.now.trained
        newest = {name: value.detach().clone() for name, value in trained.state_dict().items()}
        trained.load_state_dict(self.state)
        try:
            yield
        finally:
            trained.load_state_dict(newest)

    def hand_on(self, ended: PlannedPhase, *, judged: bool) -> None:
        """Let what the ended phase has trained be its best state, in every process. judged: whether a validation has chosen one."""
        best, self.state, self.unwritten = self.run.fabric.broadcast(self.state), None, False
        if best is not None:
            ended.trained.load_state_dict(best)
        elif judged:  # the run was begun when checkpoints had no best state of a last phase: its model is the one copy
            saved = folder.read(self.run.out / "model", ended.trained.kind)
            ended.trained.load_state_dict(saved.part(ended.trained.kind), strict=False)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"best": self.state, "best_unwritten": self.unwritten}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint, or from one of a time when it held less."""
        self.state, self.unwritten = state.get("best"), state.get("best_unwritten", False)

    def _is_handed_on(self) -> bool:
        """Whether the phase is the last one of its act: a style encoder may still be asked for when the run is over."""
        after = self.run.plan.phases[self.run.position.phase + 1 :]
        return not after or after[0].act is not self.run.now.act

    def _copy(self) -> dict[str, Tensor]:
        with painting(self.run.players):
            return {name: value.detach().clone() for name, value in self.run.now.trained.state_dict().items()}
