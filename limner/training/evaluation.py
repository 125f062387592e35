"""Scores of what is being trained, taken as it trains."""

from __future__ import annotations

from pathlib import Path

from limner.core.abilities import Paints
from limner.core.errors import DataError, SettingsError
from limner.core.files import cache_folder
from limner.core.pictures import CaptionedPictures
from limner.core.settings import EvaluationSettings, Recipe
from limner.data.catalog import open_data
from limner.data.reduced import at_resolution
from limner.features.network import FeatureNetwork
from limner.features.registry import load_feature_network
from limner.metrics.scoring.evaluate import ScoringRequest, Unprompted, check_metrics, evaluate
from limner.metrics.scoring.protocol import write_scores
from limner.model import Model
from limner.training.plan import Plan
from limner.training.readable import readable

GARDEN_PICTURES = 1000
"""Pictures that the garden paints for evaluations in training."""


class Evaluator:
    """Evaluates on one split, with everything it needs opened before training begins."""

    def __init__(self, settings: EvaluationSettings, pictures: CaptionedPictures, seed: int, network: FeatureNetwork | None = None) -> None:
        self.settings, self.pictures, self.seed, self.network = settings, pictures, seed, network
        self.remark: str | None = None
        """What is to be said of the captions that it uses."""
        self.metrics = [name.strip().lower() for name in settings.metrics.split(",") if name.strip()]

    def painting(self, model: Model, record: Path) -> dict[str, float]:
        """Scores of a model that paints; the newest stand in `record` with their protocols."""
        settings = self.settings
        stories = self.pictures.stories
        paint = model.painter() if stories is None else model.storyteller(stories.shape[1])
        scores = evaluate(
            paint if model.reads_text else Unprompted(paint, settings.count, self.seed),
            [at_resolution(self.pictures, model.resolution)],
            ScoringRequest(
                metrics=self.metrics,
                count=settings.count,
                seed=self.seed,
                network=self.network,
                device=model.device,
                rebuild=model.rebuilder(self.seed),
                cache=cache_folder(),
            ),
        )
        write_scores(record, scores)
        return {score.name: float(score.value) for score in scores}


def make_evaluator(recipe: Recipe, plan: Plan) -> Evaluator | None:
    """The evaluator that a recipe asks for, or None. Raises LimnerError for what could not be evaluated.

    What is evaluated unasked is so only where its data have the split. Captions that the encoder cannot read are left out.
    """
    if not any(planned.evaluate_every for planned in plan.phases if planned.act.is_asked_for):
        return None
    settings, seed, trained = recipe.evaluation, recipe.training.seed, plan.asked_for.trained
    paints = isinstance(trained, Paints)
    if paints and not settings.every:  # it is validated, and not scored
        return None
    if not paints and settings.split == "test":
        raise SettingsError("evaluation.split is test, which would choose the model that is kept: use val, and `limner evaluate` for test")
    if recipe.data_settings.trainval and settings.split == "val":
        if settings.every is None:
            return None
        raise SettingsError("data.trainval trains on the val split, which says nothing then: set evaluation.every 0")
    resolution = trained.conditions.resolution  # the final one: a method that grows is held against smaller pictures before
    try:
        opened = open_data(recipe.data, settings.split, resolution, recipe.data_settings, length=GARDEN_PICTURES)
    except DataError:
        if settings.every is None:
            return None
        raise
    opened, left_out = readable(opened, plan.encoder)
    if paints:
        pictures = at_resolution(opened, resolution)
        network = load_feature_network(settings.features) if settings.features else None
        evaluator = Evaluator(settings, pictures, seed, network)
        check_metrics(evaluator.metrics, [pictures])
    else:
        evaluator = Evaluator(settings, opened, seed)
    if left_out:
        evaluator.remark = (
            f"evaluation: left out {len(left_out)} captions of the {settings.split} split without a word, such as '{left_out[0]}'"
        )
    return evaluator
