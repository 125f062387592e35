"""Reading captions of bouquets: which flowers a sentence names, with which attributes, and how they stand to each other."""

from __future__ import annotations

import re
from functools import lru_cache

from limner.data.garden.attributes import ATTRIBUTES, CENTRE, COLOUR, COUNT, SHAPE, SIZE
from limner.data.garden.bouquets.captions import PLACES, PLACES_OF_IT, PLURALS, spoken_relation
from limner.data.garden.bouquets.scenes import BETWEEN, Mention, Relation, Said
from limner.data.garden.parsing import any_of, spoken, values_of, without_backgrounds
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
)

_COLOURS, _SIZES = values_of(COLOURS, MORE_COLOURS), values_of(SIZES, MORE_SIZES)
_COUNTS, _SHAPES, _CENTRES = values_of(COUNTS, MORE_COUNTS), values_of(SHAPES, MORE_SHAPES), values_of(CENTRES, MORE_CENTRES)
_VALUES = {COLOUR: _COLOURS, SIZE: _SIZES, COUNT: _COUNTS, SHAPE: _SHAPES, CENTRE: _CENTRES}
_NUMBERS = {"a": 1, "an": 1, "the": 1, "one": 1, "two": 2, "three": 3, "four": 4, "2": 2, "3": 3, "4": 4}
_NOUNS = any_of([*PLURALS, *PLURALS.values()])
_MIDDLE = r"(?:centre|center|middle|eye|heart)"
_DETAIL = (
    rf"(?:(?:(?P<count{{0}}>{any_of(_COUNTS)}) )?(?:(?P<shape{{0}}>{any_of(_SHAPES)}) )?petals"
    rf"|an? (?P<centre{{0}}>{any_of(_CENTRES)}) {_MIDDLE})"
)
_FLOWER = re.compile(
    rf"(?<= )(?P<number>{any_of(_NUMBERS)}) (?:(?P<size>{any_of(_SIZES)}) )?(?:(?P<colour>{any_of(_COLOURS)}) )?(?:{_NOUNS})"
    rf"(?: with {_DETAIL.format(1)}(?: and {_DETAIL.format(2)})?)?(?= )"
)
_WORDS = {spoken(phrase).strip(): word for word, phrases in PLACES.items() for phrase in phrases}
_MORE_WORDS = {"under": "below", "underneath": "below", "on top of": "above", "at the left of": "left", "at the right of": "right"}
_OF_IT = {spoken(phrase).strip(): word for word, phrase in PLACES_OF_IT.items()}
_TOKEN = re.compile(
    rf"<(?P<flower>\d+)>|(?P<line>from left to right|from top to bottom)|(?P<between>between)"
    rf"|(?P<it>{any_of(_OF_IT)})(?= )|(?P<place>{any_of([*_WORDS, *_MORE_WORDS])})(?= )|(?P<mark>\|)|(?P<word>[^\s<|]+)"
)


@lru_cache(maxsize=1 << 16)
def parse_bouquet(text: str) -> Said:
    """What a sentence says of a bouquet: it inverts every caption exactly, and reads free sentences in the same words and order.

    Flowers are named as in "a small red flower with five petals", "two yellow ones"; a number of flowers of which nothing is said, as in
    "three flowers", is how many there are in all.
    """
    rest, grounds = without_backgrounds(spoken(text))
    background = ATTRIBUTES["background"].index(min(grounds)) if len(grounds) == 1 else None
    mentions: list[Mention] = []
    totals: list[int] = []

    def flower(match: re.Match[str]) -> str:
        number, named = _NUMBERS[match["number"]], _named(match)
        if not named:
            if number > 1:
                totals.append(number)
            return " "
        mentions.append(Mention(named, number))
        return f"<{len(mentions) - 1}>"

    rest = _FLOWER.sub(flower, rest)
    relations = _relations(list(_TOKEN.finditer(rest)))
    return Said(tuple(mentions), tuple(relations), totals[0] if totals else None, background)


def _named(match: re.Match[str]) -> dict[int, int]:
    words = {SIZE: match["size"], COLOUR: match["colour"]}
    for column, name in ((COUNT, "count"), (SHAPE, "shape"), (CENTRE, "centre")):
        words[column] = match[f"{name}1"] or match[f"{name}2"]
    names = list(ATTRIBUTES)
    found = {column: ATTRIBUTES[names[column]].index(_VALUES[column][word]) for column, word in words.items() if word}
    return dict(sorted(found.items()))


def _relations(tokens: list[re.Match[str]]) -> list[Relation]:
    found: list[Relation] = []
    line: str | None = None  # "from left to right": each flower stands in this relation to the next
    subject: int | None = None
    before: int | None = None
    waiting: list[str] = []  # relations whose other flower has been named, and whose subject has not: "above a red flower there is ..."
    objects: list[int] = []
    middle = 0
    word: str | None = None
    for token in tokens:
        if token["line"]:
            line, before = ("left" if "left" in token["line"] else "above"), None
        elif token["mark"]:
            word = None  # "in front of a clear sky" is no relation
        elif token["between"]:
            middle, objects = 2, []
        elif token["it"]:
            if before is not None and subject is not None and before != subject:
                found.append(spoken_relation(_OF_IT[token["it"]], before, subject))
        elif token["place"]:
            word = {**_WORDS, **_MORE_WORDS}[token["place"]]
        elif token["flower"]:
            number = int(token["flower"])
            if line:
                if before is not None:
                    found.append((line, (before, number)))
                before = number
            elif middle:
                objects.append(number)
                middle -= 1
                if not middle and subject is not None:
                    found.append((BETWEEN, (subject, *objects)))
                    objects = []
            elif word is not None and subject is not None:
                found.append(spoken_relation(word, subject, number))
                word, before = None, number
            elif word is not None and not waiting:
                waiting, objects, word = [word], [number], None
            elif waiting:
                found.append(spoken_relation(waiting[0], number, objects[0]))
                waiting, objects, subject, before = [], [], number, number
            elif len(objects) == 2:
                found.append((BETWEEN, (number, *objects)))
                objects, subject, before = [], number, number
            else:
                subject, before = (number if subject is None or not _joined(tokens, token) else subject), number
    return found


def _joined(tokens: list[re.Match[str]], token: re.Match[str]) -> bool:
    """Whether "with" stands before a flower, which then is not what the sentence is about."""
    place = tokens.index(token)
    return place > 0 and tokens[place - 1]["word"] == "with"
