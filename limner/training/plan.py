"""What a recipe asks for: a text encoder, a method or matching model, and the stages of training, each with its budget resolved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from limner.core.errors import SettingsError
from limner.core.method import Method
from limner.core.pictures import CaptionedPictures
from limner.core.recipes import trainable
from limner.core.settings import Recipe
from limner.core.trainable import Conditions, Phase
from limner.data.catalog import open_data
from limner.data.loader import Loader
from limner.matching.model import MatchingModel
from limner.parts.style import StyleInversion
from limner.parts.text import CaptionMatching, CaptionMatchingSettings
from limner.text.encoder import TextEncoder
from limner.training.text import choose_encoder, matching_settings, no_encoder, standardized
from limner.training.trainer import Stage

EVALUATIONS, FEWEST_STEPS = 20, 50
"""How often a matching model is evaluated, unless the recipe says otherwise, and the fewest steps between two times."""


@dataclass(frozen=True)
class Plan:
    """A run's networks and stages. Those of a matching model's text encoder are part of the model.

    style: what trains the style encoder in the last stage, or None.
    """

    encoder: TextEncoder
    method: Method
    stages: list[Stage]
    style: StyleInversion | None = None


def make_plan(recipe: Recipe, pictures: CaptionedPictures) -> Plan:
    """Build what a recipe asks for, with fresh weights. Raises LimnerError for what cannot be trained together."""
    made = trainable(recipe.method)
    stages: list[Stage] = []
    if issubclass(made, MatchingModel):
        if recipe.text.encoder is not None:
            raise SettingsError(f"{recipe.method} trains a text encoder of its own: leave text.encoder out")
        model = made.for_data(matching_settings(recipe), pictures, recipe.resolution)
        if recipe.text.maximum_words is not None:
            model.encoder.read_at_most(recipe.text.maximum_words)
        encoder, method = model.encoder, cast(Method, model)
    else:
        encoder, is_new = choose_encoder(recipe, pictures) if made.reads_text(recipe.method_settings) else (no_encoder(recipe), False)
        if recipe.text.standardize:
            if is_new:
                raise SettingsError("text.standardize is for a trained encoder, and this run trains its own: give text.encoder")
            encoder = standardized(encoder, pictures)
        conditions = Conditions(
            resolution=recipe.resolution,
            sentence_width=encoder.sentence_width,
            word_width=encoder.word_width,
            class_count=pictures.class_count,
        )
        if is_new:
            settings = CaptionMatchingSettings(sentence_width=recipe.text.width, steps=recipe.text.steps, batch_size=recipe.text.batch_size)
            matching = CaptionMatching(settings, conditions, encoder)
            stages += [_stage("text", matching, phase, recipe, pictures) for phase in matching.phases()]
        method = made(recipe.method_settings, conditions)
        method.read_captions(caption for index in range(len(pictures)) for caption in pictures.captions(index))
    stages += _stages_of(method, recipe, pictures)
    if not recipe.style.steps:
        return Plan(encoder, method, stages)
    # The style encoder is made last, so that the weights before it start as they would without one.
    style = StyleInversion(recipe.style, method, recipe.method)
    stages += [_stage("style", style, phase, recipe, pictures) for phase in style.phases()]
    return Plan(encoder, method, stages, style)


def _stages_of(method: Method, recipe: Recipe, pictures: CaptionedPictures) -> Iterator[Stage]:
    phases = method.phases()
    minutes, images, shares = recipe.training.minutes, recipe.training.images, sum(phase.share for phase in phases)
    for phase in phases:
        if recipe.training.batch_size:
            phase = dataclasses.replace(phase, batch_size=recipe.training.batch_size)
        part = phase.share / shares
        yield _stage(
            "method",
            method,
            phase,
            recipe,
            pictures,
            minutes=None if minutes is None else minutes * part,
            images=None if images is None else images * part,
            last=phase.name == phases[-1].name,
        )


def _stage(
    name: str,
    method: Method,
    phase: Phase,
    recipe: Recipe,
    pictures: CaptionedPictures,
    *,
    minutes: float | None = None,
    images: float | None = None,
    last: bool = False,
) -> Stage:
    training = recipe.training
    epochs = training.epochs if last and training.epochs is not None else phase.epochs
    steps = phase.steps if phase.steps is not None and not (last and training.epochs) else None
    steps_per_epoch = (int((pictures.caption_counts > 0).sum()) if phase.captions else len(pictures)) / phase.batch_size
    if steps is None:
        assert epochs is not None, f"phase {phase.name} has no budget"
        steps = max(1, math.ceil(epochs * steps_per_epoch))
    if training.steps is not None:
        steps = min(steps, training.steps)
    if images is not None:
        steps = min(steps, max(1, round(images / phase.batch_size)))
    every = recipe.evaluation.every
    between = 0
    if name == "method" and every:
        between = max(1, round(every * steps_per_epoch))
    elif name == "method" and every is None and isinstance(method, MatchingModel):
        between = max(FEWEST_STEPS, steps // EVALUATIONS)
    return Stage(name=name, method=method, phase=phase, steps=steps, minutes=minutes, evaluate_every=between)


def check_stages(stages: list[Stage], recipe: Recipe, pictures: CaptionedPictures, processes: int) -> None:
    """Refuse what could not be trained or evaluated, before anything is written."""
    for stage in stages:
        phase = stage.phase
        Loader(pictures, phase, seed=recipe.training.seed, processes=processes)
        if stage.name == "method" and phase.name == stage.method.phases()[0].name:
            stage.method.begin(phase)  # finds what it looks through, or says what is missing
        if phase.counterfactual and recipe.data_settings.counterfactuals < 1:
            raise SettingsError("the method asks for counterfactual captions: set data.counterfactuals to 1 or more")


def training_pictures(recipe: Recipe) -> CaptionedPictures:
    """The split that a recipe trains on."""
    if recipe.data_settings.trainval and recipe.data == "garden":
        raise SettingsError("data.trainval: the garden's val split has the train split's classes: leave it out")
    split = "train+val" if recipe.data_settings.trainval else "train"
    return open_data(recipe.data, split, recipe.resolution, recipe.data_settings)
