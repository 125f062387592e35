"""What is said when a run on one's own pictures begins: how long all of it will take, and what its set or its budget is too small for."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from limner.core.errors import LimnerWarning
from limner.core.trainable import Progress
from limner.data.captions import CaptionFeatures
from limner.data.catalog import BUILT_IN
from limner.data.loader import Loader
from limner.training.batches import kept_counterfactuals
from limner.training.log import RunLog
from limner.training.plan import PlannedPhase
from limner.training.presets import SMALL
from limner.training.signals import StopRequest
from limner.training.trainer import Trainer

if TYPE_CHECKING:
    from limner.training.run import Run

FEWEST_PICTURES = 50
"""Training pictures below which a painter learns them by heart."""
FEWEST_STEPS, ENOUGH_STEPS = 1000, 2000
"""Steps of a painter below which its pictures are fog (300 steps of 16 pictures were), and from which on they show shapes."""
STEPS = 2
"""Steps of each act that are taken to tell its time, on a copy: the first warms up, the last is timed."""
SHORTEST = 100
"""A run of fewer steps in all is not worth an estimate."""


def outset(run: Run) -> list[str]:
    """Lines for the user; none on built-in sets, which have no end. Nothing of the run is changed."""
    if run.recipe.data in BUILT_IN:
        return []
    seconds = _seconds_a_picture(run)
    lines = [] if seconds is None else [whole_run([(one, _lasts(one, each)) for one, each in zip(run.plan.phases, seconds, strict=True)])]
    return [*lines, *_advice(run, seconds)]


def whole_run(phases: Sequence[tuple[PlannedPhase, float]]) -> str:
    """ "about 14 minutes: words 2, paint 12" of phases with their seconds."""
    total = sum(seconds for _, seconds in phases)
    unit, size = next((unit, size) for unit, size, most in UNITS if total < most)
    painting = sum(one.paints for one, _ in phases)
    parts = []
    for one, seconds in phases:
        name = "words" if one.act.name == "text" else "paint" if one.paints and painting == 1 else one.phase.name
        parts.append(f"{name} {_rounded(seconds / size)}")
    early = "; less where the val split ends a phase early" if any(one.phase.patience and one.evaluate_every for one, _ in phases) else ""
    return f"about {_rounded(total / size)} {unit}: {', '.join(parts)} (by two steps of each, grids and checkpoints aside){early}"


UNITS = (("seconds", 1.0, 100.0), ("minutes", 60.0, 6000.0), ("hours", 3600.0, float("inf")))
"""What a time is said in: its name, its seconds, and up to how many seconds it is used."""


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 9.5 else f"{value:.1f}".removesuffix(".0")


def _lasts(planned: PlannedPhase, seconds: float) -> float:
    return planned.budget.seconds(seconds, torch.get_num_threads())


def _seconds_a_picture(run: Run) -> list[float] | None:
    """What a picture takes in each phase: measured in the first phase of each act, and taken to be alike in the others. None where that
    cannot be known cheaply: with several processes, with networks that are to be compiled, and for short runs."""
    alone = run.fabric.world_size == 1 and run.training.compile == "nothing"
    if not alone or sum(planned.steps for planned in run.plan.phases) < SHORTEST:
        return None
    device = run.fabric.device
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore", LimnerWarning)
            phases = copy.deepcopy(run.plan).phases
            first = {planned.act.name: planned for planned in reversed(phases)}
            known = {name: _measured(planned, run) for name, planned in first.items()}
    except Exception:  # an estimate ends no run, and training will say what is wrong
        return None
    finally:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
    return [known[planned.act.name] for planned in phases]


def _measured(planned: PlannedPhase, run: Run) -> float:
    """Seconds a picture of a step of a phase, the reading of captions aside."""
    recipe, fabric, phase = run.recipe, run.fabric, planned.phase
    features = None
    if phase.encoded:  # word by word: without reading every caption of the set first
        kept = kept_counterfactuals(phase, recipe)
        features = CaptionFeatures(planned.act.encoder, run.pictures, words=True, counterfactuals=kept, device=fabric.device)
    loader = Loader(run.pictures, phase, seed=recipe.training.seed, device=fabric.device, features=features)
    planned.trained.begin(phase)
    players = planned.trainings(recipe.training, fabric)
    planned.trained.train()
    trainer = Trainer(recipe.training, fabric, RunLog(Path("nowhere"), quiet=True), StopRequest(), save=lambda: None, sample=dict)
    seconds = 0.0
    for step in range(STEPS):
        batch = loader.batch(step)
        begun = time.perf_counter()
        images = step * phase.batch_size
        trainer.play(planned, batch, players, Progress(phase=phase.name, step=step, steps=planned.steps, images=images, epoch=0.0))
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        seconds = time.perf_counter() - begun
    return seconds / phase.batch_size


def _advice(run: Run, seconds: Sequence[float] | None) -> Iterator[str]:
    """What the set or the budget is too small for, and what would be better."""
    recipe, phases = run.recipe, run.plan.phases
    painting = [place for place, planned in enumerate(phases) if planned.paints and planned.act.is_asked_for]
    if not painting:
        return
    count = int((run.pictures.caption_counts > 0).sum()) if run.plan.encoder.reads else len(run.pictures)
    if count < FEWEST_PICTURES:
        yield (
            f"warning: {count} training pictures are too few to learn from: what is painted will be copies and mixtures of them; "
            f"{FEWEST_PICTURES} are the least, and some hundred are better"
        )
    if count < SMALL and recipe.preset != "small-set" and "small-set" in run.plan.asked_for.trained.presets:
        yield f"{count:,} training pictures: {recipe.method} has a preset for sets of {FEWEST_PICTURES} to {SMALL:,}, --preset small-set"
    last, whole, training = phases[painting[-1]], recipe.training.epoch_pictures, recipe.training
    limits = training.steps, training.epochs, training.images, last.phase.steps, last.phase.images
    if count < whole and all(limit is None for limit in limits):
        yield (
            f"{count:,} training pictures: an epoch counts as one of {whole:,}, so that {last.phase.name} takes {last.steps:,} steps at "
            "most (--training.epochs counts passes over what there is)"
        )
    steps = sum(_reached(phases[place], None if seconds is None else seconds[place]) for place in painting)
    if steps < FEWEST_STEPS:
        given = {
            "minutes": "--training.minutes",
            "core_minutes": "--training.core-minutes",
            "images": "--training.images",
            "steps": "--steps",
        }
        ends = next((option for name, option in given.items() if getattr(recipe.training, name) is not None), "--training.epochs")
        yield (
            f"warning: about {steps:,} steps are too few to paint more than coloured fog: from {ENOUGH_STEPS:,} on pictures show shapes; "
            f"raise {ends}"
        )


def _reached(planned: PlannedPhase, seconds: float | None) -> int:
    """How many steps a phase will take, as far as that is known."""
    if not planned.ends_by_time or seconds is None:
        return planned.steps
    lasts = planned.budget.seconds(seconds, torch.get_num_threads())
    return min(planned.steps, round(lasts / max(seconds * planned.phase.batch_size, 1e-9)))
