"""Sentences about bouquets: which flowers they name, and where these stand.

A sentence is planned first (which flowers, which of their attributes, which relations), then spoken. A plan is only made of what is true
and cannot be misunderstood: what is said of a flower fits no other flower of the picture, and what cannot be seen well is not said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from limner.data.garden.attributes import ATTRIBUTES, BACKGROUND, CENTRE, COLOUR, COUNT, NAMES, SHAPE, SIZE
from limner.data.garden.bouquets.scenes import BETWEEN, FLOWER_COLUMNS, Mention, Relation, Said, Shown
from limner.data.garden.phrases import FLOWERS, MIDDLES, PHRASES

PLAIN_VIEW = 0.75
"""Number and shape of petals are named of flowers of which this share can be seen; no flower is ever hidden further than `LEAST_VIEW`."""
LEAST_VIEW = 0.55

NUMBERS = {2: "two", 3: "three", 4: "four"}
PLACES: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over", "higher up than"),
    "below": ("below", "beneath", "lower down than"),
    "front": ("in front of", "partly hiding"),
    "behind": ("behind", "partly hidden by"),
}
"""How each relation is spoken of, before the flower that it is a relation to."""
PLACES_OF_IT = {
    "left": "to its left",
    "right": "to its right",
    "above": "above it",
    "below": "below it",
    "front": "in front of it",
    "behind": "behind it",
}
BACKWARDS = {"right": "left", "below": "above", "behind": "front"}
"""Words for a relation of which the second flower is the subject."""
OPPOSITES = {"left": "right", "above": "below", "front": "behind"} | BACKWARDS
PLURALS = {"flower": "flowers", "bloom": "blooms", "blossom": "blossoms", "one": "ones"}

_FORMS: tuple[tuple[int, str, str], ...] = (
    (6, "pair", "{A} {p} {B}"),
    (4, "pair", "{A} {p} {B} {background}"),
    (2, "pair", "{background}, {A} {p} {B}"),
    (2, "pair", "there is {A} {p} {B}"),
    (2, "pair", "{p} {B} there is {A}"),
    (3, "pair", "{A} with {B} {q}"),
    (3, "pair", "{n} {flowers}, {A} {p} {B}"),
    (2, "pair", "{n} {flowers} {background}: {A} is {p} {B}"),
    (8, "group", "{A} {p} {B}"),
    (5, "group", "{A} {p} {B} {background}"),
    (4, "two", "{A} {p} {B} and {r} {C}"),
    (2, "two", "{background}, {A} {p} {B} and {r} {C}"),
    (4, "between", "{A} between {B} and {C}"),
    (2, "between", "{A} stands between {B} and {C} {background}"),
    (2, "between", "between {B} and {C} there is {A}"),
    (3, "row", "from left to right: {list}"),
    (2, "row", "{n} {flowers} {background}, from left to right {list}"),
    (2, "column", "from top to bottom: {list}"),
    (1, "column", "{n} {flowers}, from top to bottom {list}"),
    (3, "all", "{list}"),
    (3, "all", "{list} {background}"),
    (3, "all", "{n} {flowers} {background}: {list}"),
    (2, "all", "a bouquet of {n} {flowers}: {list}"),
    (2, "some", "{A}, one of {n} {flowers} {background}"),
    (2, "some", "{n} {flowers} {background}, one of them is {A}"),
)
FORMS = tuple((kind, form) for weight, kind, form in _FORMS for _ in range(weight))
_LAST_RESORT = ("none", "{n} {flowers} {background}")
_ATTEMPTS = 6

_GLOBAL, _EACH, _MOST_MENTIONS = _ATTEMPTS + 10, 18, 4
DRAWS = _GLOBAL + _EACH * _MOST_MENTIONS
"""How many uniform draws a caption takes."""
Item = TypeVar("Item")
_ARTICLE = re.compile(r"\ba (?=[aeiou])")
_PHRASES = [[PHRASES[name][value] for value in values] for name, values in ATTRIBUTES.items()]
_LIKELY = {COLOUR: 0.92, SIZE: 0.4}
_LIKELY_DETAIL = {1: 0.6, 2: 0.28, 3: 0.08, 4: 0.04}


@dataclass(frozen=True)
class Caption:
    """A sentence, and what it says."""

    text: str
    """The sentence, in lower case and without a full stop."""
    said: Said

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Plan:
    """A sentence before it is spoken."""

    kind: str
    form: str
    mentions: tuple[Mention, ...]
    words: tuple[str, ...] = ()
    """Spoken relations: of the first mention to the second, then to the third."""
    total: int | None = None
    background: int | None = None

    def said(self) -> Said:
        """What the sentence says."""
        return Said(self.mentions, self._relations(), self.total, self.background)

    def _relations(self) -> tuple[Relation, ...]:
        if self.kind == "between":
            return ((BETWEEN, (0, 1, 2)),)
        if self.kind in ("row", "column"):
            name = "left" if self.kind == "row" else "above"
            return tuple((name, (place, place + 1)) for place in range(len(self.mentions) - 1))
        return tuple(spoken_relation(word, 0, place) for place, word in enumerate(self.words, 1))


def spoken_relation(word: str, subject: int, other: int) -> Relation:
    """The relation that a word of `PLACES` says of two mentions."""
    return (BACKWARDS[word], (other, subject)) if word in BACKWARDS else (word, (subject, other))


def pick(options: Sequence[Item], draw: float) -> Item:
    """The option that a uniform draw in [0, 1) falls on."""
    return options[min(int(draw * len(options)), len(options) - 1)]


def plan(shown: Shown, visible: Sequence[float], draws: Sequence[float]) -> Plan:
    """What to say of a picture, from `DRAWS` uniform draws in [0, 1)."""
    for attempt in range(_ATTEMPTS):
        kind, form = pick(FORMS, draws[attempt])
        chosen = _CHOICES[kind](shown, draws[_ATTEMPTS:_GLOBAL])
        if chosen is None:
            continue
        groups, words = chosen
        mentions = [_mention(shown, visible, group, len(groups), _own(draws, place)) for place, group in enumerate(groups)]
        if all(mentions):
            return _planned(shown, kind, form, tuple(filter(None, mentions)), words)
    return _planned(shown, *_LAST_RESORT, (), ())


def _planned(shown: Shown, kind: str, form: str, mentions: tuple[Mention, ...], words: tuple[str, ...]) -> Plan:
    total = len(shown.codes) if "{n}" in form else None
    return Plan(kind, form, mentions, words, total, shown.background if "{background}" in form else None)


def _own(draws: Sequence[float], place: int) -> Sequence[float]:
    start = _GLOBAL + place * _EACH
    return draws[start : start + _EACH]


Chosen = tuple[list[tuple[int, ...]], tuple[str, ...]]


def _spoken(shown: Shown) -> dict[str, list[tuple[int, int]]]:
    """Which word can be said of which two flowers, the subject first."""
    found: dict[str, list[tuple[int, int]]] = {}
    for name, places in sorted(shown.relations):
        if name != BETWEEN:
            first, second = places
            found.setdefault(name, []).append((first, second))
            found.setdefault(OPPOSITES[name], []).append((second, first))
    return found


def _pair(shown: Shown, draws: Sequence[float]) -> Chosen | None:
    found = _spoken(shown)
    if not found:
        return None
    word = pick(sorted(found), draws[0])
    first, second = pick(found[word], draws[1])
    return [(first,), (second,)], (word,)


def _group(shown: Shown, draws: Sequence[float]) -> Chosen | None:
    colours: dict[int, list[int]] = {}
    for flower, codes in enumerate(shown.codes):
        colours.setdefault(codes[COLOUR], []).append(flower)
    groups = [tuple(flowers) for flowers in colours.values() if len(flowers) > 1]
    spoken = _spoken(shown)
    options = []
    for group in groups:
        for word in sorted(spoken):
            for other in range(len(shown.codes)):
                if other in group:
                    continue
                if all((other, member) in spoken[word] for member in group):
                    options.append(([(other,), group], (word,)))
                if all((member, other) in spoken[word] for member in group):
                    options.append(([group, (other,)], (word,)))
    return pick(options, draws[0]) if options else None


def _two(shown: Shown, draws: Sequence[float]) -> Chosen | None:
    of_each: dict[int, list[tuple[str, int]]] = {}
    for word, pairs in sorted(_spoken(shown).items()):
        for first, second in pairs:
            of_each.setdefault(first, []).append((word, second))
    able = {flower: links for flower, links in of_each.items() if len({other for _, other in links}) > 1}
    if not able:
        return None
    flower = pick(sorted(able), draws[0])
    word, other = pick(able[flower], draws[1])
    further = [link for link in able[flower] if link[1] != other]
    another, third = pick(further, draws[2])
    return [(flower,), (other,), (third,)], (word, another)


def _between(shown: Shown, draws: Sequence[float]) -> Chosen | None:
    options = sorted(places for name, places in shown.relations if name == BETWEEN)
    return ([(place,) for place in pick(options, draws[0])], ()) if options else None


def _line(name: str) -> Callable[[Shown, Sequence[float]], Chosen | None]:
    def choose(shown: Shown, draws: Sequence[float]) -> Chosen | None:
        count = len(shown.codes)
        before = [sum((name, (other, flower)) in shown.relations for other in range(count)) for flower in range(count)]
        order = sorted(range(count), key=before.__getitem__)
        if all((name, (first, second)) in shown.relations for first, second in zip(order, order[1:])):
            return [(flower,) for flower in order], ()
        return None

    return choose


def _all(shown: Shown, draws: Sequence[float]) -> Chosen | None:
    order = sorted(range(len(shown.codes)), key=lambda flower: draws[flower])
    return [(flower,) for flower in order], ()


def _some(shown: Shown, draws: Sequence[float]) -> Chosen | None:
    return [(pick(range(len(shown.codes)), draws[0]),)], ()


_CHOICES: dict[str, Callable[[Shown, Sequence[float]], Chosen | None]] = {
    "pair": _pair,
    "group": _group,
    "two": _two,
    "between": _between,
    "row": _line("left"),
    "column": _line("above"),
    "all": _all,
    "some": _some,
}


def _mention(shown: Shown, visible: Sequence[float], flowers: tuple[int, ...], mentions: int, draws: Sequence[float]) -> Mention | None:
    """Which attributes to name so that these flowers, and no others, have them; None where nothing that can be seen tells them apart."""
    if len(flowers) > 1:  # several of one colour: the size too, where they share it
        own = shown.codes[flowers[0]]
        alike = SIZE if all(shown.codes[flower][SIZE] == own[SIZE] for flower in flowers) and draws[4] < 0.4 else COLOUR
        return Mention({column: own[column] for column in sorted({COLOUR, alike})}, len(flowers))
    (flower,) = flowers
    if visible[flower] < LEAST_VIEW:
        return None
    own = shown.codes[flower]
    usable = [column for column in FLOWER_COLUMNS if visible[flower] >= PLAIN_VIEW or column not in (COUNT, SHAPE)]
    named = {column for column in usable if draws[_place(column)] < _LIKELY.get(column, _LIKELY_DETAIL[mentions])}
    rivals = [codes for place, codes in enumerate(shown.codes) if place != flower]
    for column in sorted(usable, key=lambda column: draws[5 + _place(column)]):
        left = [codes for codes in rivals if all(codes[each] == own[each] for each in named)]
        if named and not left:
            break
        if column not in named and (not named or any(codes[column] != own[column] for codes in left)):
            named.add(column)
    if not named or any(all(codes[each] == own[each] for each in named) for codes in rivals):
        return None
    return Mention({column: own[column] for column in sorted(named)})


def _place(column: int) -> int:
    """Where a flower's attribute is among the draws of a mention."""
    return FLOWER_COLUMNS.index(column)


def speak(plan: Plan, draws: Sequence[float]) -> Caption:
    """The sentence of a plan. The same draws put the same words in the same places, whatever a plan's values are."""
    after = draws[_ATTEMPTS:_GLOBAL]
    first = 1 if plan.form.startswith(("{p}", "between")) else 0  # whoever comes first in the sentence is not "one"
    phrases = [_noun_phrase(mention, place != first, _own(draws, place)) for place, mention in enumerate(plan.mentions)]
    words = {"list": _listed(phrases), "flowers": PLURALS[pick(FLOWERS, after[4])], **dict(zip("ABCD", phrases))}
    if plan.total is not None:
        words["n"] = NUMBERS[plan.total]
    if plan.background is not None:
        words["background"] = pick(_PHRASES[BACKGROUND][plan.background], after[5])
    for slot, word, draw in zip("pr", plan.words, after[6:8]):
        words[slot] = pick(PLACES[word], draw)
    if plan.words:
        words["q"] = PLACES_OF_IT[OPPOSITES[plan.words[0]]]
    return Caption(_ARTICLE.sub("an ", plan.form.format_map(words)), plan.said())


def _listed(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + f" and {phrases[-1]}" if phrases else ""


def _noun_phrase(mention: Mention, later: bool, draws: Sequence[float]) -> str:
    spoken = {column: pick(_PHRASES[column][code], draws[12 + _place(column)]) for column, code in mention.named.items()}
    noun = "one" if later and draws[17] < 0.45 and (COLOUR in spoken or SIZE in spoken) else pick(FLOWERS, draws[10])
    parts = ["a" if mention.number == 1 else NUMBERS[mention.number]]
    parts += [spoken[column] for column in (SIZE, COLOUR) if column in spoken]
    parts.append(noun if mention.number == 1 else PLURALS[noun])
    petals = [spoken[column] for column in (COUNT, SHAPE) if column in spoken]
    details = [f"{' '.join(petals)} petals"] if petals else []
    if CENTRE in spoken:
        details.append(f"a {spoken[CENTRE]} {pick(MIDDLES, draws[11])}")
    if details:
        parts.append("with " + " and ".join(details))
    return " ".join(parts)


def changed_plans(plan: Plan, draws: Sequence[float]) -> Iterator[Plan]:
    """Plans that say something else, in an order that four draws decide: attributes exchanged between two flowers or another relation
    first, then one attribute changed, then another number of flowers."""
    kinds = (_exchanged, _turned, _recoloured, _recounted)
    order = (0, 1, 2, 3) if draws[0] < 0.42 else (1, 0, 2, 3) if draws[0] < 0.8 else (2, 0, 1, 3) if draws[0] < 0.92 else (3, 0, 1, 2)
    for number in order:
        changes = kinds[number](plan)
        first = int(draws[1 + number % 3] * len(changes))
        for change in changes[first:] + changes[:first]:
            yield change()


Change = Callable[[], Plan]


def _exchanged(plan: Plan) -> list[Change]:
    found: list[Change] = []
    for second, theirs in enumerate(plan.mentions):
        for first, ours in enumerate(plan.mentions[:second]):
            for column, code in ours.named.items():
                other = theirs.named.get(column, code)
                if other != code:
                    found.append(partial(_with, plan, {first: {column: other}, second: {column: code}}))
    return found


def _turned(plan: Plan) -> list[Change]:
    found: list[Change] = []
    for place, word in enumerate(plan.words):
        found.append(partial(replace, plan, words=(*plan.words[:place], OPPOSITES[word], *plan.words[place + 1 :])))
    if plan.kind in ("row", "column", "between"):  # who is where
        for place in range(1, len(plan.mentions)):
            mentions = list(plan.mentions)
            mentions[0], mentions[place] = mentions[place], mentions[0]
            found.append(partial(replace, plan, mentions=tuple(mentions)))
    return found


def _recoloured(plan: Plan) -> list[Change]:
    found: list[Change] = []
    for place, mention in enumerate(plan.mentions):
        for column, code in mention.named.items():
            others = (other for other in range(len(ATTRIBUTES[NAMES[column]])) if other != code)
            found += [partial(_with, plan, {place: {column: other}}) for other in others]
    if plan.background is not None:
        others = (code for code in range(len(ATTRIBUTES["background"])) if code != plan.background)
        found += [partial(replace, plan, background=code) for code in others]
    return found


def _recounted(plan: Plan) -> list[Change]:
    if plan.total is None:
        return []
    named = sum(mention.number for mention in plan.mentions)
    return [partial(replace, plan, total=total) for total in NUMBERS if total != plan.total and total >= named]


def _with(plan: Plan, changes: Mapping[int, Mapping[int, int]]) -> Plan:
    """The plan with other codes in some mentions."""
    mentions = list(plan.mentions)
    for place, codes in changes.items():
        mentions[place] = replace(mentions[place], named={**mentions[place].named, **codes})
    return replace(plan, mentions=tuple(mentions))
