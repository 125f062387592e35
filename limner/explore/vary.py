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

from limner.core.errors import unknown_name
from limner.core.noise import Noise
from limner.explore.parts import parts
from limner.model.requests import check_asked, check_count

if TYPE_CHECKING:
    from limner.model import Model


def noise_names(model: Model) -> list[str]:
    """The names of the random inputs of a model's paintings."""
    return [field.name for field in dataclasses.fields(model.noise(0, [0]))]


def vary(
    model: Model, captions: Sequence[str], redraw: Sequence[str], *, count: int = 6, seed: int = 0, walk: bool = False
) -> NDArray[np.uint8]:
    """Each caption `count` times, some random inputs differing from picture to picture: [captions, count, H, W, 3] uint8.

    redraw: names of the inputs that differ. The others are those of the seed's first picture, everywhere. walk: go from one draw to another
    along the great circle, in place of a new draw for each picture. Raises SettingsError for captions that the model cannot read, names
    that it has not, and fewer than 2 pictures.
    """
    check_asked(model.encoder, captions)
    check_count("--count", count, 2)  # nothing varies in one
    names = noise_names(model)
    for name in redraw:
        if name not in names:
            raise unknown_name("random input", name, names)
    drawn = _walk(model, seed, count) if walk else model.noise(seed, np.arange(count))
    held = model.noise(seed, np.zeros(count, np.int64))
    noise = dataclasses.replace(held, **{name: getattr(drawn, name) for name in redraw})
    rows = []
    for caption in captions:
        text = model.encode([caption])
        painted = [model.paint(text[torch.zeros(len(own), dtype=torch.int64)], own) for own in (noise[part] for part in parts(count))]
        rows.append(torch.cat(painted).permute(0, 2, 3, 1).cpu().numpy())
    return np.stack(rows)


def vary_in_turn(
    model: Model, captions: Sequence[str], *, count: int = 6, seed: int = 0, walk: bool = False
) -> tuple[list[str], NDArray[np.uint8]]:
    """What `vary` paints for each random input alone: of each caption a row for every input, in the order of `noise_names`.

    Returns titles of the rows, which name the input where there are several, and pictures [rows, count, H, W, 3] uint8. Raises as `vary`.
    """
    names = noise_names(model)
    if len(names) < 2:
        return list(captions), vary(model, captions, names, count=count, seed=seed, walk=walk)
    found = [vary(model, captions, [name], count=count, seed=seed, walk=walk) for name in names]  # inputs x [captions, count, H, W, 3]
    titles = [f"{caption} ({name} {'walked' if walk else 'drawn anew'})".lstrip() for caption in captions for name in names]
    return titles, np.stack(found, axis=1).reshape(len(titles), *found[0].shape[1:])


def _walk(model: Model, seed: int, count: int) -> Noise:
    start, end = model.noise(seed, [0]), model.noise(seed, [1])
    steps = [start.between(end, fraction) for fraction in np.linspace(0.0, 1.0, count).tolist()]
    fields = dataclasses.fields(start)
    return type(start)(**{field.name: torch.cat([getattr(step, field.name) for step in steps]) for field in fields})
