"""Reading pictures with the judge, and how well it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.data.garden import ATTRIBUTES, Garden
from limner.features.garden_judge import AttributeJudge, Reading, load_judge

__all__ = ["AttributeJudge", "Reading", "accuracies", "accuracy_table", "check_judge", "confusions", "load_judge", "to_tensor"]

CHECKS: tuple[tuple[str, str, int], ...] = (
    ("held-out combinations (test), 64 px", "test", 64),
    ("held-out combinations (val), 64 px", "val", 64),
    ("held-out combinations (test), 32 px", "test", 32),
    ("combinations of the train split, 64 px", "train", 64),
    ("held-out combinations (test), 128 px", "test", 128),
)
"""On what a judge is checked: a title, a split and a resolution."""

_BATCH = 128


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Stored pictures [n, H, W, 3] as a uint8 tensor [n, 3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)


@torch.no_grad()
def confusions(judge: AttributeJudge, garden: Garden, indices: NDArray[np.int64] | None = None) -> dict[str, NDArray[np.int64]]:
    """What the judge reads in a garden's pictures, or in those of some indices: for each attribute counts [true value, value read]."""
    indices = np.arange(len(garden)) if indices is None else indices
    counts = {name: np.zeros((len(values), len(values)), dtype=np.int64) for name, values in ATTRIBUTES.items()}
    for start in range(0, len(indices), _BATCH):
        rows = indices[start : start + _BATCH]
        true = garden.attribute_codes(rows)
        read = judge.read(to_tensor(garden.pictures(rows))).codes()
        for column, name in enumerate(ATTRIBUTES):
            np.add.at(counts[name], (true[:, column], read[name].cpu().numpy()), 1)
    return counts


def accuracies(counts: Mapping[str, NDArray[np.int64]]) -> dict[str, float]:
    """The share of right readings of each attribute."""
    return {name: float(np.trace(matrix) / matrix.sum()) for name, matrix in counts.items()}


def check_judge(judge: AttributeJudge, *, seed: int, count: int = 4000, trained_on: Sequence[Garden] = ()) -> dict[str, dict[str, float]]:
    """The share of right readings of each attribute in `count` fresh pictures: for every line of `CHECKS`, by its title.

    seed: of gardens that the judge did not learn from. trained_on: those that it did; where some descriptions fit none of their pictures,
    a line of pictures of such descriptions is added.
    """
    figures = {
        title: accuracies(confusions(judge, Garden(split=split, seed=seed, length=count, resolution=resolution)))
        for title, split, resolution in CHECKS
    }
    if not trained_on:
        return figures
    met = {tuple(codes) for garden in trained_on for codes in garden.attribute_codes(np.arange(len(garden))).tolist()}
    fresh = Garden(split="all", seed=seed, length=10 * count)
    codes = fresh.attribute_codes(np.arange(len(fresh))).tolist()
    unmet = np.array([index for index, row in enumerate(codes) if tuple(row) not in met][:count], dtype=np.int64)
    if len(unmet):
        title = f"{len(unmet):,} pictures whose six attributes never met in training, 64 px"
        figures[title] = accuracies(confusions(judge, fresh, unmet))
    return figures


def accuracy_table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """The figures of `check_judge` in per cent as lines of text, chance last."""
    chance = {name: 1 / len(values) for name, values in ATTRIBUTES.items()}
    width = max(map(len, figures))
    lines = [f"{'accuracy in per cent':<{width}}" + "".join(f"{name:>12}" for name in ATTRIBUTES)]
    for title, row in (*figures.items(), ("chance", chance)):
        lines.append(f"{title:<{width}}" + "".join(f"{100 * row[name]:>12.2f}" for name in ATTRIBUTES))
    return "\n".join(lines)
