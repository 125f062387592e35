"""Captions of a split, drawn for an exploration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from limner.core import random
from limner.core.errors import DataError
from limner.core.pictures import CaptionedPictures

if TYPE_CHECKING:
    from limner.model import Model


def drawn_captions(pictures: CaptionedPictures, count: int, seed: int) -> list[str]:
    """`count` captions, each of another picture until all have had their turn; a function of (seed, split, number) alone.

    Raises DataError for a split without captions.
    """
    order = drawn_pictures(pictures, seed)
    drawn = []
    for number in range(count):
        captions = pictures.captions(int(order[number % len(order)]))
        drawn.append(captions[int(random.integers(len(captions), seed, "explore caption", pictures.split, number))])
    return drawn


def distinct_captions(pictures: CaptionedPictures, count: int, seed: int) -> list[str]:
    """As `drawn_captions`, with each text once: fewer than `count` where the split does not hold as many.

    Once every picture has had its turn, the captions that were not drawn follow, in the same order of pictures.
    """
    order = drawn_pictures(pictures, seed)
    found = dict.fromkeys(drawn_captions(pictures, min(count, len(order)), seed))
    for index in order.tolist():
        if len(found) >= count:
            break
        found |= dict.fromkeys(pictures.captions(index))
    return list(found)[:count]


def paintable(model: Model, captions: Sequence[str]) -> list[str]:
    """Those of a set's captions that the model can paint. Raises DataError where there is none."""
    found = [caption for caption in captions if model.can_paint(caption)]
    if not found:
        raise DataError(f"the model knows no word of the captions drawn, such as '{captions[0][:60]}': choose another --split or --data")
    return found


def pool_of(pictures: CaptionedPictures, captioned: bool = True) -> NDArray[np.int64]:
    """The places of a split's captioned pictures, or of all its pictures: [N] int64."""
    return np.flatnonzero(pictures.caption_counts > 0) if captioned else np.arange(len(pictures))


def drawn_pictures(pictures: CaptionedPictures, seed: int, captioned: bool = True) -> NDArray[np.int64]:
    """The places of all captioned pictures, or of all pictures, in the order of the draw: [N] int64. Raises DataError for none."""
    pool = pool_of(pictures, captioned)
    if not len(pool):
        raise DataError(f"'{pictures.name}' holds no captioned picture in its {pictures.split} split: choose another --split")
    return pool[random.permutation(len(pool), seed, "explore", pictures.split)]
