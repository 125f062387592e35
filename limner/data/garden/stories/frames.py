"""From plots to pictures: frames are arrangements of the cast, in which everybody stays where she stands and as she is by nature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from limner.core.random import hash64, uniform_of
from limner.data.garden.attributes import BACKGROUND, NAMES
from limner.data.garden.bouquets.arranging import Bouquet, Flags, Integers, beside
from limner.data.garden.bouquets.blossoms import Real
from limner.data.garden.bouquets.worlds import MOST
from limner.data.garden.stories.plots import Plot

_DRAWS = 40
_LATTICE = 4096.0
_CAST = 3


@dataclass(frozen=True, kw_only=True)
class Frames(Bouquet):
    """Frames of stories as arrays: bouquets of one to three flowers, who keep their nature from frame to frame."""

    natures: NDArray[np.uint64]
    """[N, 4] keys of the flowers themselves, from which tilt, tint and leaves follow."""
    who: Integers
    """[N, 4] which character stands at each place, from the rearmost to the one in front; -1 where nobody does."""

    @cached_property
    def draws(self) -> Real:
        return uniform_of(hash64(self.natures.astype(np.int64), "story flower")[..., None], 0, _DRAWS)


@dataclass(frozen=True)
class Stage:
    """Where the casts of some stories stand, whether they are there or not."""

    x: Real
    """[S, 3] from the left, in picture widths; meaningless past a cast's number."""
    y: Real
    """[S, 3] from the top."""
    keys: NDArray[np.uint64]
    """[S] from which natures and the details of the background follow."""

    def __getitem__(self, stories: Integers) -> Stage:
        return Stage(self.x[stories], self.y[stories], self.keys[stories])

    @cached_property
    def left(self) -> Flags:
        """[S, 3, 3] whether the first of two stands clearly to the left of the second."""
        return beside(self.x, self.y)[0]


def set_stage(plots: Sequence[Plot], keys: NDArray[np.uint64]) -> Stage:
    """Give everybody a place of her own: side by side, in any order, and at different heights."""
    draws = uniform_of(hash64(keys.astype(np.int64), "stage")[:, None], 0, 3 * _CAST + 1)  # [S, 10]
    number = np.array([len(plot.cast) for plot in plots], dtype=np.int64)
    there = np.arange(_CAST) < number[:, None]
    slots = np.argsort(np.argsort(np.where(there, draws[:, :_CAST], 2.0), axis=1, kind="stable"), axis=1, kind="stable")  # [S, 3]
    across, down, low = draws[:, 3:6], draws[:, 6:9], (draws[:, 9] < 0.5)[:, None]
    two = np.where(slots == 0, 0.24, 0.66) + 0.10 * across, 0.26 + 0.34 * down
    middle = (slots == 1) != low  # the one in the middle stands lower than the others, or higher
    three = 0.235 + 0.255 * slots + 0.02 * across, np.where(middle, 0.58, 0.26) + 0.08 * down
    x, y = (np.where((number == 2)[:, None], *pair) for pair in zip(two, three, strict=True))
    return Stage(np.rint(x * _LATTICE) / _LATTICE, np.rint(y * _LATTICE) / _LATTICE, keys)


def frames_of(plots: Sequence[Plot], stage: Stage) -> Frames:
    """All frames of some stories, story by story, [S * F] rows."""
    told = [(story, plot, state) for story, plot in enumerate(plots) for state in plot.states()]
    rows = len(told)
    codes = np.zeros((rows, MOST, len(NAMES)), dtype=np.int64)
    who = np.full((rows, MOST), -1, dtype=np.int64)
    x, y = np.full((rows, MOST), 0.5), np.full((rows, MOST), 0.5)
    place = np.zeros((rows, MOST), dtype=np.int64)
    number = np.zeros(rows, dtype=np.int64)
    depth = np.argsort(stage.y, axis=1, kind="stable").tolist()  # whoever stands lower is in front
    for row, (story, plot, state) in enumerate(told):
        there = [own for own in depth[story] if own < len(plot.cast) and state.there[own]]
        number[row], place[row, : len(there)] = len(there), there
        codes[row, : len(there)] = [plot.codes(state, own) for own in there]
        codes[row, :, BACKGROUND] = plot.ground(state)
        who[row, : len(there)] = [plot.cast[own] for own in there]
        x[row, : len(there)], y[row, : len(there)] = stage.x[story, there], stage.y[story, there]
    of_story = np.array([story for story, _, _ in told], dtype=np.int64)
    keys = stage.keys[of_story]
    natures = hash64(keys.astype(np.int64)[:, None], "who", place)
    theme = np.array([plot.theme for _, plot, _ in told], dtype=np.int64)
    return Frames(number=number, codes=codes, x=x, y=y, keys=keys, theme=theme, natures=natures, who=who)
