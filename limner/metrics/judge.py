"""Reading pictures with the judge, and how well it reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.data.garden import ATTRIBUTES, Garden
from limner.features.garden_judge import AttributeJudge, Reading, load_judge

__all__ = ["AttributeJudge", "Reading", "accuracies", "confusions", "load_judge", "to_tensor"]

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
