"""How learning rates fall."""

from __future__ import annotations

import math

from limner.core.trainable import Progress


def cosine(progress: Progress, start: float = 0.0, end: float = 0.0) -> float:
    """What a learning rate is multiplied by: 1, and from the share `start` of the phase's budget on a half cosine down to `end`."""
    if progress.spent <= start:
        return 1.0
    return 1.0 - (1.0 - end) * (0.5 - 0.5 * math.cos(math.pi * (progress.spent - start) / (1.0 - start)))
