"""Captions that are rows of numbers, such as "1 0 0 2.18 -0.35"."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence


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


def mostly_rows(captions: Sequence[str]) -> tuple[int, int, int] | None:
    """Where more than half of the captions are rows of numbers of one length, two or more, and not all of them are: this length, how many
    there are, and the place of the first other caption. None else."""
    widths = [len(numbers_of(caption) or ()) for caption in captions]
    counted = Counter(width for width in widths if width > 1).most_common(1)
    if not counted or counted[0][1] == len(widths) or 2 * counted[0][1] <= len(widths):
        return None
    width, count = counted[0]
    return width, count, next(place for place, other in enumerate(widths) if other != width)
