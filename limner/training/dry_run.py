"""What a recipe would do, from two real steps of each of its phases: `limner train ... --dry-run`. Nothing is written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from limner.core import random
from limner.core.errors import LimnerWarning
from limner.core.pictures import CaptionedPictures
from limner.core.recipes import recipe_text
from limner.core.settings import Recipe
from limner.core.trainable import Progress
from limner.training.accumulation import refuse_coupled_rows
from limner.training.adoption import adopt
from limner.training.batches import make_loader
from limner.training.choices import prepare_networks, settled
from limner.training.launch import launch
from limner.training.log import RunLog
from limner.training.memory import most_memory
from limner.training.plan import Plan, PlannedPhase, make_plan, training_pictures
from limner.training.processes import Processes
from limner.training.progress import spoken
from limner.training.signals import StopRequest
from limner.training.trainer import Trainer

STEPS = 2
"""Real steps of each phase: the first warms up caches and compilers, the last is timed."""


@dataclass(frozen=True)
class Measured:
    """What two steps of a phase took. seconds: of the last one; memory: the most of the process, or of the GPU, until then, in MiB."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Rehearsal:
    """A recipe, settled and planned on this device, with nothing trained yet. adopted: what is said of networks taken from elsewhere."""

    recipe: Recipe
    fabric: Processes
    pictures: CaptionedPictures
    plan: Plan
    adopted: list[str]

    def measured(self) -> Iterator[tuple[PlannedPhase, Measured]]:
        """Take two real steps of each phase, one phase after another."""
        training = self.recipe.training
        trainer = Trainer(training, self.fabric, RunLog(Path("nowhere"), quiet=True), StopRequest(), save=lambda: None, sample=dict)
        for planned in self.plan.phases:
            first = next(other for other in self.plan.phases if other.act is planned.act)  # which the plan has prepared
            yield planned, _measured(planned, self, trainer, prepared=planned is first)


def rehearse(recipe: Recipe) -> Rehearsal:
    """Settle and plan a recipe. Raises LimnerError for what could not be trained."""
    recipe = settled(recipe, None)
    fabric = launch(recipe)
    torch.manual_seed(recipe.training.seed)
    pictures = training_pictures(recipe)
    plan = make_plan(recipe, pictures, fabric.device, fabric.world_size)
    if recipe.training.micro_batch:
        refuse_coupled_rows(plan.asked_for.trained)
    return Rehearsal(recipe, fabric, pictures, plan, adopt(plan.asked_for, recipe))


def dry_run(recipe: Recipe) -> Iterator[str]:
    """Lines that say what training would be, for a person to read. Raises LimnerError for what could not be trained."""
    rehearsal = rehearse(recipe)
    yield "# recipe.yaml"
    yield recipe_text(rehearsal.recipe).rstrip()
    yield ""
    for act in rehearsal.plan.acts:
        for name, player in act.trained.players().items():
            count = sum(value.numel() for value in player.module.parameters())
            paints = ", averaged" if player.averaged else ""
            optimizer = f"{type(player.optimizer).__name__} at {player.optimizer.learning_rate:g}"
            yield f"player  {act.name}: {name}, {count:,} parameters, {optimizer}{paints}"
    yield from (f"phase   {line}" for line in rehearsal.adopted)
    whole, most = 0.0, 0
    for planned, found in rehearsal.measured():
        seconds = planned.budget.seconds(found.seconds / planned.phase.batch_size, torch.get_num_threads())
        whole, most = whole + seconds, max(most, found.memory)
        ends = f"{planned.steps:,} steps"
        ends += f" or {planned.minutes:.3g} minutes" if planned.minutes is not None else ""
        ends += f" or {planned.core_minutes:.3g} minutes of processor time" if planned.core_minutes is not None else ""
        yield (
            f"phase   {planned.act.name}: {planned.phase.name}, {ends} of {planned.phase.batch_size} pictures of "
            f"{planned.phase.resolution} px; a step takes {found.seconds:.3g} s, the phase about {spoken(seconds)}; "
            f"{found.memory:,} MiB at most so far"
        )
    yield f"in all  about {spoken(whole)} and {most:,} MiB here, without grids, evaluations and checkpoints; nothing was written"


def _measured(planned: PlannedPhase, rehearsal: Rehearsal, trainer: Trainer, *, prepared: bool) -> Measured:
    """Take two steps of a phase."""
    recipe, fabric, pictures, seconds = rehearsal.recipe, rehearsal.fabric, rehearsal.pictures, 0.0
    if not prepared:
        planned.trained.prepare(planned.phase, pictures)
    planned.begin()
    prepare_networks(planned.trained, recipe.training)
    players = planned.trainings(recipe.training, fabric)
    loader = make_loader(planned, recipe, pictures, fabric)
    planned.trained.train()
    for step in range(STEPS):
        torch.manual_seed(int(random.hash64(recipe.training.seed, "layers", planned.act.name, step, 0) >> 1))
        begun = time.perf_counter()
        images, epoch = step * planned.phase.batch_size, step / planned.steps_per_epoch
        progress = Progress(phase=planned.phase.name, step=step, steps=planned.steps, images=images, epoch=epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LimnerWarning)  # of codes that are not in use, for example: after two steps they never are
            trainer.play(planned, loader.batch(step), players, progress)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
    return Measured(seconds, most_memory(fabric.device))
