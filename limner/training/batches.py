"""The batches of a phase: those that it trains on, and those of held-out pictures that it is validated on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from limner.core.batch import Batch
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Recipe
from limner.core.trainable import Phase
from limner.data.captions import LISTED, CaptionFeatures
from limner.data.loader import Loader
from limner.training.plan import PlannedPhase

if TYPE_CHECKING:
    import torch

    from limner.training.processes import Processes

MUCH = 400_000
"""Captions and changed forms whose encoding before training takes long enough, some seconds or more, that it is said."""

MOST_HELD_OUT = 256
"""Held-out pictures that a phase is validated on, at most."""


def make_loader(planned: PlannedPhase, recipe: Recipe, pictures: CaptionedPictures, fabric: Processes) -> Loader:
    """The batches of a phase, for this process."""
    return Loader(
        pictures,
        planned.phase,
        seed=recipe.training.seed,
        device=fabric.device,
        features=caption_features(planned, recipe, pictures, fabric.device),
        flip=recipe.data_settings.flip,
        rank=fabric.global_rank,
        processes=fabric.world_size,
    )


def held_out_batches(planned: PlannedPhase, recipe: Recipe, pictures: CaptionedPictures, device: torch.device) -> list[Batch]:
    """Batches, not mirrored, that hold each captioned picture of a split once, and the first ones again to fill the last: as many pictures
    as MOST_HELD_OUT at most. Raises DataError for a split that cannot fill them."""
    count = min(int((pictures.caption_counts > 0).sum()), MOST_HELD_OUT)
    phase = dataclasses.replace(planned.phase, batch_size=min(planned.phase.batch_size, count))
    features = caption_features(planned, recipe, pictures, device)
    loader = Loader(pictures, phase, seed=recipe.training.seed, device=device, features=features, flip=False)
    return [loader.batch(step) for step in range(math.ceil(count / phase.batch_size))]


def introductions(planned: PlannedPhase, recipe: Recipe, pictures: CaptionedPictures, step: int) -> Iterator[str]:
    """What is said before a phase goes on after a step: what it is for, at its beginning, and that captions are encoded for some while."""
    if planned.act.introduction and step == 0:
        yield planned.act.introduction.format(steps=planned.steps)
    if planned.phase.encoded and planned.act.encoder.reads:
        captions, changed = int(pictures.caption_counts.sum()), kept_counterfactuals(planned.phase, recipe)
        if not planned.phase.words and MUCH <= captions * (1 + changed) <= LISTED:
            yield f"encoding {captions:,} captions" + (f" and {changed} changed forms of each" if changed else "")


def kept_counterfactuals(phase: Phase, recipe: Recipe) -> int:
    """How many changed forms of each caption a phase draws from."""
    asked = phase.counterfactuals
    return max(recipe.data_settings.counterfactuals, asked) if asked else 0


def caption_features(planned: PlannedPhase, recipe: Recipe, pictures: CaptionedPictures, device: torch.device) -> CaptionFeatures | None:
    """What a phase reads of captions; None where it trains the text encoder itself."""
    if not planned.phase.encoded:
        return None
    encoder, count = planned.act.encoder, kept_counterfactuals(planned.phase, recipe)
    words = planned.phase.words and encoder.word_width is not None
    return CaptionFeatures(encoder, pictures, words=words, counterfactuals=count, device=device)
