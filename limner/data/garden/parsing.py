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


def _spoken(text: str) -> str:
    """Lower case, hyphens as spaces, and each mark between clauses as a bar that no phrase crosses."""
    text = re.sub(r"[^a-z0-9,.;:\s]+", " ", text.lower())
    return " " + " ".join(re.sub(r"[,.;:]+", " | ", text).split()) + " "


def _values(*tables: Words) -> dict[str, str]:
    return {_spoken(phrase).strip(): value for table in tables for value, phrases in table.items() for phrase in phrases}


def _any(phrases: Iterable[str]) -> str:
    return "|".join(sorted((re.escape(phrase) for phrase in phrases), key=len, reverse=True))


_CENTRES = _values(MORE_CENTRES, CENTRES)
_MIDDLE = r"(?:centred|centered|centres?|centers?|middles?|eyes?|disc|disk)"
_CENTRE_PATTERNS = (
    re.compile(rf" (?:round )?(?P<value>{_any(_CENTRES)}) (?:round |coloured |colored )?(?:(?:in|at) (?:the|its) )?{_MIDDLE}(?= )"),
    re.compile(rf" {_MIDDLE} (?:of the (?:flower|bloom|blossom) )?(?:is|of|in) (?P<value>{_any(_CENTRES)})(?= )"),
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
    name: (values, re.compile(rf" (?P<value>{_any(values)})(?= )"))
    for name, values in {
        "colour": _values(COLOURS, MORE_COLOURS),
        "count": _values(COUNTS, MORE_COUNTS),
        "shape": _values(SHAPES, MORE_SHAPES),
        "size": _values(SIZES, MORE_SIZES),
    }.items()
}


def parse(text: str) -> dict[str, str]:
    """Which attributes a sentence names, with their values: `parse("five blue petals") == {"colour": "blue", "count": "5"}`.

    It inverts every caption of the garden exactly, and reads free sentences in the garden's words. An attribute that a sentence gives two
    values ("a red and white flower") is left out, for nobody could judge it.
    """
    rest = _spoken(text)
    found: dict[str, set[str]] = {name: set() for name in NAMES}
    for background, pattern in _BACKGROUNDS:
        rest, hits = pattern.subn(" |", rest)
        if hits:
            found["background"].add(background)
    for pattern in _CENTRE_PATTERNS:
        found["centre"].update(_CENTRES[match["value"]] for match in pattern.finditer(rest))
        rest = pattern.sub(" |", rest)
    for name, (values, pattern) in _DIRECT.items():
        found[name].update(values[match["value"]] for match in pattern.finditer(rest))
    return {name: min(values) for name, values in found.items() if len(values) == 1}
