"""Precision and recall, density and coverage: quality and variety apart.

Around every picture of a set, in feature space, lies a ball that reaches to its k-th nearest neighbour; together they stand for what the
set holds. Precision and recall (Kynkaanniemi et al., NeurIPS 2019, arXiv:1904.06991) ask how many generated pictures lie in a real ball,
and the other way round; density and coverage (Naeem et al., ICML 2020, arXiv:2002.09797) count the balls, so that outliers weigh less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from limner.metrics.scoring.distances import distance_blocks, neighbour_radii
from limner.metrics.scoring.metric import Figure, Found, Metric, ScoringTask

PRECISION_NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class Manifold:
    """Shares in [0, 1]; density may pass 1."""

    precision: float
    """Share of generated pictures within a real ball."""
    recall: float
    """Share of real pictures within a generated ball."""
    density: float
    """Real balls that a generated picture lies in, by k: 1 where both sets are alike."""
    coverage: float
    """Share of real balls with a generated picture in them: 1 - 2^-k where both sets are alike and equally many."""


def manifold(
    generated: Tensor, real: Tensor, precision_neighbours: int = PRECISION_NEIGHBOURS, density_neighbours: int = DENSITY_NEIGHBOURS
) -> Manifold:
    """The four numbers of features [N, D] and [M, D], both larger than the number of neighbours; a ball's border belongs to it."""
    inner, outer = neighbour_radii(real, (precision_neighbours, density_neighbours))
    (own,) = neighbour_radii(generated, (precision_neighbours,))
    precise, balls = 0, 0
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for start, distances in distance_blocks(generated, real):  # [n, M]
        within = distances <= outer
        precise += int((distances <= inner).any(1).sum())
        balls += int(within.sum())
        covered |= within.any(0)
        recalled |= (distances <= own[start : start + len(distances), None]).any(0)
    return Manifold(
        precision=precise / len(generated),
        recall=float(recalled.double().mean()),
        density=balls / (density_neighbours * len(generated)),
        coverage=float(covered.double().mean()),
    )


class Prdc(Metric):
    """Improved precision and recall, density and coverage, by nearest neighbours among features."""

    name: ClassVar[str] = "prdc"
    needs = frozenset({"features"})
    keeps = frozenset({"features"})

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        fewest = min(task.count, task.reference_count)
        return (
            None
            if fewest > DENSITY_NEIGHBOURS
            else f"prdc looks at {DENSITY_NEIGHBOURS} neighbours, and there are {fewest} pictures: give more"
        )

    def figures(self, found: Found) -> list[Figure]:
        result = manifold(found.generated.tensor("features"), found.real.tensor("features"))
        return [
            Figure(
                name=name,
                value=getattr(result, name),
                higher_is_better=True,
                implementation=f"limner: balls to the nearest neighbours, float64, after {source}",
                network="features",
                settings={"neighbours": neighbours},
            )
            for name, neighbours, source in (
                ("precision", PRECISION_NEIGHBOURS, "Kynkaanniemi et al."),
                ("recall", PRECISION_NEIGHBOURS, "Kynkaanniemi et al."),
                ("density", DENSITY_NEIGHBOURS, "Naeem et al."),
                ("coverage", DENSITY_NEIGHBOURS, "Naeem et al."),
            )
        ]
