"""FID, and FID without its bias for few pictures.

FID (Heusel et al., NeurIPS 2017, arXiv:1706.08500) is the Frechet distance of two Gaussians fitted to features. Its estimate from N
pictures is too high by an amount that falls as 1/N, and differs from generator to generator: FID-infinity (Chong and Forsyth, CVPR 2020,
arXiv:1911.07023) takes it at several N and follows the line in 1/N to its end.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.metrics.scoring.metric import Figure, Found, Metric, ScoringTask
from limner.metrics.scoring.rows import Moments

ENOUGH = 10_000
"""Pictures from which on FID's bias is small compared with what generators differ by."""
POINTS = 15
"""Sample sizes that FID-infinity's line is drawn through, as in the authors' code."""


def fid(real: Moments, generated: Moments) -> float:
    """The Frechet distance of two sums of features.

    It is torchmetrics' FrechetInceptionDistance to rounding (`tests/metrics/test_frechet.py`), which takes pictures, but no sums that
    several processes or an earlier evaluation have made.
    """
    return frechet_distance(root_of(real.covariance), real.mean, generated.mean, generated.covariance)


def frechet_distance(root: Tensor, mean: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^1/2) with C = root^2: the trace of the last term is that of (root C' root)^1/2, whose eigenvalues
    are those of a symmetric matrix, and quick to find."""
    mixed = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp_min(0).sqrt().sum()
    trace = root.square().sum() + other_covariance.trace()
    return float((mean - other_mean).square().sum() + trace - 2 * mixed)


def root_of(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance [D, D]."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def fid_infinity(real: Moments, generated: NDArray[np.float32], seed: int) -> tuple[float, float]:
    """FID at N = infinity and the standard error of the line's end, from sums of real features and rows [N, D] of generated ones.

    The sizes are spread evenly from a tenth of N, or from twice the number of features where that is more and N allows it; each takes
    pictures of its own draw. Only the generated side's bias goes; that of the real pictures stays, and is the same for all generators.
    """
    count, width = generated.shape
    fewest = min(max(count // 10, 2 * width, 2), max(count // 2, 2))
    sizes = np.unique(np.linspace(fewest, count, POINTS).round().astype(np.int64))
    root, mean = root_of(real.covariance), real.mean
    values = []
    for number, size in enumerate(sizes.tolist()):
        part = Moments()
        part.add(torch.from_numpy(generated[random.permutation(count, seed, "fid-infinity", number)[:size]]))
        values.append(frechet_distance(root, mean, part.mean, part.covariance))
    return line_end(1.0 / sizes, np.asarray(values))


def line_end(places: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Where the least squares line through (places, values) meets 0, and that number's standard error."""
    centred = places - places.mean()
    slope = float((centred * values).sum() / (centred**2).sum())
    end = float(values.mean() - slope * places.mean())
    residual = values - end - slope * places
    variance = float((residual**2).sum()) / max(len(values) - 2, 1)
    return end, float(np.sqrt(variance * (1 / len(values) + places.mean() ** 2 / (centred**2).sum())))


class Fid(Metric):
    """Frechet Inception Distance (Heusel et al., NeurIPS 2017)."""

    name: ClassVar[str] = "fid"
    needs = frozenset({"features"})
    keeps = frozenset({"moments"})

    def figures(self, found: Found) -> list[Figure]:
        real, generated = found.moments["real"], found.moments["generated"]
        return [
            Figure(
                name=self.name,
                value=fid(real, generated),
                higher_is_better=False,
                implementation="limner: Frechet distance by eigenvalues of the symmetric product, float64",
                network="features",
                notes=_notes(min(real.count, generated.count), len(real.total)),
            )
        ]


def _notes(smallest: int, width: int) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if smallest <= width:
        fix = f"take more than {width}, or trust KID instead"
        notes = (f"{smallest} pictures cannot fill a covariance of {width} features: {fix}",)
    if smallest < ENOUGH:
        notes += (
            f"biased: {smallest:,} pictures give a higher FID than {ENOUGH:,} would, by more for one generator than for another; "
            "--metrics fid-infinity,kid are free of it",
        )
    return notes


class FidInfinity(Metric):
    """FID without its bias by the number of generated pictures (Chong and Forsyth, CVPR 2020)."""

    name: ClassVar[str] = "fid-infinity"
    needs = frozenset({"features"})
    keeps = frozenset({"features", "moments"})

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        return (
            None if task.count >= 20 else f"fid-infinity draws a line through many counts, and {task.count} is too few: --count 20 at least"
        )

    def figures(self, found: Found) -> list[Figure]:
        rows = found.generated["features"]
        value, error = fid_infinity(found.moments["real"], rows, found.task.seed)
        notes: tuple[str, ...] = ()
        if len(rows) <= 4 * rows.shape[1]:
            least = f"{4 * rows.shape[1]:,}"
            notes = (f"with {len(rows):,} pictures of {rows.shape[1]} features FID is not yet a line in 1 / N: take more than {least}",)
        return [
            Figure(
                name=self.name,
                value=value,
                error=error,
                higher_is_better=False,
                implementation="limner: Frechet distances, float64; line in 1 / N after Chong and Forsyth",
                network="features",
                settings={"sizes": POINTS},
                notes=notes,
            )
        ]
