"""How well a judge of bouquets reads: fresh pictures, of which everything is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.data.garden import ATTRIBUTES
from limner.data.garden.bouquets import Bouquets, agree
from limner.data.garden.bouquets.arranging import HIDES
from limner.data.garden.bouquets.scenes import shown_by
from limner.features.bouquet_judge import SceneJudge, SceneReading
from limner.metrics.judge import to_tensor
from limner.metrics.scenes import shown_in

CHECKS: tuple[tuple[str, str, int], ...] = (
    ("held-out bouquets (test), 64 px", "test", 64),
    ("held-out bouquets (val), 64 px", "val", 64),
    ("held-out bouquets (test), 32 px", "test", 32),
    ("bouquets of the train split, 64 px", "train", 64),
    ("held-out bouquets (test), 128 px", "test", 128),
)
"""On what a judge is checked: a title, a split and a resolution."""
OWN = tuple(name for name in ATTRIBUTES if name != "background")
COLUMNS = ("how many", "found", *OWN, "background", "all of it", "in front", "captions")
"""how many: pictures with the right number of flowers. found: flowers that are found within `NEAR` of where they are. Each attribute, and
all of them: of the flowers found. in front: pairs of which one hides a part of the other, read the right way round, where both are found.
captions: sentences of which everything is read in their own picture."""
NEAR = 0.05

_BATCH = 64


@torch.no_grad()
def check_scene_judge(judge: SceneJudge, *, seed: int, count: int = 2000) -> dict[str, dict[str, float]]:
    """The share of right readings in `count` fresh pictures for every line of `CHECKS`, by its title. seed: of bouquets that the judge
    did not learn from."""
    found = {}
    for title, split, side in CHECKS:
        bouquets = Bouquets(split, seed=seed, length=count, resolution=side)
        tallies = np.zeros((len(COLUMNS), 2))
        for start in range(0, count, _BATCH):
            tallies += tally(judge.read, bouquets, np.arange(start, min(start + _BATCH, count)))
        found[title] = {name: float(right / max(whole, 1.0)) for name, (right, whole) in zip(COLUMNS, tallies, strict=True)}
    return found


def tally(read: Callable[[Tensor], SceneReading], bouquets: Bouquets, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much of each of `COLUMNS` is read right in some bouquets, of how much: [columns, 2]."""
    arranged = bouquets.bouquets(rows)
    reading = read(to_tensor(bouquets.pictures(rows)))
    counts = np.zeros((len(COLUMNS), 2))
    captions, pictures = bouquets.captions(rows), shown_in(reading)
    truths = shown_by(arranged)
    places = reading.places.double().cpu().numpy()
    front = reading.front.cpu().numpy()

    def add(name: str, right: float, whole: float = 1.0) -> None:
        counts[COLUMNS.index(name)] += right, whole

    for row in range(len(rows)):
        n, m = int(arranged.number[row]), int(reading.counts[row])
        add("how many", n == m)
        add("background", pictures[row].background == truths[row].background)
        add("captions", agree(captions[row].said, pictures[row]).all_right)
        true = np.stack([arranged.x[row, :n], arranged.y[row, :n]], 1)
        far = np.linalg.norm(true[:, None] - places[row, None, :m], axis=2) if m else np.full((n, 1), np.inf)
        nearest = far.argmin(1)
        matched = {flower: int(nearest[flower]) for flower in range(n) if far[flower, nearest[flower]] <= NEAR}
        add("found", len(matched), n)
        for flower, own in matched.items():
            right = {name: int(reading.codes[name][row, own]) == int(arranged.codes[row, flower, column]) for column, name in _columns()}
            for name, is_right in right.items():
                add(name, is_right)
            add("all of it", all(right.values()))
        for back, before in np.argwhere(arranged.hides[row] >= HIDES).tolist():
            if back in matched and before in matched:
                add("in front", bool(front[row, matched[before], matched[back]]))
    return counts


def _columns() -> list[tuple[int, str]]:
    return [(column, name) for column, name in enumerate(ATTRIBUTES) if name in OWN]


def scene_table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """The figures of `check_scene_judge` in per cent as lines of text."""
    width = max(map(len, figures))
    lines = [f"{'right in per cent':<{width}}" + "".join(f"{name:>11}" for name in COLUMNS)]
    lines += [f"{title:<{width}}" + "".join(f"{100 * row[name]:>11.2f}" for name in COLUMNS) for title, row in figures.items()]
    return "\n".join(lines)
