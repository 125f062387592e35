"""What `limner train`, `limner evaluate` and `limner compare` would refuse of a study, found before the first run is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limner.core.abilities import Inverts
from limner.core.errors import LimnerError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Recipe
from limner.data.catalog import BUILT_IN
from limner.features.network import FeatureNetwork
from limner.features.registry import load_feature_network
from limner.metrics.scoring.evaluate import ScoringRequest, Unprompted, check_request
from limner.metrics.scoring.matching import Placed
from limner.model.requests import check_caption
from limner.report.gallery import held_out
from limner.study.plan import Planned
from limner.study.settings import Study
from limner.study.state import standing
from limner.training.choices import settled
from limner.training.launch import check_device
from limner.training.plan import MATCHER, Plan, make_plan, training_pictures
from limner.training.scored import check_frames, reference

LOOKED_AT = 1024
"""Pictures of a built-in world that a plan is made with first: what makes one impossible rarely depends on how many there are."""


def check_runs(study: Study, runs: Sequence[Planned]) -> None:
    """Raise SettingsError for what could not be trained, scored or painted, in one line with the entry. Nothing is trained or written.

    Of each entry on each data set, one run that is not done is looked at: its networks are built on the CPU as for a training.
    """
    left = {(run.entry.title, run.recipe.data): run for run in reversed(runs) if standing(run, study.evaluation) != "done"}
    if not left:
        return
    asked = study.evaluation
    network = load_feature_network(asked.features) if asked.features else load_feature_network("garden")
    matching = Placed.load(asked.matching, "cpu") if asked.matching else None
    splits: dict[str, list[CaptionedPictures]] = {}
    has_page = len(study.entries) * len(study.seeds) > 1
    for run in reversed(left.values()):
        data = run.recipe.data
        if data not in splits:
            splits[data] = reference(data, asked.split, study.resolution)
            if has_page and study.comparison.captions is None:
                held_out(data, study.resolution, 8 * study.comparison.count)
        try:
            plan, pictures = _planned(run.recipe)
            _check_scores(study, plan, pictures, splits[data], network, matching)
            if has_page and not plan.encoder.reads:
                raise SettingsError("it reads no text, and the study's page paints captions: leave the entry out")
            for caption in study.comparison.captions or () if has_page else ():
                check_caption(plan.encoder, caption)
        except LimnerError as error:
            raise SettingsError(f"entry '{run.entry.title}' on {data}: {error}") from None


def _planned(recipe: Recipe) -> tuple[Plan, CaptionedPictures]:
    """The plan of a run on the CPU, and what it trains on: a part of a built-in world, where that is enough for a plan."""
    check_device(recipe)
    recipe = settled(recipe, None)
    if recipe.data in BUILT_IN and recipe.data_settings.garden_pictures > LOOKED_AT:
        part = dataclasses.replace(recipe, data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=LOOKED_AT))
        try:
            pictures = training_pictures(part)
            return make_plan(part, pictures), pictures
        except LimnerError:  # perhaps for the few pictures alone
            pass
    pictures = training_pictures(recipe)
    return make_plan(recipe, pictures), pictures


def _check_scores(
    study: Study,
    plan: Plan,
    pictures: CaptionedPictures,
    splits: Sequence[CaptionedPictures],
    network: FeatureNetwork,
    matching: Placed | None,
) -> None:
    """Raise what the evaluation of a run would raise before its first picture. What only the trained run has is taken to be there."""
    method, asked, reads = plan.asked_for.trained, study.evaluation, plan.encoder.reads
    check_frames(method, splits[0])
    own = any(act.judge == MATCHER for act in plan.acts) and reads
    request = ScoringRequest(
        metrics=asked.metrics,
        count=asked.count,
        seed=asked.seed,
        network=network,
        matching=cast(Placed, plan.acts[0]) if own and matching is None else matching,
        training=pictures,
        rebuild=cast(Any, _paints_nothing) if isinstance(method, Inverts) else None,
    )
    check_request(_paints_nothing if reads else Unprompted(_paints_nothing, asked.count, asked.seed), splits, request)


def _paints_nothing(captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
    raise AssertionError("a check paints no picture")
