"""Which flowers may stand together, and how: what the splits hold out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limner.data.garden.attributes import ATTRIBUTES, CLASS_NAMES, SPLIT_CLASSES

COLOURS = ATTRIBUTES["colour"]
SIDEWAYS, UPWARDS, DEPTH = RELATIONS = ("left", "above", "front")
"""What one flower can be of another: to the left of it, above it, in front of it. Right, below and behind are the same, said backwards."""
MOST = 4
"""Flowers in a picture at the most; at the least there are two."""


class Triple(NamedTuple):
    """Two colours in a relation, as in "red to the left of yellow"."""

    first: str
    relation: str
    second: str


HELD_OUT_COMPANY: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "val": (("red", "orange"), ("yellow", "turquoise"), ("blue", "pink"), ("purple", "white")),
        "test": (("red", "turquoise"), ("orange", "blue"), ("yellow", "purple"), ("pink", "white")),
    }
)
"""Pairs of colours that never stand in one picture of the train split: every colour is in one pair of val and in one of test."""

HELD_OUT_RELATIONS: Mapping[str, tuple[Triple, ...]] = MappingProxyType(
    {
        "val": (
            Triple("yellow", "left", "blue"),
            Triple("pink", "above", "red"),
            Triple("purple", "front", "orange"),
            Triple("white", "left", "turquoise"),
        ),
        "test": (
            Triple("red", "left", "yellow"),
            Triple("blue", "above", "white"),
            Triple("orange", "front", "pink"),
            Triple("turquoise", "left", "purple"),
        ),
    }
)
"""Pairs of colours that never stand so in the train split, which shows them in every other relation."""

THEMES = ("flower", "company", "relation")
"""What a picture of val or test has that training never showed: a flower's colour and shape, a pair of colours, or a relation of two."""


def company_table(splits: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which two colours must not meet where the pairs of these splits are held out: [8, 8], symmetric."""
    table = np.zeros((len(COLOURS), len(COLOURS)), dtype=bool)
    for split in splits:
        for pair in HELD_OUT_COMPANY[split]:
            first, second = map(COLOURS.index, pair)
            table[first, second] = table[second, first] = True
    return table


def relation_table(splits: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which relations of two colours must not be where those of these splits are held out: [3, 8, 8]."""
    table = np.zeros((len(RELATIONS), len(COLOURS), len(COLOURS)), dtype=bool)
    for split in splits:
        for first, relation, second in HELD_OUT_RELATIONS[split]:
            table[RELATIONS.index(relation), COLOURS.index(first), COLOURS.index(second)] = True
    return table


def class_table(split: str) -> NDArray[np.bool_]:
    """Which classes of flowers a split of the garden has: [32]."""
    table = np.zeros(len(CLASS_NAMES), dtype=bool)
    table[list(SPLIT_CLASSES[split])] = True
    return table
