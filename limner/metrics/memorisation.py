"""Memorisation: does a generator paint new pictures, or hand out those that it was trained on?

Every generated picture's distance to the nearest training picture, in feature space, is held against the same distance of held-out real
pictures, which nobody can have memorised: with d(x) = min over training pictures t of |x - t|,

    share = part of the generated pictures g with d(g) <= the 1 % quantile of d(h) over the held-out pictures h

so that fresh pictures, as good as real ones, give 0.01, and copies 1. `nearer` is the same with the median, for which fresh pictures give
0.5: it shows a tendency towards the training pictures even if none is copied. But a network that sees little in strange pictures puts them
all near each other and near some training picture, so that noise may score high as well. Both sets are compared with the same training
pictures, so their number favours neither. Where held-out pictures are duplicates of training pictures, the quantile is 0, and copies are
still counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from limner.core.errors import DataError
from limner.metrics.scoring.distances import nearest
from limner.metrics.scoring.metric import Figure, Found, Metric, ScoringTask
from limner.metrics.scoring.protocol import Part

NEAR = 0.01
_ROUNDING = 1e-6
"""Distances of equal pictures are not exactly 0: this share of the typical distance from the centre counts as none."""


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """How near generated pictures come to training pictures."""

    share: float
    """Part of the generated pictures that are at least as near to a training picture as the nearest 1 % of the held-out ones."""
    held_out_share: float
    """The same part of the held-out ones themselves: about 0.01."""
    nearer: float
    """Part of the generated pictures at least as near as the nearest half of the held-out ones."""
    typical_distance: float
    """The median distance of a held-out picture to its nearest training picture."""
    distances: Tensor
    """[N] each generated picture's distance to its nearest training picture."""
    neighbours: Tensor
    """[N] which training picture that is."""


def memorisation(generated_features: Tensor, train_features: Tensor, held_out_features: Tensor) -> Memorisation:
    """The figures above from features [N, D], [T, D] and [H, D] of one network; raises DataError where a set is empty."""
    if not (len(generated_features) and len(train_features) and len(held_out_features)):
        raise DataError("memorisation needs generated, training and held-out pictures, and one of the three sets is empty: give all three")
    distances, neighbours = nearest(generated_features, train_features)
    held_out, _ = nearest(held_out_features, train_features)
    features = train_features.double()
    rounding = _ROUNDING * (features - features.mean(0)).square().sum(1).mean().sqrt()
    typical, near = held_out.median(), torch.quantile(held_out, NEAR)
    return Memorisation(
        share=float((distances <= near + rounding).double().mean()),
        held_out_share=float((held_out <= near + rounding).double().mean()),
        nearer=float((distances <= typical + rounding).double().mean()),
        typical_distance=float(typical),
        distances=distances,
        neighbours=neighbours,
    )


class MemorisationMetric(Metric):
    """The share, with `nearer` as its part."""

    name: ClassVar[str] = "memorisation"
    needs = frozenset({"features", "training"})
    keeps = frozenset({"features"})

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        split = task.pictures.split
        if {"train", "all"} & {*split.split("+")}:
            return f"memorisation holds pictures against held-out real ones, and '{split}' holds training pictures: take --split test"
        if task.training is not None and split in task.training.split.split("+"):
            return (
                f"memorisation holds pictures against held-out real ones, and the model was trained on '{split}' as well: take --split "
                "test, or leave it out"
            )
        return None

    def figures(self, found: Found) -> list[Figure]:
        assert found.training is not None
        result = memorisation(found.generated.tensor("features"), found.training, found.real.tensor("features"))
        count = len(result.distances)
        held_out = found.task.reference_count
        notes: tuple[str, ...] = ()
        if held_out * NEAR < 1:
            notes = (f"of {held_out} held-out pictures the nearest 1 % are a single one, so that real is at least {1 / held_out:.3f}",)
        nearer = Part(value=result.nearer, error=(result.nearer * (1 - result.nearer) / count) ** 0.5, real=0.5)
        return [
            Figure(
                name=self.name,
                value=result.share,
                error=(result.share * (1 - result.share) / count) ** 0.5,
                real=result.held_out_share,
                parts={"nearer than typical": nearer},
                higher_is_better=False,
                implementation="limner: share at least as near to a training picture as the nearest 1 % of the held-out real ones",
                network="features",
                settings={"training pictures": len(found.training)},
                notes=notes,
            )
        ]
