"""How much painted pictures differ, how large gradients are, and what to say of runs that go wrong.

Distances are between pixels: cheap, and enough to tell a generator that has collapsed. How varied pictures are, compared with real ones of
the same caption, is for `limner.metrics` to say.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

NOISES, CAPTIONS = "diversity/noises", "diversity/captions"

FIRST_UPDATES = 300
"""Updates of the painter before anything is judged: a healthy run's first pictures are all the same grey, for up to 100 updates."""
ONE_PICTURE = 0.05
"""Both figures below this: one picture, whatever it is painted from. Judged, healthy runs have over 0.3 between captions."""
UNMOVED = 0.015
"""A figure below this: what it is about changes nothing to be seen. Between noises, healthy runs give 0.03 to 0.4, collapsed ones 0.001."""

FEWEST_STEPS, FEWEST_EPOCHS = 1000, 1.0
"""A run of fewer steps, or of less than a pass over its pictures, says little of its health: the runs that docs/health.md judges had 1,200
and more."""

OUTBURST = 100.0
"""A gradient norm so many times the median of what it was: training has broken down. Healthy runs stay within a factor of ten."""
FIRST_LINES = 8
"""Lines of the log before a gradient norm is judged by them."""

LEFT_OUT = 10
"""Updates of a player left out one after the other that end a run: a single one may be a picture's fault, so many are the networks'."""

ADVICE = "go back to an earlier checkpoint or begin anew with a lower --method.learning-rate; docs/health.md shows the signs"


def mean_distance(pictures: NDArray[np.uint8]) -> float:
    """Mean, over all pairs of pictures [N, H, W, 3], of the root mean square difference of their values in [0, 1]; 0 for fewer than two."""
    if len(pictures) < 2:
        return 0.0
    flat = torch.from_numpy(np.ascontiguousarray(pictures)).flatten(1).float() / 255.0  # [N, D]
    return float(torch.pdist(flat).mean()) / float(flat.shape[1] ** 0.5)


def diversity(pictures: NDArray[np.uint8], real_distance: float) -> dict[str, float]:
    """How much pictures [captions, noises, H, W, 3] differ, as shares of how much two real pictures do (`mean_distance`).

    `diversity/noises`: pictures of one caption under different noises. `diversity/captions`: pictures of different captions under one
    noise. Nothing where real pictures do not differ.
    """
    if not real_distance:
        return {}
    return {
        NOISES: float(np.mean([mean_distance(row) for row in pictures])) / real_distance,
        CAPTIONS: float(np.mean([mean_distance(column) for column in pictures.swapaxes(0, 1)])) / real_distance,
    }


def too_short(steps: int, epochs: float) -> str | None:
    """A sentence where a painter has been trained for too short a time to be judged, or None.

    steps, epochs: of the phase that paints last; epochs are passes over the training pictures.
    """
    passes = f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.1f}"
    trained = f"{steps:,} {'step' if steps == 1 else 'steps'}, {passes} times over the training pictures"
    if steps < FEWEST_STEPS:
        return f"Too short to judge ({trained}): networks that paint usually need thousands of steps"
    if epochs < FEWEST_EPOCHS:
        return f"Too short to judge ({trained}): it has not seen every picture yet"
    return None


class CollapseWatch:
    """Says once of each kind of collapse that it was seen."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def judge(self, figures: Mapping[str, float], updates: int) -> str | None:
        """A warning in one line where the figures of `diversity` show a collapse that was not told yet, or None.

        updates: how many the painter has had in all.
        """
        if not figures or updates < FIRST_UPDATES:
            return None
        sign = _sign(figures[NOISES], figures[CAPTIONS])
        if sign is None or sign in self._told:
            return None
        self._told.add(sign)
        seen = f"differences between noises {figures[NOISES]:.3f}, between captions {figures[CAPTIONS]:.3f} of real pictures'"
        return f"{sign} ({seen}): {ADVICE}"


class OutburstWatch:
    """Says once of each player of a phase that its gradient has burst out."""

    def __init__(self) -> None:
        self._norms: dict[tuple[str, str], list[float]] = {}

    def judge(self, phase: str, figures: Mapping[str, Any]) -> str | None:
        """A warning in one line where a line of the log has a gradient norm far above those of earlier lines, or None."""
        for name, norm in figures.items():
            player, _, kind = name.rpartition("/")
            if kind != "gradient_norm" or norm is None or not math.isfinite(norm):
                continue
            earlier = self._norms.setdefault((phase, player), [])
            usual = statistics.median(earlier) if len(earlier) >= FIRST_LINES else math.inf
            if norm > OUTBURST * usual:
                earlier[:] = [math.inf] * FIRST_LINES  # told
                return f"the gradient of the {player} is {norm / usual:,.0f} times what it usually was: training may have broken down"
            earlier.append(norm)
        return None


class LeftOutWatch:
    """Counts each player's updates that were left out one after the other, from one line of the log to the next."""

    def __init__(self) -> None:
        self._in_a_row: dict[str, int] = {}

    def judge(self, player: str, share: float, count: int) -> int:
        """How many in a row there are where that ends the run, else 0. share: of the player's `count` updates since the line before."""
        in_a_row = self._in_a_row.get(player, 0) + count if share >= 1.0 else 0
        self._in_a_row[player] = in_a_row
        return in_a_row if in_a_row >= LEFT_OUT else 0


def _sign(noises: float, captions: float) -> str | None:
    if max(noises, captions) < ONE_PICTURE:
        return "all pictures are nearly the same, whatever the caption and the noise"
    if noises < UNMOVED:
        return "the noise changes nothing: every caption has one picture"
    if captions < UNMOVED:
        return "the captions change nothing: pictures follow the noise alone"
    return None
