"""Sentences of a story: one a frame, in which characters are named, or are "she" and "the other one" where that cannot be misunderstood.

"She" is the one whom the story spoke of alone last. "The other one" is the other of a cast of two, or of two who are there. Everybody is
named when she is first spoken of, and whether "she" would do follows from the plot, not from the words that were taken before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from limner.data.garden.attributes import ATTRIBUTES, COLOUR
from limner.data.garden.captions import pick
from limner.data.garden.phrases import COLOURS
from limner.data.garden.stories.cast import CHARACTERS
from limner.data.garden.stories.plots import AUTUMN_COLOURS, BEGINS, CLOSES, COMES, GOES, GROWS, MORNING, NIGHT, Plot, State

DRAWS = 6
"""How many uniform draws a sentence takes."""

PLACES: Mapping[str, tuple[str, ...]] = {
    "sky": ("under a pale blue sky", "against the sky"),
    "meadow": ("in a green meadow", "in the meadow"),
    "sand": ("on the sand", "on warm sand"),
}
_FORMS: Mapping[str, tuple[str, ...]] = {
    "begins alone": ("{S} stands {place}", "{place} stands {S}", "here is {S}, {place}", "{S} blooms {place}"),
    "begins": ("{all} stand {place}", "{place} stand {all}", "here are {all}, {place}", "{all} bloom {place}"),
    "begins two": ("{all} stand {place}", "{S} stands {place} with {B} to her {side}", "{place} stand {all}", "here are {all}, {place}"),
    COMES: ("{S} comes", "now {S} comes too", "{S} comes and stays", "then {S} comes"),
    "comes next to": ("{S} comes", "{S} comes and stands to the {side} of {O}", "now {S} comes too", "to the {side} of {O} comes {S}"),
    "comes back": ("{S} comes back", "{S} is back", "then {S} comes back", "{S} is there again"),
    GOES: ("{S} goes away", "{S} leaves", "then {S} is gone", "now {S} goes away"),
    GROWS: ("{S} grows", "now {S} grows large", "{S} has grown large", "then {S} grows"),
    CLOSES: ("{S} closes her petals", "{S} closes for the night", "now {S} closes her petals", "{S} closes"),
    "night falls and closes": (
        *("night falls and {S} closes her petals", "at night {S} closes", "it grows dark, and {S} closes"),
        "{S} closes her petals at night",
    ),
    AUTUMN_COLOURS: (
        *("{S} turns to autumn colours", "{S} turns {colour} as autumn comes", "autumn comes, and {S} turns {colour}"),
        "now {S} wears autumn colours",
    ),
    NIGHT: ("night falls", "it grows dark", "the stars come out", "now it is night"),
    MORNING: ("the morning comes", "it is day again", "the sun rises", "now it is day"),
}
_PRONOUN = 0.62
"""How often "she" or "the other one" stands where it can."""


def speak(plot: Plot, states: Sequence[State], left: Sequence[Sequence[bool]], frame: int, draws: Sequence[float]) -> str:
    """The sentence of one frame, in lower case and without a full stop.

    left: [cast, cast] whether the first stands clearly to the left of the second. draws: `DRAWS` uniform draws in [0, 1).
    """
    event = plot.events[frame]
    words = {"place": pick(PLACES[ATTRIBUTES["background"][plot.place]], draws[1])}
    names = [CHARACTERS[who].lower() for who in plot.cast]
    form = event.kind
    if event.kind == BEGINS:
        called = [names[who] for who in event.who]
        words |= {"S": called[0], "all": " and ".join([", ".join(called[:-1]), called[-1]]) if len(called) > 1 else called[0]}
        form = ("begins alone", "begins two" if _is_aside(left, *event.who[:2]) else "begins", "begins")[len(called) - 1]
        if form == "begins two":
            words |= {"B": called[1], "side": "left" if left[event.who[1]][event.who[0]] else "right"}
    elif event.who:
        (who,) = event.who
        words["S"] = _called(plot, states, frame, who, draws[2])
        words["colour"] = pick(COLOURS[ATTRIBUTES["colour"][plot.codes(states[frame], who)[COLOUR]]], draws[3])
        if event.kind == COMES:
            form, more = _coming(plot, states, left, frame, draws)
            words |= more
        elif event.kind == CLOSES and not states[frame - 1].night:
            form = "night falls and closes"
    return pick(_FORMS[form], draws[0]).format_map(words)


def _coming(
    plot: Plot, states: Sequence[State], left: Sequence[Sequence[bool]], frame: int, draws: Sequence[float]
) -> tuple[str, dict[str, str]]:
    """How it is said that somebody comes: back, or to the left or right of somebody who is there."""
    (who,) = plot.events[frame].who
    if any(state.there[who] for state in states[:frame]):
        return "comes back", {}
    there = [other for other, is_there in enumerate(states[frame - 1].there) if is_there and _is_aside(left, who, other)]
    if not there:
        return COMES, {}
    other = there[min(int(draws[4] * len(there)), len(there) - 1)]
    return "comes next to", {"O": CHARACTERS[plot.cast[other]].lower(), "side": "left" if left[who][other] else "right"}


def _is_aside(left: Sequence[Sequence[bool]], first: int = 0, second: int = 0) -> bool:
    return bool(left[first][second] or left[second][first])


def _called(plot: Plot, states: Sequence[State], frame: int, who: int, draw: float) -> str:
    """What one of the cast is called in a frame."""
    name = CHARACTERS[plot.cast[who]].lower()
    if draw >= _PRONOUN or all(who not in event.who for event in plot.events[:frame]):
        return name
    she = she_before(plot, frame)
    if who == she:
        return "she"
    two = [place for place, is_there in enumerate(states[frame - 1].there) if is_there] if len(plot.cast) > 2 else [0, 1]
    return "the other one" if she is not None and len(two) == 2 and {who, she} == set(two) else name


def she_before(plot: Plot, frame: int) -> int | None:
    """The place in the cast of the one of whom the story spoke alone last before a frame; None where it has not yet."""
    alone = [event.who[0] for event in plot.events[:frame] if len(event.who) == 1]
    return alone[-1] if alone else None


_NAME = re.compile(r"\b(?:" + "|".join(CHARACTERS) + r")\b", re.IGNORECASE)


def exchange_names(sentence: str, first: str, second: str) -> str:
    """A sentence in which two names stand in each other's place."""
    others = {first.lower(): second, second.lower(): first}
    return _NAME.sub(lambda match: _as_written(others.get(match[0].lower(), match[0]), match[0]), sentence)


_COLOUR = re.compile(
    r"(?<=turns )(?:" + "|".join(sorted((word for words in COLOURS.values() for word in words), key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)


def exchanged_caption(plot: Plot, frame: int, caption: str) -> str:
    """A frame's caption after the names of the first two characters of the cast have been exchanged.

    If one of them turns to a colour, that colour is exchanged too. The caption is the frame's sentence, or several sentences joined by
    ". ", the last of which is the frame's.
    """
    first, second = (CHARACTERS[who] for who in plot.cast[:2])
    sentences = exchange_names(caption, first, second).split(". ")
    states, exchanged = plot.states(), plot.exchanged()
    for place, sentence in enumerate(sentences):
        own = frame + 1 + place - len(sentences)
        event = plot.events[own]
        if event.kind == AUTUMN_COLOURS:
            old, new = (COLOURS[ATTRIBUTES["colour"][told.codes(states[own], event.who[0])[COLOUR]]] for told in (plot, exchanged))
            sentences[place] = _COLOUR.sub(lambda match, old=old, new=new: new[old.index(match[0].lower())], sentence)  # type: ignore[misc]
    return ". ".join(sentences)


def _as_written(name: str, written: str) -> str:
    return name.lower() if written.islower() else name


__all__ = ["DRAWS", "exchange_names", "exchanged_caption", "she_before", "speak"]
