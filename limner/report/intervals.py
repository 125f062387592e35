"""Means over seeds, and how far they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import mpmath

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over runs that differ in their seed alone."""

    mean: float
    margin: float | None
    """Half the width of the 95 % confidence interval; None for a single run, which says nothing of the spread."""
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
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Estimate(mean, None, count)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return Estimate(mean, critical(count - 1) * deviation / math.sqrt(count), count)


@lru_cache
def critical(degrees: int) -> float:
    """What |t| stays below with probability `CONFIDENCE`: 12.706 for one degree of freedom, 1.96 for very many.

    The two tails beyond t hold I_x(degrees / 2, 1 / 2) with x = degrees / (degrees + t^2), the regularised incomplete beta function.
    """

    def excess(t: float) -> float:
        tails: float = mpmath.betainc(degrees / 2, 0.5, 0, degrees / (degrees + t * t), regularized=True)
        return tails - (1 - CONFIDENCE)

    return float(mpmath.findroot(excess, (1.5, 15), solver="anderson"))
