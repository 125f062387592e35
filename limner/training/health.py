"""How much painted pictures differ, and what to say where they do not."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


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
        "diversity/noises": float(np.mean([mean_distance(row) for row in pictures])) / real_distance,
        "diversity/captions": float(np.mean([mean_distance(column) for column in pictures.swapaxes(0, 1)])) / real_distance,
    }
