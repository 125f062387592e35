"""Where pictures differ, as pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far every pixel of pictures [N, H, W, 3] is from the other's, in levels of 255, mean over the colours: [N, H, W]."""
    return np.abs(one.astype(np.float32) - other.astype(np.float32)).mean(3)


def bright(differences: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Maps [N, H, W] as grey pictures [N, H, W, 3], white where any of them is greatest."""
    grey = np.round(255 * differences / max(float(differences.max(initial=0.0)), 1.0)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3)
