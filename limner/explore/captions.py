"""Captions of a split, drawn for an exploration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limner.core import random
from limner.core.errors import DataError
from limner.core.pictures import CaptionedPictures


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


def drawn_pictures(pictures: CaptionedPictures, seed: int) -> NDArray[np.int64]:
    """The places of all captioned pictures in the order of the draw: [N] int64. Raises DataError where there is none."""
    pool = np.flatnonzero(pictures.caption_counts > 0)
    if not len(pool):
        raise DataError(f"'{pictures.name}' holds no captioned picture in its {pictures.split} split: choose another --split")
    return pool[random.permutation(len(pool), seed, "explore", pictures.split)]
