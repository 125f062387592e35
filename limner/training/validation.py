"""Held-out figures that choose the state of a phase which is kept, and may end it early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from limner.core.batch import Batch
from limner.core.errors import LimnerError, in_words
from limner.core.pictures import CaptionedPictures
from limner.data.catalog import open_data
from limner.training.batches import held_out_batches
from limner.training.evaluation import GARDEN_PICTURES
from limner.training.readable import readable

if TYPE_CHECKING:
    from limner.training.run import Run

FEWEST = 8
"""Captioned pictures of the val split below which its figures say nothing."""


class Validation:
    """What `Trainable.validate_batches` says of the val split, phase by phase. Only the first process has one.

    Phases with patience alone are validated so. remark: why they cannot be, or None.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.remark: str | None = None
        self._pictures: CaptionedPictures | None = None
        self._batches: tuple[int, list[Batch]] | None = None  # of which phase
        wanted = [planned for planned in run.plan.phases if planned.phase.patience and planned.evaluate_every]
        if wanted:
            self._open(" and ".join(planned.phase.name for planned in wanted))

    def _open(self, phases: str) -> None:
        recipe, why = self.run.recipe, ""
        if recipe.data_settings.trainval:
            why = "data.trainval trains on the val split"
        else:
            try:
                self._pictures = open_data(recipe.data, "val", recipe.resolution, recipe.data_settings, length=GARDEN_PICTURES)
            except LimnerError as error:
                why = in_words(error)
        if self._pictures is not None and (count := int((self._pictures.caption_counts > 0).sum())) < FEWEST:
            why, self._pictures = f"the val split has {count} captioned pictures, and {FEWEST} are the fewest", None
        if why:
            self.remark = f"warning: no validation, so {phases} will not end early, and the newest state is kept: {why}"

    def figures(self) -> dict[str, float] | None:
        """Figures of what is trained now, in evaluation mode and with the weights that it has; None where there is nothing to say."""
        run, number = self.run, self.run.position.phase
        if self._pictures is None or not run.now.phase.patience:
            return None
        if self._batches is None or self._batches[0] != number:
            pictures, _ = readable(self._pictures, run.now.act.encoder)
            self._batches = number, held_out_batches(run.now, run.recipe, pictures, run.fabric.device)
        with torch.random.fork_rng(), torch.no_grad(), run.fabric.autocast():
            return run.now.trained.validate_batches(self._batches[1])
