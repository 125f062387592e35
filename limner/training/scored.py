"""How a trained model is scored, by the command line and from Python: who paints for its scores, and what they are held against."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limner.core.errors import DataError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Trainable
from limner.data.catalog import BUILT_IN, open_data
from limner.data.reduced import at_resolution
from limner.metrics.scoring.evaluate import Painter, Progress, ScoringRequest, Unprompted, evaluate
from limner.metrics.scoring.matching import Placed
from limner.metrics.scoring.protocol import Score
from limner.metrics.scoring.registry import chosen, metric_class
from limner.model import Model
from limner.training.plan import MATCHER
from limner.training.trained import seen_in_training

COUNT = 2000
"""Pictures of each split that a model paints where nobody says how many."""


def score_model(
    model: Model,
    splits: Sequence[CaptionedPictures],
    request: ScoringRequest,
    *,
    place: str | Path | None = None,
    data: str | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Score]:
    """Take every metric of a model on every split, as `limner.metrics.scoring.evaluate.evaluate` does.

    What the request does not hold and the metrics need is found: what the model was trained on, what paints pictures again from codes, and
    the matching model with which a run has trained its text encoder.

    Args:
        place: The run or model folder that the model is from, where there is one.
        data: The set that the splits were opened from, as `open_data` takes it. The training pictures are looked up in it.
        say: Called with a line for each thing that a user should know.

    Raises as `evaluate`, and SettingsError for a model of stories and splits without such stories.
    """
    painter = painter_of(model, splits[0], request.count, request.seed)
    names = chosen(request.metrics)
    needs = frozenset[str]().union(*(metric_class(name).needs for name in names))
    found: dict[str, Any] = {"rebuild": request.rebuild or model.rebuilder(request.seed)}
    if data is not None and request.training is None and "memorisation" in names:
        found["training"] = seen_in_training(place, data, model.resolution)
    own = own_matcher(place) if request.matching is None and model.reads_text else None
    if own is not None and needs & {"matching", "classifier"}:
        found["matching"] = Placed.load(own, "cuda" if model.device.type == "cuda" else "cpu")
        if say is not None and request.share.rank == 0:
            say(f"the judge of captions is what the run trained first: {own}")
    return evaluate(painter, splits, dataclasses.replace(request, **found), progress=progress, say=say)


def painter_of(model: Model, pictures: CaptionedPictures, count: int, seed: int) -> Painter | Unprompted:
    """What paints for a model's scores: of stories whole ones, and without captions where it reads none. Raises SettingsError for a model
    of stories where the set has no such stories."""
    check_frames(model.method, pictures)
    stories = pictures.stories
    paint = model.painter() if stories is None else model.storyteller(stories.shape[1])
    return paint if model.reads_text else Unprompted(paint, count, seed)


def check_frames(method: Trainable, pictures: CaptionedPictures) -> None:
    """Raise SettingsError for a method of stories and a set that has no stories of so many frames."""
    stories = pictures.stories
    frames = getattr(method, "frames", None)
    if frames is not None and (stories is None or stories.shape[1] != frames):
        has = "no stories" if stories is None else f"stories of {stories.shape[1]} frames"
        raise SettingsError(f"the model tells stories of {frames} frames, and '{pictures.name}' has {has}: give --data with such stories")


def reference(data: str, split: str | None, resolution: int) -> list[CaptionedPictures]:
    """The splits to hold pictures against, at their resolution. split: their names with commas between; by default train and test of a
    built-in world, else test or val. Raises DataError for a split that the set does not have."""

    def opened(name: str) -> CaptionedPictures:
        return at_resolution(open_data(data, name, resolution), resolution)

    if not isinstance(split, str | None):
        raise SettingsError(f"the split is {split!r}: give a name such as test, or several with commas between")
    named = list(dict.fromkeys(name.strip() for name in split.split(",") if name.strip())) if split is not None else None
    if named == []:
        raise SettingsError(f"the split is '{split}': give one such as test, or several with commas between")
    if named is None and data in BUILT_IN:
        named = ["train", "test"]
    if named is not None:
        return [opened(name) for name in named]
    for name in ("test", "val"):
        try:
            return [opened(name)]
        except DataError as error:
            problem = error
    raise problem


def own_matcher(place: str | Path | None) -> str | None:
    """The matching model with which a run has trained its text encoder, where it has."""
    found = None if place is None else Path(place) / MATCHER
    return str(found) if found is not None and found.is_dir() else None
