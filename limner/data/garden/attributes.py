"""What can be said of a flower: the garden's attributes, its classes and the splits that hold classes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import unknown_name

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "colour": ("red", "orange", "yellow", "turquoise", "blue", "purple", "pink", "white"),
        "count": ("3", "4", "5", "6", "8"),
        "shape": ("round", "pointed", "heart-shaped", "slender"),
        "centre": ("golden", "white", "black", "green", "crimson"),
        "background": ("sky", "meadow", "night", "sand"),
        "size": ("small", "large"),
    }
)
"""Every attribute with its values; an attribute's code is the position of its value."""

NAMES: tuple[str, ...] = tuple(ATTRIBUTES)
COLOUR, COUNT, SHAPE, CENTRE, BACKGROUND, SIZE = range(len(NAMES))

_SHAPES = len(ATTRIBUTES["shape"])
CLASS_NAMES: tuple[str, ...] = tuple(f"{colour} {shape}" for colour in ATTRIBUTES["colour"] for shape in ATTRIBUTES["shape"])

# One shape is held out of every colour, and two colours out of every shape, so that training sees every value but not these pairs.
_HELD_OUT_SHAPE = (0, 1, 2, 3, 1, 2, 3, 0)
_HELD_OUT = tuple(colour * _SHAPES + shape for colour, shape in enumerate(_HELD_OUT_SHAPE))

SPLIT_CLASSES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "train": tuple(identity for identity in range(len(CLASS_NAMES)) if identity not in _HELD_OUT),
        "val": _HELD_OUT[1::2],
        "test": _HELD_OUT[0::2],
        "all": tuple(range(len(CLASS_NAMES))),
    }
)
"""The class ids of each split: train (24), val (4) and test (4) share none; 'all' has the 32."""

SPLIT_LENGTHS: Mapping[str, int] = MappingProxyType({"train": 20_000, "val": 2_000, "test": 4_000, "all": 20_000})


Codes = TypeVar("Codes", int, NDArray[np.int64])


def class_of(colour: Codes, shape: Codes) -> Codes:
    """The class id of a pair of codes, or the ids of arrays of them."""
    return colour * _SHAPES + shape


def codes_of_class(class_id: Codes) -> tuple[Codes, Codes]:
    """The (colour, shape) codes of a class id, or of an array of ids."""
    return class_id // _SHAPES, class_id % _SHAPES


def check_split(split: str) -> str:
    """Return the split's name, or raise a SettingsError that offers the nearest one."""
    if split not in SPLIT_CLASSES:
        raise unknown_name("garden split", split, SPLIT_CLASSES)
    return split


def encode(attributes: Mapping[str, str]) -> list[int]:
    """Codes of a complete description, in the order of `ATTRIBUTES`; an unknown value raises a SettingsError with the nearest one."""
    for name, values in ATTRIBUTES.items():
        if attributes[name] not in values:
            raise unknown_name(f"value of the garden's attribute '{name}'", attributes[name], values)
    return [values.index(attributes[name]) for name, values in ATTRIBUTES.items()]


def decode(codes: Sequence[int]) -> dict[str, str]:
    """Values of the six codes: {"colour": "red", "count": "5", ...}."""
    return {name: values[int(code)] for (name, values), code in zip(ATTRIBUTES.items(), codes, strict=True)}
