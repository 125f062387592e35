"""Sentences about one flower.

A caption is a form with slots, filled with one of each value's phrases. Which form and which phrases follow from hashed draws, so a caption
is exact on every machine, and changing one attribute leaves every other word as it was (but for "a" and "an").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from limner.data.garden.attributes import NAMES
from limner.data.garden.phrases import FLOWERS, MIDDLES, PHRASES

_WEIGHTED_FORMS: tuple[tuple[int, str], ...] = (
    # all six attributes
    (4, "a {size} {colour} {flower} with {count} {shape} petals and a {centre} {middle} {background}"),
    (3, "{background}, a {size} {colour} {flower} with {count} {shape} petals around a {centre} {middle}"),
    (3, "a {size} {flower} {background} has {count} {shape} {colour} petals and a {centre} {middle}"),
    (2, "this {size} {flower} has {colour} petals, {count} of them, {shape}, and a {centre} {middle}, {background}"),
    (2, "{count} {shape} {colour} petals surround the {centre} {middle} of a {size} {flower} {background}"),
    (2, "a {size} {count}-petalled {colour} {flower} with {shape} petals, {centre} in the middle, {background}"),
    # five
    (3, "a {colour} {flower} with {count} {shape} petals and a {centre} {middle} {background}"),
    (3, "a {size} {colour} {flower} with {count} {shape} petals and a {centre} {middle}"),
    (3, "a {size} {colour} {flower} with {count} {shape} petals {background}"),
    (1, "the {size} {flower} has {shape} {colour} petals and a {centre} {middle}, {background}"),
    (2, "a {size} {flower} with {count} {shape} petals and a {centre} {middle} {background}"),
    (2, "{count} {colour} petals ring the {centre} {middle} of this {size} {flower} {background}"),
    # four
    (3, "a {colour} {flower} with {count} {shape} petals and a {centre} {middle}"),
    (3, "a {size} {colour} {flower} with {count} {shape} petals"),
    (2, "the {flower} has {count} {shape} petals and a {centre} {middle} {background}"),
    (2, "a {size} {flower} {background} with {shape} petals around a {centre} {middle}"),
    (2, "its petals are {colour} and {shape}, its {middle} is {centre}, and it grows {background}"),
    (2, "this {flower} is {size} and {colour}, with a {centre} {middle}, {background}"),
    (2, "there are {count} {shape} petals on this {size} {colour} {flower}"),
    # three
    (3, "a {colour} {flower} with {count} {shape} petals"),
    (2, "a {size} {flower} with {count} petals {background}"),
    (2, "{count} {shape} petals around a {centre} {middle}"),
    (2, "a {colour} {flower} with a {centre} {middle} {background}"),
    (1, "a {size} {flower} whose petals are {shape} and {colour}"),
    # one and two
    (1, "a {colour} {flower} {background}"),
    (1, "a {flower} with {count} {shape} petals"),
    (1, "a {size} {flower} with a {centre} {middle}"),
    (1, "a {centre}-centred {flower} {background}"),
    (1, "{shape} {colour} petals"),
    (1, "a {colour} {flower}"),
    (1, "a {flower} with {count} petals"),
    (1, "a {flower} with {shape} petals"),
    (1, "a {size} {flower}"),
    (1, "a {flower} {background}"),
    (1, "a {flower} with a {centre} {middle}"),
)
FORMS: tuple[str, ...] = tuple(form for weight, form in _WEIGHTED_FORMS for _ in range(weight))
"""Every sentence form, as often as its weight."""

_NAMED = {form: tuple(name for name in NAMES if name in {slot for _, slot, _, _ in Formatter().parse(form)}) for _, form in _WEIGHTED_FORMS}
_ARTICLE = re.compile(r"\ba (?=[aeiou])")

DRAWS = 3 + len(NAMES)
"""How many uniform draws a caption takes: the form, the words for flower and centre, and one phrase for each attribute."""
_DRAW_OF = {name: 3 + place for place, name in enumerate(NAMES)}


@dataclass(frozen=True)
class Caption:
    """A sentence, and what it says."""

    text: str
    """The sentence, in lower case and without a full stop."""
    named: Mapping[str, str]
    """The attributes that the sentence names, with their values."""

    def __str__(self) -> str:
        return self.text


def pick(options: Sequence[str], draw: float) -> str:
    """The option that a uniform draw in [0, 1) falls on."""
    return options[min(int(draw * len(options)), len(options) - 1)]


def form_of(draws: Sequence[float]) -> str:
    """The sentence form that a caption's draws choose."""
    return pick(FORMS, draws[0])


def named_by(form: str) -> tuple[str, ...]:
    """The attributes that a form names, in the order of `ATTRIBUTES`."""
    return _NAMED[form]


def write(attributes: Mapping[str, str], draws: Sequence[float]) -> Caption:
    """The caption of a flower with these attributes, from `DRAWS` uniform draws in [0, 1)."""
    form = form_of(draws)
    words = {"flower": pick(FLOWERS, draws[1]), "middle": pick(MIDDLES, draws[2])}
    named = {name: attributes[name] for name in named_by(form)}
    for name, value in named.items():
        words[name] = pick(PHRASES[name][value], draws[_DRAW_OF[name]])
    return Caption(_ARTICLE.sub("an ", form.format_map(words)), named)
