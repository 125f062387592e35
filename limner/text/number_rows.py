"""Captions that are rows of numbers, such as "1 0 0 2.18 -0.35"."""

from __future__ import annotations

import math
from collections.abc import Iterable


def numbers_of(caption: str) -> list[float] | None:
    """The numbers of a caption that is a row of them; None of any other text."""
    try:
        values = [float(word) for word in caption.split()]
    except ValueError:
        return None
    return values if values and all(map(math.isfinite, values)) else None


def as_caption(values: Iterable[float]) -> str:
    """Numbers as a caption that `Numbers` reads back exactly."""
    return " ".join(str(int(value)) if float(value).is_integer() else repr(float(value)) for value in values)


def vector_width(captions: Iterable[str]) -> int | None:
    """How many numbers each caption has, two or more, where all of them are such rows of one length; None at the first that differs."""
    width = None
    for caption in captions:
        values = numbers_of(caption)
        if values is None or len(values) < 2 or len(values) != (width or len(values)):
            return None
        width = len(values)
    return width
