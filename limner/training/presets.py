"""Which preset suits a machine and a set of pictures, where nobody names one."""

from __future__ import annotations

from pathlib import Path

from limner.core.errors import DataError
from limner.core.recipes import trainable
from limner.data.cache import read_card
from limner.data.catalog import BUILT_IN

SMALL = 2000
"""Training pictures below which a set is a small one."""


def suitable_preset(method: str, data: str | None, device: str | None) -> tuple[str, str]:
    """The preset of a method for these pictures on this device (by default the GPU, where there is one), and why."""
    import torch  # late, as it takes a second

    if device != "cpu" and torch.cuda.is_available():
        return "as-published", "there is a GPU"
    why = "--device is cpu" if device == "cpu" else "there is no GPU"
    if "small-set" in trainable(method).presets and (count := small_set(data)) is not None:
        return "small-set", f"{why}, and the set has {count:,} training pictures"
    return "cpu", why


def small_set(data: str | None) -> int | None:
    """How many training pictures a prepared set has, where these are few enough for presets that are made for small sets."""
    if not data or data in BUILT_IN:
        return None
    try:
        count = read_card(Path(data)).splits.get("train", 0)
    except DataError:  # which is said where the set is opened
        return None
    return count if 0 < count < SMALL else None
