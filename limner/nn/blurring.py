"""Blurring by fixed filters."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def binomial(x: Tensor) -> Tensor:
    """[B, C, H, W], blurred by [1 2 1] / 4 along both sides, with its edges repeated: two means of 2x2 places."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, 2, 1), 2, 1)
