"""Means over seeds, and how far they can be trusted.

Two or three seeds say little of how far apart seeds lie: by themselves they give intervals of several times their spread. A comparison has
more to go by. `estimates` takes one spread for all its entries, each about its own mean, as an analysis of variance does; ten entries of
two seeds then have ten degrees of freedom where each alone has one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import mpmath

CONFIDENCE = 0.95
LARGE = 1000
"""Degrees of freedom of an error over captions, of which there are many."""


@dataclass(frozen=True)
class Estimate:
    """A mean over runs that differ in their seed alone."""

    mean: float
    margin: float | None
    """Half the width of the 95 % confidence interval; None where no entry has two runs, which say nothing of the spread then."""
    runs: int

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both ends of the interval, or None."""
        return None if self.margin is None else (self.mean - self.margin, self.mean + self.margin)

    def overlaps(self, other: Estimate) -> bool | None:
        """Whether the intervals share a value; None where one of the two has no interval."""
        if self.bounds is None or other.bounds is None:
            return None
        return self.bounds[0] <= other.bounds[1] and other.bounds[0] <= self.bounds[1]


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % confidence interval of independent runs: Student's t with their number less one degrees of freedom."""
    (found,) = estimates([values])
    assert found is not None
    return found


def estimates(
    groups: Sequence[Sequence[float]], errors: Sequence[Sequence[float | None]] | None = None, relative: bool = False
) -> list[Estimate | None]:
    """The mean of each group, a group being one entry's seeds, and its 95 % confidence interval; None for a group without a value.

    The spread over seeds is taken to be the same in all groups, and is pooled: the sum of squares about each group's own mean, by as many
    degrees of freedom as there are values beyond one a group. A group of one value has an interval too, where another has more.

    errors: the standard error of each value over the captions that were scored. Seeds share their captions, so it does not shrink with
    their number; its square is added. relative: the spread is the same as a share of the mean, as that of distances such as FID is.
    """
    known = [[value for value in group if math.isfinite(value)] for group in groups]
    means = [math.fsum(group) / len(group) if group else math.nan for group in known]
    scales = [abs(mean) if relative else 1.0 for mean in means]
    squares = [
        math.fsum((value - mean) ** 2 for value in group) / scale**2 if scale else 0.0
        for group, mean, scale in zip(known, means, scales, strict=True)
        if group
    ]
    degrees = sum(len(group) - 1 for group in known if group)
    reach = critical(degrees) * math.sqrt(math.fsum(squares) / degrees) if degrees else None
    found: list[Estimate | None] = []
    for place, group in enumerate(groups):
        if not group:
            found.append(None)
        elif len(known[place]) < len(group):
            found.append(Estimate(math.nan, None, len(group)))
        elif reach is None:
            found.append(Estimate(means[place], None, len(group)))
        else:
            captions = [error for error in errors[place] if error is not None] if errors else []
            shared = critical(LARGE) * math.fsum(captions) / len(captions) if captions else 0.0
            found.append(Estimate(means[place], math.hypot(reach * scales[place] / math.sqrt(len(group)), shared), len(group)))
    return found


@lru_cache
def critical(degrees: int) -> float:
    """What |t| stays below with probability `CONFIDENCE`: 12.706 for one degree of freedom, 1.96 for very many.

    The two tails beyond t hold I_x(degrees / 2, 1 / 2) with x = degrees / (degrees + t^2), the regularised incomplete beta function.
    """

    def excess(t: float) -> float:
        tails: float = mpmath.betainc(degrees / 2, 0.5, 0, degrees / (degrees + t * t), regularized=True)
        return tails - (1 - CONFIDENCE)

    return float(mpmath.findroot(excess, (1.5, 15), solver="anderson"))
