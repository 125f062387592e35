"""Captions that are rows of numbers, such as "1 0 0 2.18 -0.35"."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

_LOOKED_AT = 64


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
    """How many numbers the first captions have, two or more, where all of them are such rows of one length; else None."""
    lengths = {len(values) if (values := numbers_of(caption)) is not None else 0 for caption in islice(captions, _LOOKED_AT)}
    return lengths.pop() if len(lengths) == 1 and min(lengths) > 1 else None
