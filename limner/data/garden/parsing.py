"""Reading captions: which attributes a sentence names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from limner.data.garden.attributes import NAMES
from limner.data.garden.phrases import (
    CENTRES,
    COLOURS,
    COUNTS,
    MORE_CENTRES,
    MORE_COLOURS,
    MORE_COUNTS,
    MORE_SHAPES,
    MORE_SIZES,
    SHAPES,
    SIZES,
    Words,
)


def spoken(text: str) -> str:
    """Lower case, hyphens as spaces, and each mark between clauses as a bar that no phrase crosses."""
    text = re.sub(r"[^a-z0-9,.;:\s]+", " ", text.lower())
    return " " + " ".join(re.sub(r"[,.;:]+", " | ", text).split()) + " "


def values_of(*tables: Words) -> dict[str, str]:
    """Which value each phrase of some tables stands for, the phrases as `spoken` gives them."""
    return {spoken(phrase).strip(): value for table in tables for value, phrases in table.items() for phrase in phrases}


def any_of(phrases: Iterable[str]) -> str:
    """A pattern for any of these phrases, the longest first."""
    return "|".join(sorted((re.escape(phrase) for phrase in phrases), key=len, reverse=True))


_CENTRES = values_of(MORE_CENTRES, CENTRES)
_MIDDLE = r"(?:centred|centered|centres?|centers?|middles?|eyes?|disc|disk)"
_CENTRE_PATTERNS = (
    re.compile(rf" (?:round )?(?P<value>{any_of(_CENTRES)}) (?:round |coloured |colored )?(?:(?:in|at) (?:the|its) )?{_MIDDLE}(?= )"),
    re.compile(rf" {_MIDDLE} (?:of the (?:flower|bloom|blossom) )?(?:is|of|in) (?P<value>{any_of(_CENTRES)})(?= )"),
)
# A background takes its own adjectives with it, so that the blue of a sky is never the blue of a petal. Night comes before sky.
_BACKGROUND_PATTERNS = (
    ("night", r"(?:dark|black|navy|starry|deep|blue)", r"(?:night sky|night|stars|starlight)"),
    ("sky", r"(?:pale|light|clear|bright|blue|azure)", r"(?:sky|skies)"),
    ("meadow", r"(?:fresh|green|lush|the|a)", r"(?:meadows?|grass|lawn)"),
    ("sand", r"(?:warm|golden|yellow|white|pale)", r"(?:sand|sandy|desert|beach)"),
)
_BACKGROUNDS = tuple((value, re.compile(rf"(?: {adjective})* {noun}(?= )")) for value, adjective, noun in _BACKGROUND_PATTERNS)
_DIRECT = {
    name: (values, re.compile(rf" (?P<value>{any_of(values)})(?= )"))
    for name, values in {
        "colour": values_of(COLOURS, MORE_COLOURS),
        "count": values_of(COUNTS, MORE_COUNTS),
        "shape": values_of(SHAPES, MORE_SHAPES),
        "size": values_of(SIZES, MORE_SIZES),
    }.items()
}


def without_backgrounds(text: str) -> tuple[str, set[str]]:
    """A text as `spoken` gives it without its backgrounds, and which these are."""
    found = set()
    for background, pattern in _BACKGROUNDS:
        text, hits = pattern.subn(" |", text)
        if hits:
            found.add(background)
    return text, found


def parse(text: str) -> dict[str, str]:
    """Which attributes a sentence names, with their values: `parse("five blue petals") == {"colour": "blue", "count": "5"}`.

    It inverts every caption of the garden exactly, and reads free sentences in the garden's words. An attribute that a sentence gives two
    values ("a red and white flower") is left out, for nobody could judge it.
    """
    found: dict[str, set[str]] = {name: set() for name in NAMES}
    rest, found["background"] = without_backgrounds(spoken(text))
    for pattern in _CENTRE_PATTERNS:
        found["centre"].update(_CENTRES[match["value"]] for match in pattern.finditer(rest))
        rest = pattern.sub(" |", rest)
    for name, (values, pattern) in _DIRECT.items():
        found[name].update(values[match["value"]] for match in pattern.finditer(rest))
    return {name: min(values) for name, values in found.items() if len(values) == 1}
