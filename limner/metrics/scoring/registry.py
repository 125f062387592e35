"""Metrics by name. Listing them imports nothing heavy; a metric's file is imported when it is taken."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from limner.core.errors import unknown_name
from limner.core.worlds import Holds, world_of

if TYPE_CHECKING:
    from limner.core.pictures import CaptionedPictures
    from limner.metrics.scoring.metric import Metric


@dataclass(frozen=True)
class MetricEntry:
    """Where one metric is, what it answers, and what its scores are called."""

    home: str
    """Module and class, as `module:Class` within `limner.metrics`."""
    sentence: str
    looks: Literal["features", "matching", "judge", "scenes"] | None = None
    """The network that decides its scores: the feature network, the matching model, the garden's judge or that of bouquets; None for none,
    or for several."""
    gives: tuple[str, ...] = ()
    """The names of its scores, where they are not its own name alone; the first is always there."""
    brings: tuple[str, ...] = ()
    """Metrics that are taken with it."""
    reads: Holds | None = None
    """What a built-in set must hold, where the metric is of that set alone."""


METRICS: Mapping[str, MetricEntry] = {
    "fid": MetricEntry("frechet:Fid", "how far apart are generated and real features, as two Gaussians?", "features"),
    "fid-infinity": MetricEntry("frechet:FidInfinity", "the same, without its bias for few pictures", "features"),
    "kid": MetricEntry("kernel:Kid", "how far apart are they, without that assumption and that bias?", "features"),
    "mind": MetricEntry("transport:Mind", "how far must features be moved? For few pictures, and for any distribution", "features"),
    "is": MetricEntry("inception_score:InceptionScoreMetric", "are pictures of clear classes, and of many of them?", "features"),
    "prdc": MetricEntry(
        "manifold:Prdc",
        "precision, recall, density, coverage: quality and variety apart",
        "features",
        gives=("precision", "recall", "density", "coverage"),
    ),
    "psnr": MetricEntry("pixels:Psnr", "how close is a picture to its caption's real one, pixel by pixel?"),
    "ssim": MetricEntry("pixels:Ssim", "the same, by local structure"),
    "reconstruction": MetricEntry(
        "reconstruction:Reconstruction",
        "how near do real pictures come back from the codes that a model finds? (models that invert only)",
        gives=("reconstruction-psnr", "reconstruction-ssim", "reconstruction-distance"),
    ),
    "ms-ssim": MetricEntry("pixels:MsSsim", "how alike are pictures of one caption?"),
    "vendi": MetricEntry("vendi:Vendi", "how many different pictures are there among those of one caption?", "features"),
    "r-precision": MetricEntry("retrieval:RPrecision", "does a matching model find the true caption among 99 wrong ones?", "matching"),
    "r-precision-as-published": MetricEntry("retrieval:RPrecisionAsPublished", "the same, as DM-GAN's release takes it", "matching"),
    "vs": MetricEntry("alignment:VisualSemanticSimilarity", "how well do picture and caption fit, by a matching model?", "matching"),
    "clip-score": MetricEntry("alignment:ClipScore", "the same, as 2.5 max(cosine, 0)", "matching"),
    "ap": MetricEntry(
        "retrieval:ClassRetrieval",
        "AP@k and top-1: does a matching model find each class's pictures?",
        "matching",
        gives=("ap", "top-1"),
    ),
    "class-accuracy": MetricEntry("classes:ClassAccuracy", "is a picture's class seen, and how much of it at lower resolutions?"),
    "memorisation": MetricEntry(
        "memorisation:MemorisationMetric", "are pictures nearer to training pictures than held-out ones are?", "features"
    ),
    "faithfulness": MetricEntry(
        "faithfulness:Faithfulness",
        "does the picture show what its caption says?",
        "judge",
        brings=("everything-right", "diversity", "openness", "coherence"),
        reads="attributes",
    ),
    "everything-right": MetricEntry(
        "openness:EverythingRight", "how many pictures show all that their captions say?", "judge", reads="attributes"
    ),
    "diversity": MetricEntry("faithfulness:Diversity", "do pictures of one caption differ as real ones do?", "judge", reads="attributes"),
    "openness": MetricEntry("openness:Openness", "does what captions leave open vary as in the world?", "judge", reads="attributes"),
    "coherence": MetricEntry("openness:Coherence", "does each picture decide what its caption leaves open?", "judge", reads="attributes"),
    "scene-faithfulness": MetricEntry(
        "scenes:SceneFaithfulness", "are a caption's flowers there, and where it says?", "scenes", reads="scenes"
    ),
    "story-faithfulness": MetricEntry(
        "stories:StoryFaithfulness",
        "do frames show what their stories say, and do characters stay alike?",
        "scenes",
        gives=("story-faithfulness", "story-consistency"),
        brings=("name-exchange",),
        reads="stories",
    ),
    "name-exchange": MetricEntry("stories:NameExchange", "do exactly two looks change with two names?", "scenes", reads="stories"),
}

USUAL = ("fid", "kid", "is", "faithfulness", "scene-faithfulness", "story-faithfulness")
"""What is taken where nobody says otherwise, as far as the data can serve it."""


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """The names without repetitions, "all" spelled out, and what they bring with them. SettingsError for an unknown one."""
    found: list[str] = []
    for name in names:
        if name == "all":
            found += METRICS
        elif name not in METRICS:
            raise unknown_name("metric", name, [*METRICS, "all"])
        else:
            found.append(name)
    brought = [other for name in found for other in METRICS[name].brings]
    return tuple(dict.fromkeys([*found, *brought]))


def unreadable(name: str, pictures: CaptionedPictures) -> str | None:
    """Why a metric of another built-in set alone cannot be taken of these pictures; None where it can."""
    reads = METRICS[name].reads
    if reads is None or pictures.holds == reads:
        return None
    world = world_of(reads)
    return f"{name} reads {world.title} and cannot judge '{pictures.name}': leave it out, or evaluate with --data {world.name}"


def scores_of(metric: str) -> tuple[str, ...]:
    """The names of a metric's scores, of which the first is always there."""
    return METRICS[metric].gives or (metric,)


def metric_of(score: str) -> str | None:
    """The metric that gives a score of this name; None for a score of no metric."""
    return next((metric for metric in METRICS if score in scores_of(metric)), None)


def network_of(score: str) -> str | None:
    """The kind of network that decides a score, as `MetricEntry.looks` has it; None for a score of no metric."""
    metric = metric_of(score)
    return None if metric is None else METRICS[metric].looks


def metric_class(name: str) -> type[Metric]:
    """The class of a metric."""
    module, _, attribute = METRICS[name].home.partition(":")
    found: type[Metric] = getattr(importlib.import_module(f"limner.metrics.{module}"), attribute)
    return found
