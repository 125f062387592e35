"""How learning rates fall."""

from __future__ import annotations

import math

from limner.core.trainable import Progress


def cosine(progress: Progress, start: float = 0.0, end: float = 0.0) -> float:
    """What a learning rate is multiplied by: 1, and from the share `start` of the phase's budget on a half cosine down to `end`."""
    if progress.spent <= start:
        return 1.0
    return 1.0 - (1.0 - end) * (0.5 - 0.5 * math.cos(math.pi * (progress.spent - start) / (1.0 - start)))


def warmed(progress: Progress, steps: int, *, cooled: bool = True) -> float:
    """What a learning rate is multiplied by: up to 1 in a straight line over so many steps; then, where `cooled`, a half cosine down to 0.

    The cosine goes by what is left of the phase's budget, be that one in steps or in minutes.
    """
    rise = min((progress.step + 1) / max(steps, 1), 1.0)
    return rise * cosine(progress, min(steps / max(progress.steps, 1), 1.0)) if cooled else rise
