"""Metrics by name. Listing them imports nothing heavy; a metric's file is imported when it is taken."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limner.core.errors import unknown_name

if TYPE_CHECKING:
    from limner.metrics.metric import Metric


@dataclass(frozen=True)
class Entry:
    """Where one metric is, and what it answers."""

    home: str
    """Module and class, as `module:Class` within `limner.metrics`."""
    sentence: str


METRICS: Mapping[str, Entry] = {
    "fid": Entry("frechet:Fid", "how far apart are generated and real features, as two Gaussians?"),
    "fid-infinity": Entry("frechet:FidInfinity", "the same, without its bias for few pictures"),
    "kid": Entry("kernel:Kid", "how far apart are they, without that assumption and that bias?"),
    "is": Entry("inception_score:InceptionScoreMetric", "are pictures of clear classes, and of many of them?"),
    "prdc": Entry("manifold:Prdc", "precision, recall, density, coverage: quality and variety apart"),
    "psnr": Entry("pixels:Psnr", "how close is a picture to its caption's real one, pixel by pixel?"),
    "ssim": Entry("pixels:Ssim", "the same, by local structure"),
    "ms-ssim": Entry("pixels:MsSsim", "how alike are pictures of one caption?"),
    "r-precision": Entry("retrieval:RPrecision", "does a matching model find the true caption among 99 wrong ones?"),
    "r-precision-as-published": Entry("retrieval:RPrecisionAsPublished", "the same, as DM-GAN's release takes it"),
    "vs": Entry("alignment:VisualSemanticSimilarity", "how well do picture and caption fit, by a matching model?"),
    "clip-score": Entry("alignment:ClipScore", "the same, as 2.5 max(cosine, 0)"),
    "ap": Entry("retrieval:ClassRetrieval", "AP@k and top-1: does a matching model find each class's pictures?"),
    "class-accuracy": Entry("classes:ClassAccuracy", "is a picture's class seen, and how much of it at lower resolutions?"),
    "memorisation": Entry("memorisation:MemorisationMetric", "are pictures nearer to training pictures than held-out ones are?"),
    "faithfulness": Entry("faithfulness:Faithfulness", "does the picture show what its caption says? (the garden only)"),
    "diversity": Entry("faithfulness:Diversity", "do pictures of one caption differ as real ones do? (the garden only)"),
}

USUAL = ("fid", "kid", "is", "faithfulness")
"""What is taken where nobody says otherwise, as far as the data can serve it."""


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """The names without repetitions, "all" spelled out; faithfulness brings diversity with it. SettingsError for an unknown one."""
    found: list[str] = []
    for name in names:
        if name == "all":
            found += METRICS
        elif name not in METRICS:
            raise unknown_name("metric", name, [*METRICS, "all"])
        else:
            found.append(name)
    if "faithfulness" in found:
        found.append("diversity")
    return tuple(dict.fromkeys(found))


def metric_class(name: str) -> type[Metric]:
    """The class of a metric."""
    module, _, attribute = METRICS[name].home.partition(":")
    found: type[Metric] = getattr(importlib.import_module(f"limner.metrics.{module}"), attribute)
    return found
