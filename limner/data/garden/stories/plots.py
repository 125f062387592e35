"""Plots: who is in a story, what happens in each frame, and how everything stands after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from limner.core.random import hash64, integers, uniform_of
from limner.data.garden.attributes import ATTRIBUTES, BACKGROUND, CENTRE, COLOUR, COUNT, NAMES, SHAPE, SIZE
from limner.data.garden.stories.cast import (
    AUTUMN,
    CHARACTERS,
    CLOSED_SHAPE,
    HELD_OUT_CASTS,
    HELD_OUT_EVENTS,
    LOOK_CODES,
    THEMES,
)

BEGINS, COMES, GOES, GROWS, CLOSES, AUTUMN_COLOURS, NIGHT, MORNING = (
    *("begins", "comes", "goes", "grows", "closes", "autumn"),
    *("night", "morning"),
)
EVENTS = (COMES, GOES, GROWS, CLOSES, AUTUMN_COLOURS, NIGHT, MORNING)
"""What can happen after the first frame. Whoever has closed at night opens again when the morning comes."""
PLACES = tuple(ATTRIBUTES["background"].index(name) for name in ("sky", "meadow", "sand"))
NIGHT_GROUND = ATTRIBUTES["background"].index("night")

_WEIGHTS = {COMES: 3.0, GOES: 1.5, GROWS: 2.5, CLOSES: 2.5, AUTUMN_COLOURS: 2.0, NIGHT: 0.6, MORNING: 2.5}
_DRAWS = 40
_ATTEMPTS = 2000


@dataclass(frozen=True)
class Event:
    """What happens in one frame."""

    kind: str
    """One of `EVENTS`, or `BEGINS`."""
    who: tuple[int, ...] = ()
    """Places in the cast: all who are there when a story begins; nobody where night falls or the morning comes; else one."""


@dataclass(frozen=True)
class State:
    """How everything stands in one frame; each tuple has an entry for each of the cast."""

    there: tuple[bool, ...]
    large: tuple[bool, ...]
    closed: tuple[bool, ...]
    autumn: tuple[bool, ...]
    night: bool = False


@dataclass(frozen=True)
class Plot:
    """A story before it is told: the same events happen to whoever the cast is."""

    cast: tuple[int, ...]
    """Two or three of `CHARACTERS`, by number."""
    place: int
    """The background by day, a code of `ATTRIBUTES["background"]`."""
    events: tuple[Event, ...]
    """One a frame, the first being `BEGINS`."""
    theme: int = -1
    """What is held out from training, a position in `THEMES`; -1 for nothing."""

    def states(self) -> list[State]:
        """How everything stands in each frame."""
        found = [self.first()]
        for event in self.events[1:]:
            found.append(after(found[-1], event))
        return found

    def first(self) -> State:
        """How everything stands in the first frame."""
        nobody = (False,) * len(self.cast)
        return State(tuple(place in self.events[0].who for place in range(len(self.cast))), nobody, nobody, nobody)

    def exchanged(self) -> Plot:
        """The same story with the names of the first two of the cast exchanged."""
        first, second, *others = self.cast
        return replace(self, cast=(second, first, *others))

    def codes(self, state: State, who: int) -> list[int]:
        """The six attribute codes of one of the cast, by place, as she looks in a state."""
        colour, count, shape, centre = LOOK_CODES[self.cast[who]]
        found = [0] * len(NAMES)
        found[COLOUR] = AUTUMN[colour] if state.autumn[who] else colour
        found[COUNT], found[CENTRE], found[BACKGROUND] = count, centre, self.ground(state)
        found[SHAPE] = CLOSED_SHAPE if state.closed[who] else shape
        found[SIZE] = int(state.large[who] and not state.closed[who])
        return found

    def ground(self, state: State) -> int:
        """The background code of a state."""
        return NIGHT_GROUND if state.night else self.place

    def shows_held_out(self, split: str) -> bool:
        """Whether it has an event that training never shows, of the split's own."""
        return any((self.cast[event.who[0]], event.kind) in HELD_OUT_EVENTS[split] for event in self.events[1:] if event.who)


def after(state: State, event: Event) -> State:
    """How everything stands when something has happened."""

    def put(values: tuple[bool, ...], value: bool) -> tuple[bool, ...]:
        return tuple(value if place in event.who else own for place, own in enumerate(values))

    if event.kind in (COMES, GOES):
        return replace(state, there=put(state.there, event.kind == COMES))
    if event.kind == GROWS:
        return replace(state, large=put(state.large, True))
    if event.kind == CLOSES:
        return replace(state, closed=put(state.closed, True), night=True)
    if event.kind == AUTUMN_COLOURS:
        return replace(state, autumn=put(state.autumn, True))
    if event.kind == NIGHT:
        return replace(state, night=True)
    return replace(state, night=False, closed=(False,) * len(state.closed))


def is_shown(state: State, event: Event) -> bool:
    """Whether a picture of a state shows what a sentence of an event says, whenever that happened: that the morning comes is true of every
    picture by day. event: none that begins a story."""
    if event.kind in (NIGHT, MORNING):
        return state.night == (event.kind == NIGHT)
    (who,) = event.who
    there, opened = state.there[who], not state.closed[who]
    shown = {
        COMES: there,
        GOES: not there,
        GROWS: there and opened and state.large[who],
        CLOSES: there and not opened and state.night,
        AUTUMN_COLOURS: there and state.autumn[who],
    }
    return shown[event.kind]


def possible(plot_cast: Sequence[int], state: State, banned: frozenset[tuple[int, str]]) -> Iterator[Event]:
    """What can happen next: everything that changes the picture and leaves somebody in it. banned: (character, kind) that must not."""
    for who, character in enumerate(plot_cast):
        there, opened = state.there[who], not state.closed[who]
        able = {
            COMES: not there,
            GOES: there and sum(state.there) > 1,
            GROWS: there and opened and not state.large[who],
            CLOSES: there and opened and LOOK_CODES[character][2] != CLOSED_SHAPE,
            AUTUMN_COLOURS: there and opened and not state.autumn[who],
        }
        for kind, can in able.items():
            if can and (character, kind) not in banned:
                yield Event(kind, (who,))
    yield Event(MORNING if state.night else NIGHT)


def draw_plots(rows: NDArray[np.int64], seed: int, split: str, frames: int) -> list[Plot]:
    """The plots of some stories: a function of (split, seed, index)."""
    stream = f"stories-{split}"
    themes = integers(len(THEMES), seed, stream, "theme", rows) if split in HELD_OUT_CASTS else np.full(len(rows), -1, np.int64)
    found: list[Plot | None] = [None] * len(rows)
    left = np.arange(len(rows))
    for attempt in range(_ATTEMPTS):
        if not len(left):
            break
        draws = uniform_of(hash64(seed, stream, "plot", rows[left], attempt)[:, None], 0, _DRAWS).tolist()
        for place, own in zip(left.tolist(), draws, strict=True):
            found[place] = _drawn(own, split, int(themes[place]), frames)
        left = np.array([place for place in left.tolist() if found[place] is None], dtype=np.int64)
    plots = [plot for plot in found if plot is not None]
    if len(plots) < len(rows):
        raise AssertionError(f"{len(rows) - len(plots)} stories of {split} found no plot")  # seen for no split and no seed
    return plots


def _drawn(draws: Sequence[float], split: str, theme: int, frames: int) -> Plot | None:
    """A plot of these draws, or None where it breaks a rule."""
    own_casts, own_events = HELD_OUT_CASTS.get(split, frozenset()), HELD_OUT_EVENTS.get(split, frozenset())
    shows_cast, shows_event = (theme == position for position in range(len(THEMES)))
    number = 2 if draws[0] < 0.6 else 3
    order = sorted(range(len(CHARACTERS)), key=lambda who: draws[1 + who])
    if shows_cast:  # her partner is the next one with whom she meets nowhere else
        other = next(iter(next(pair for pair in sorted(own_casts, key=sorted) if order[0] in pair) - {order[0]}))
        order = [order[0], other, *(who for who in order[1:] if who != other)]
    cast = tuple(order[:number])
    pairs = [frozenset(pair) for place, pair in _pairs(cast)]
    held_casts = frozenset().union(*HELD_OUT_CASTS.values()) if split != "all" else frozenset()
    held = sum(pair in held_casts for pair in pairs)
    if held != (1 if shows_cast else 0):
        return None
    banned = frozenset[tuple[int, str]]().union(*HELD_OUT_EVENTS.values()) if split != "all" else frozenset[tuple[int, str]]()
    if shows_event:
        banned -= own_events
    begin = 1 + min(int(draws[13] * number), number - 1)
    events = [Event(BEGINS, tuple(range(begin)))]
    plot = Plot(cast, PLACES[int(draws[14] * len(PLACES))], tuple(events), theme)
    state, met = plot.first(), set(range(begin))
    for frame in range(1, frames):
        choices = list(possible(cast, state, banned))
        weights = np.cumsum([_WEIGHTS[event.kind] * (3.0 if event.who and event.who[0] not in met else 1.0) for event in choices])
        event = choices[int(np.searchsorted(weights, draws[14 + frame] * weights[-1], side="right"))]
        state = after(state, event)
        events.append(event)
        met.update(event.who)
    plot = replace(plot, events=tuple(events))
    return plot if len(met) == number and (not shows_event or plot.shows_held_out(split)) else None


def _pairs(cast: Sequence[int]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """All pairs of a cast: places, and characters."""
    for second in range(len(cast)):
        for first in range(second):
            yield (first, second), (cast[first], cast[second])
