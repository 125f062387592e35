"""What each random input of a painting decides: one of them drawn anew, or walked along, while the captions and the others stand still.

Under conditioning augmentation, one caption has many conditions: StackGAN's figure of them at fixed z (Zhang et al., ICCV 2017). FusedGAN's
figures hold the posture, which is its z, under other captions, under other details and on walks (Bodla et al., ECCV 2018).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from limner.core.errors import SettingsError, unknown_name
from limner.core.noise import Noise

if TYPE_CHECKING:
    from limner.model import Model


def noise_names(model: Model) -> list[str]:
    """The names of the random inputs of a model's paintings."""
    return [field.name for field in dataclasses.fields(model.noise(0, [0]))]


def vary(
    model: Model, captions: Sequence[str], redraw: Sequence[str] | None = None, *, count: int = 6, seed: int = 0, walk: bool = False
) -> NDArray[np.uint8]:
    """Each caption `count` times, some random inputs differing from picture to picture: [captions, count, H, W, 3] uint8.

    redraw: names of the inputs that differ, by default all but the first, or the only one. The others are those of the seed's first
    picture, everywhere. walk: go from one draw to another along the great circle, in place of a new draw for each picture.
    Raises SettingsError for captions that the model cannot read, names that it has not, and fewer than 2 pictures.
    """
    for caption in captions:
        model.check(caption)
    if count < 2:
        raise SettingsError(f"--count is {count}, but nothing varies in fewer than 2 pictures")
    names = noise_names(model)
    chosen = list(redraw) if redraw is not None else names[1:] or names
    for name in chosen:
        if name not in names:
            raise unknown_name("random input", name, names)
    drawn = _walk(model, seed, count) if walk else model.noise(seed, np.arange(count))
    held = model.noise(seed, np.zeros(count, np.int64))
    noise = dataclasses.replace(held, **{name: getattr(drawn, name) for name in chosen})
    rows = []
    for caption in captions:
        text = model.encode([caption])[torch.zeros(count, dtype=torch.int64)]
        rows.append(model.paint(text, noise).permute(0, 2, 3, 1).cpu().numpy())
    return np.stack(rows)


def _walk(model: Model, seed: int, count: int) -> Noise:
    start, end = model.noise(seed, [0]), model.noise(seed, [1])
    steps = [start.between(end, fraction) for fraction in np.linspace(0.0, 1.0, count).tolist()]
    fields = dataclasses.fields(start)
    return type(start)(**{field.name: torch.cat([getattr(step, field.name) for step in steps]) for field in fields})
