"""Captions that are lists of tags, such as `red, sword`: a set's own words, in no order."""

from __future__ import annotations

import dataclasses
import re

from limner.core import random
from limner.data.sources import EMPTY_CAPTION, LONG_CAPTION, LONGEST_CAPTION, Sample

ORDERS = 5
"""Captions made of one list of tags: as it is given, and in other orders, lest a model take the order for a meaning."""


def tags_of(lines: tuple[str, ...]) -> list[str]:
    """The tags of a picture, each once: parted by commas, semicolons and lines, `_` for a blank, `\\(` for a bracket."""
    parts = [part for line in lines for part in re.split("[,;]", line)]
    plain = (" ".join(re.sub(r"\\([()])", r"\1", part).replace("_", " ").split()) for part in parts)
    found: dict[str, str] = {}
    for tag in plain:
        if tag:
            found.setdefault(tag.casefold(), tag)
    return list(found.values())


def with_tags(sample: Sample) -> Sample:
    """The sample with up to `ORDERS` captions made of its tags, in orders that its name decides."""
    if not sample.captions:
        return sample
    tags = tags_of(sample.captions)
    captions: dict[str, None] = {}
    for number in range(ORDERS):
        order = range(len(tags)) if not number else random.permutation(len(tags), "tags", sample.key, number).tolist()
        captions[", ".join(tags[place] for place in order)] = None
    problem = EMPTY_CAPTION if not tags else LONG_CAPTION if len(next(iter(captions))) > LONGEST_CAPTION else None
    return dataclasses.replace(sample, captions=() if problem else tuple(captions), problem=sample.problem or problem)
