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

    presets, count = trainable(method).presets, pictures_of(data)
    if "small-set" in presets and 0 < count < SMALL:
        return "small-set", f"the set has {count:,} training pictures"
    if "photographs" in presets and count:
        return "photographs", "the pictures are your own"
    if device != "cpu" and torch.cuda.is_available():
        return "as-published", "there is a GPU"
    return "cpu", "--device is cpu" if device == "cpu" else "there is no GPU"


def pictures_of(data: str | None) -> int:
    """How many training pictures a prepared set has; 0 for built-in sets, and for what cannot be read, which is said where it is opened."""
    if not data or data in BUILT_IN:
        return 0
    try:
        return read_card(Path(data)).splits.get("train", 0)
    except DataError:
        return 0
