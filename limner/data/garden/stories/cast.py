"""Who the garden's stories are about: twelve flowers with names, each with a look of its own, and what training never shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from limner.core.errors import unknown_name
from limner.data.garden.attributes import ATTRIBUTES, CENTRE, COLOUR, COUNT, SHAPE

LOOKS: Mapping[str, tuple[str, str, str, str]] = MappingProxyType(
    {
        "Rosa": ("red", "5", "heart-shaped", "golden"),
        "Iris": ("blue", "3", "heart-shaped", "golden"),
        "Viola": ("purple", "5", "round", "white"),
        "Daisy": ("pink", "8", "round", "black"),
        "Jasmin": ("white", "5", "pointed", "green"),
        "Erica": ("turquoise", "6", "pointed", "golden"),
        "Dahlia": ("orange", "8", "slender", "crimson"),
        "Linnea": ("yellow", "4", "round", "crimson"),
        "Poppy": ("red", "4", "pointed", "black"),
        "Hazel": ("orange", "6", "round", "green"),
        "Lily": ("turquoise", "3", "round", "white"),
        "Flora": ("yellow", "6", "slender", "green"),
    }
)
"""Colour, number and shape of petals, and centre of each character. All begin small."""
CHARACTERS: tuple[str, ...] = tuple(LOOKS)

LOOK_COLUMNS = (COLOUR, COUNT, SHAPE, CENTRE)
LOOK_CODES: tuple[tuple[int, ...], ...] = tuple(
    tuple(ATTRIBUTES[name].index(value) for name, value in zip(("colour", "count", "shape", "centre"), look, strict=True))
    for look in LOOKS.values()
)
"""Each character's codes, in the order of `LOOK_COLUMNS`."""

_AUTUMN = {
    "red": "orange",
    "orange": "red",
    "yellow": "orange",
    "turquoise": "yellow",
    "blue": "yellow",
    "purple": "red",
    "pink": "orange",
    "white": "yellow",
}
_COLOURS = ATTRIBUTES["colour"]
AUTUMN: tuple[int, ...] = tuple(_COLOURS.index(_AUTUMN[colour]) for colour in _COLOURS)
"""The colour that each colour turns to in autumn."""
CLOSED_SHAPE = ATTRIBUTES["shape"].index("slender")
"""A closed flower's petals are slender, and it is small."""

_HELD_OUT_CASTS = {
    "val": ("Rosa Viola", "Iris Hazel", "Daisy Erica", "Jasmin Lily", "Dahlia Flora", "Linnea Poppy"),
    "test": ("Rosa Dahlia", "Iris Linnea", "Viola Poppy", "Daisy Hazel", "Jasmin Flora", "Erica Lily"),
}
_HELD_OUT_EVENTS = {
    "val": ("Iris grows", "Daisy closes", "Erica autumn", "Linnea grows", "Hazel closes", "Flora autumn"),
    "test": ("Rosa autumn", "Viola closes", "Jasmin grows", "Dahlia autumn", "Poppy closes", "Lily grows"),
}


def _who(name: str) -> int:
    return CHARACTERS.index(name)


HELD_OUT_CASTS: Mapping[str, frozenset[frozenset[int]]] = MappingProxyType(
    {split: frozenset(frozenset(map(_who, pair.split())) for pair in pairs) for split, pairs in _HELD_OUT_CASTS.items()}
)
"""Pairs of characters who meet in no training story, by the split that shows them."""
HELD_OUT_EVENTS: Mapping[str, frozenset[tuple[int, str]]] = MappingProxyType(
    {split: frozenset((_who(event.split()[0]), event.split()[1]) for event in events) for split, events in _HELD_OUT_EVENTS.items()}
)
"""What happens to a character in no training story, by the split that shows it."""
THEMES = ("cast", "event")
"""What stories of val and test show that training does not: a pair of characters, or an event."""


def character(name: str) -> int:
    """The number of a character, whatever the capitals of its name; a SettingsError offers the nearest name."""
    known = {own.lower(): number for number, own in enumerate(CHARACTERS)}
    if name.lower() not in known:
        raise unknown_name("character", name, CHARACTERS)
    return known[name.lower()]
