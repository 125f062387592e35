"""Arrangements: which flowers a bouquet has, where they stand, and which of two is in front.

Everything is decided by hashed draws and by arithmetic that is exact on every machine. Flowers are thrown at random until an arrangement
keeps the rules: no blossom hides another's centre, and nothing is shown that the split holds out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from limner.core.random import hash64, integers, uniform_of
from limner.data.garden.attributes import ATTRIBUTES, CENTRE, COLOUR, COUNT, NAMES, SHAPE, SIZE, class_of, codes_of_class
from limner.data.garden.bouquets.blossoms import Blossoms, Real, hidden
from limner.data.garden.bouquets.worlds import (
    COLOURS,
    DEPTH,
    HELD_OUT_COMPANY,
    HELD_OUT_RELATIONS,
    MOST,
    RELATIONS,
    THEMES,
    class_table,
    company_table,
    relation_table,
)

if TYPE_CHECKING:
    from typing_extensions import Self

RADII = np.array([0.145, 0.215])
"""Radii of small and of large flowers, in picture widths."""
MARGIN = 0.12
"""A flower is to the left of another, or above it, if their centres are this far apart in that direction."""
SLANT = 0.75
"""And where they are apart in that direction by this share of how far they are apart in the other."""
HIDES = 0.05
"""A flower stands in front of another where it hides this share of it."""

_CLOSEST = 0.62  # of the sum of two radii; nearer ones would hide too much of each other
_TOUCHING = 0.74
_LATTICE = 4096.0
_TRIES = 16  # arrangements that are looked at together
_ROUNDS = 400
_DRAWS = 40
_TILT = 7.5 * 3.141592653589793 / 180.0

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Bouquet:
    """Several bouquets as arrays. Flowers stand in order of depth, the rearmost first; places past a bouquet's own number are empty."""

    number: Integers
    """[N] flowers: two, three or four."""
    codes: Integers
    """[N, 4, 6] attribute codes."""
    x: Real
    """[N, 4] centres from the left, in picture widths."""
    y: Real
    """[N, 4] centres from the top."""
    keys: NDArray[np.uint64]
    """[N] keys, from which every natural variation follows."""
    theme: Integers
    """[N] what is held out from training, a position in `THEMES`; -1 for nothing."""

    def __len__(self) -> int:
        return len(self.number)

    def __getitem__(self, rows: slice | Integers | Flags) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def radius(self) -> Real:
        """[N, 4] length of the longest possible petal."""
        return RADII[self.codes[:, :, SIZE]]

    @property
    def there(self) -> Flags:
        """[N, 4] which places hold a flower."""
        return np.arange(MOST) < self.number[:, None]

    @cached_property
    def draws(self) -> Real:
        """[N, 4, 40] uniform draws in [0, 1): each flower's own nature."""
        return uniform_of(hash64(self.keys[:, None].astype(np.int64), "bouquet flower", np.arange(MOST))[..., None], 0, _DRAWS)

    @cached_property
    def blossoms(self) -> Blossoms:
        """All places one after the other, [N * 4]."""
        d = self.draws.reshape(-1, _DRAWS)
        return Blossoms(
            codes=self.codes.reshape(-1, len(NAMES)),
            x=self.x.ravel(),
            y=self.y.ravel(),
            radius=self.radius.ravel(),
            tilt=(d[:, 15] * 2.0 - 1.0) * _TILT,
            lengths=1.0 - 0.07 * d[:, 16:24],
        )

    @cached_property
    def boxes(self) -> Real:
        """[N, 4, 4] left, top, width and height of each whole blossom, hidden parts included; 0 where there is none."""
        boxes = np.zeros((len(self), MOST, 4))
        boxes[self.there] = self.blossoms[self.there.ravel()].boxes()
        return boxes

    def shapes(self, side: int) -> Flags:
        """[N, 4, side, side] which cells of its box each whole blossom covers, hidden parts included."""
        found = np.zeros((len(self), MOST, side, side), dtype=bool)
        blossoms, boxes = self.blossoms[self.there.ravel()], self.boxes[self.there]
        step = (np.arange(side) + 0.5) / side
        x = boxes[:, 0, None] + boxes[:, 2, None] * np.tile(step, side)
        y = boxes[:, 1, None] + boxes[:, 3, None] * np.repeat(step, side)
        parts = (np.arange(start, min(start + 32, len(blossoms))) for start in range(0, len(blossoms), 32))
        covers = [blossoms[rows].cover(x[rows], y[rows]) for rows in parts]
        found[self.there] = np.concatenate(covers).reshape(-1, side, side)
        return found

    @cached_property
    def _hiding(self) -> tuple[Real, Real]:
        near = self._distances() < self.radius[:, :, None] + self.radius[:, None, :]
        pairs = near & self.there[:, :, None] & self.there[:, None, :] & np.triu(np.ones((MOST, MOST), bool), 1)
        rows, back, front = np.nonzero(pairs)
        of_pairs, of_all = hidden(self.blossoms, rows * MOST + back, rows * MOST + front)
        shares = np.zeros((len(self), MOST, MOST))
        shares[rows, back, front] = of_pairs
        return shares, of_all.reshape(-1, MOST)

    @property
    def hides(self) -> Real:
        """[N, 4, 4] which share of the flower at the first place the one at the second hides."""
        return self._hiding[0]

    @property
    def visible(self) -> Real:
        """[N, 4] which share of each blossom can be seen; 0 where there is none."""
        return np.where(self.there, 1.0 - self._hiding[1], 0.0)

    def relations(self) -> Flags:
        """[N, 3, 4, 4] whether the flower at the first place is to the left of, above, in front of the one at the second."""
        found = np.stack([*beside(self.x, self.y), self.hides.swapaxes(1, 2) >= HIDES], axis=1)
        return found & (self.there[:, :, None] & self.there[:, None, :])[:, None]

    def _distances(self) -> Real:
        dx, dy = (values[:, :, None] - values[:, None, :] for values in (self.x, self.y))
        return np.sqrt(dx * dx + dy * dy)


def beside(x: Real, y: Real, margin: float = MARGIN, slant: float = SLANT) -> tuple[Flags, Flags]:
    """Whether each flower is clearly to the left of each other one, and whether it is above it: [..., n, n] each, from centres [..., n].

    margin: how far apart they are in that direction at least; slant: and as a share of how far apart they are in the other.
    """
    dx, dy = (values[..., None, :] - values[..., :, None] for values in (x, y))
    return (dx >= margin) & (dx >= slant * np.abs(dy)), (dy >= margin) & (dy >= slant * np.abs(dx))


def between(x: Real, y: Real, share: float = 0.25, aside: float = 0.3) -> Flags:
    """Whether the first flower is between the second and the third: [..., n, n, n] from centres [..., n].

    share: how much of the way from one to the other lies behind it at least, on both sides; aside: how far off the straight line it is at
    most, as a share of that way.
    """
    ax, ay = x[..., :, None, None], y[..., :, None, None]
    bx, by = x[..., None, :, None], y[..., None, :, None]
    cx, cy = x[..., None, None, :], y[..., None, None, :]
    wx, wy = cx - bx, cy - by
    square = wx * wx + wy * wy
    along = (ax - bx) * wx + (ay - by) * wy
    off = np.abs((ax - bx) * wy - (ay - by) * wx)
    return (along >= share * square) & (along <= (1.0 - share) * square) & (off <= aside * square) & (square > MARGIN * MARGIN)


def arrange(rows: Integers, seed: int, split: str) -> Bouquet:
    """The bouquets of some indices: a function of (split, seed, index)."""
    stream = f"bouquets-{split}"

    def draw(bound: int, *purpose: int | str) -> Integers:
        return integers(bound, seed, stream, *purpose, rows)

    keys = np.atleast_1d(hash64(seed, stream, "scene", rows))
    number = 2 + draw(MOST - 1, "number")
    theme = draw(len(THEMES), "theme") if split in HELD_OUT_COMPANY else np.full(len(rows), -1, dtype=np.int64)
    codes = np.empty((len(rows), MOST, len(NAMES)), dtype=np.int64)
    for column, (name, values) in enumerate(ATTRIBUTES.items()):
        for place in range(MOST):
            codes[:, place, column] = draw(len(values), name, 0 if name == "background" else place)
    triples = relation_table((split,) if split in HELD_OUT_RELATIONS else ())
    wanted = np.argwhere(triples)[draw(max(int(triples.sum()), 1), "triple")] if triples.any() else np.zeros((len(rows), 3), np.int64)
    _choose_classes(codes, draw, split, theme, wanted)

    # Which of them is in front is decided last: the two that a theme speaks of stand at any depth.
    there = np.arange(MOST) < number[:, None]
    order = np.argsort(np.where(there, uniform_of(hash64(seed, stream, "depth", rows)[:, None], 0, MOST), 2.0), axis=1, kind="stable")
    spoken = np.argsort(order, axis=1, kind="stable")[:, :2]  # where the first two have gone
    codes = np.take_along_axis(codes, order[..., None], axis=1)
    relation = theme == THEMES.index("relation")
    turned = np.flatnonzero(relation & (wanted[:, 0] == RELATIONS.index(DEPTH)) & (spoken[:, 0] < spoken[:, 1]))
    first, second = spoken[turned].T
    codes[turned, first], codes[turned, second] = codes[turned, second], codes[turned, first]
    spoken[turned] = spoken[turned][:, ::-1]
    need = np.where(relation[:, None], np.column_stack([wanted[:, 0], spoken]), -1)

    flowers = Bouquet(number=number, codes=codes, x=np.zeros(codes.shape[:2]), y=np.zeros(codes.shape[:2]), keys=keys, theme=theme)
    _place(flowers, need, split)
    _tell_apart(flowers.codes, number)
    return flowers


def _choose_classes(codes: Integers, draw: Callable[..., Integers], split: str, theme: Integers, wanted: Integers) -> None:
    """Draw each flower's colour and shape as the split allows, into the codes [N, 4, 6]."""
    free = split == "all"
    count = len(codes)
    usual = class_table("all" if free else "train")
    banned = company_table(() if free else ("val", "test"))
    colour_of = codes_of_class(np.arange(len(usual)))[0]
    own_pairs = company_table((split,) if split in HELD_OUT_COMPANY else ())
    flower, company, relation = (theme == position for position in range(len(THEMES)))
    for place in range(MOST):
        allowed = np.broadcast_to(usual, (count, len(usual))).copy()
        if place == 0:
            allowed[flower] = class_table(split if split in HELD_OUT_COMPANY else "all")
        for earlier in range(place):
            allowed &= ~banned[codes[:, earlier, COLOUR]][:, colour_of]
        if place == 1:
            allowed[company] = usual & own_pairs[codes[company, 0, COLOUR]][:, colour_of]
        if place == 2:  # so that there are often two of one colour to speak of
            alike = allowed & (colour_of == codes[:, :1, COLOUR])
            rows = (draw(100, "alike") < 45) & alike.any(1)
            allowed[rows] = alike[rows]
        if place < 2:
            allowed[relation] = usual & (colour_of == wanted[relation, 1 + place, None])
        chosen = (draw(1 << 20, "class", place) * allowed.sum(1)) >> 20
        codes[:, place, COLOUR], codes[:, place, SHAPE] = codes_of_class((np.cumsum(allowed, axis=1) > chosen[:, None]).argmax(1))


def _tell_apart(codes: Integers, number: Integers) -> None:
    """Give the later of two flowers that are alike in everything another centre."""
    centres = len(ATTRIBUTES["centre"])
    for place in range(1, MOST):
        for _ in range(place):
            same = (codes[:, :place] == codes[:, place : place + 1]).all(2).any(1)
            codes[same, place, CENTRE] = (codes[same, place, CENTRE] + 1) % centres


def _place(flowers: Bouquet, need: Integers, split: str) -> None:
    """Throw the flowers until they stand as the rules want. need: [N, 3] a relation and the places of its flowers, or -1."""
    radius = flowers.radius
    open_rows = np.arange(len(flowers))
    banned = relation_table(() if split == "all" else ("val", "test"))
    touching = uniform_of(hash64(flowers.keys.astype(np.int64), "touching")[:, None], 0, 1)[:, 0] < 0.7
    for attempt in range(_ROUNDS):
        if not len(open_rows):
            return
        if attempt % 16 == 15:
            _ease(flowers, open_rows, need)
            radius = flowers.radius
        part, r = flowers[open_rows], radius[open_rows, None]
        draws = uniform_of(hash64(part.keys.astype(np.int64), "places", attempt)[:, None], 0, _TRIES * MOST * 2)
        draws = draws.reshape(-1, _TRIES, MOST, 2)
        x, y = _spread(draws, r)
        fits = _fits(x, y, part, touching[open_rows] & (attempt < 4), banned, need[open_rows])
        best = fits.argmax(1)
        settled: Flags = np.asarray(fits.any(1))
        lines = np.arange(len(open_rows))
        flowers.x[open_rows], flowers.y[open_rows] = x[lines, best], y[lines, best]
        deep = settled & (need[open_rows, 0] == RELATIONS.index(DEPTH))
        if deep.any():
            rows = np.flatnonzero(deep)
            _, front, back = need[open_rows[rows]].T
            settled[rows] = flowers[open_rows[rows]].hides[np.arange(len(rows)), back, front] >= HIDES
        open_rows = open_rows[~settled]
    raise AssertionError(f"{len(open_rows)} bouquets of {split} found no place")  # seen for no split and no seed


def _ease(flowers: Bouquet, rows: Integers, need: Integers) -> None:
    """Help bouquets that find no place: the first large flower becomes small, and two that must overlap get all the petals there are."""
    flowers.codes[rows, (flowers.codes[rows, :, SIZE] == 1).argmax(1), SIZE] = 0
    deep = rows[need[rows, 0] == RELATIONS.index(DEPTH)]
    for place in (1, 2):
        flowers.codes[deep, need[deep, place], COUNT] = len(ATTRIBUTES["count"]) - 1


def _spread(draws: Real, radius: Real) -> tuple[Real, Real]:
    """Centres [N, T, 4] that keep blossoms inside the picture, with room below for a stem."""
    side, top = radius + 0.015, radius + 0.02
    low = 0.90 - 0.8 * radius
    x, y = side + draws[..., 0] * (1.0 - 2.0 * side), top + draws[..., 1] * (low - top)
    return np.rint(x * _LATTICE) / _LATTICE, np.rint(y * _LATTICE) / _LATTICE


def _fits(x: Real, y: Real, part: Bouquet, touching: Flags, banned: Flags, need: Integers) -> Flags:
    """Which of the arrangements [N, T, 4] keep the rules: [N, T]."""
    radius, colours = part.radius, part.codes[:, :, COLOUR]
    fits = np.ones(x.shape[:2], dtype=bool)
    touches = np.zeros_like(fits)
    left, above = beside(x, y)
    for back in range(MOST):
        for front in range(back + 1, MOST):
            there = (part.number > front)[:, None]
            dx, dy = x[:, :, front] - x[:, :, back], y[:, :, front] - y[:, :, back]
            distance = np.sqrt(dx * dx + dy * dy)
            behind, before = radius[:, back, None], radius[:, front, None]
            near = np.maximum(_CLOSEST * (behind + before), 0.92 * before + 0.34 * behind)  # a centre is never hidden
            fits &= (distance >= near) | ~there
            touches |= (distance < _TOUCHING * (behind + before)) & there
            if banned.any():
                rows, columns = colours[:, back], colours[:, front]
                wrong = np.zeros_like(fits)
                for number, holds in enumerate((left, above)):
                    wrong |= holds[:, :, back, front] & banned[number, rows, columns][:, None]
                    wrong |= holds[:, :, front, back] & banned[number, columns, rows][:, None]
                wrong |= (distance < behind + before) & banned[2, columns, rows][:, None]
                spoken = (need[:, 0] >= 0) & (need[:, 1:].min(1) == back) & (need[:, 1:].max(1) == front)
                fits &= ~wrong | spoken[:, None] | ~there
    for number, holds in enumerate((left, above)):
        rows = np.flatnonzero(need[:, 0] == number)
        fits[rows] &= holds[rows, :, need[rows, 1], need[rows, 2]]
    rows = np.flatnonzero(need[:, 0] == RELATIONS.index(DEPTH))
    touching = touching.copy()
    touching[rows] = True
    return fits & (touches | ~touching[:, None])


def class_ids(flowers: Bouquet) -> Integers:
    """[N, 4] the garden's class of each flower; -1 where there is none."""
    return np.where(flowers.there, class_of(flowers.codes[..., COLOUR], flowers.codes[..., SHAPE]), -1)


__all__ = ["COLOURS", "HIDES", "MARGIN", "RADII", "Bouquet", "arrange", "beside", "between", "class_ids"]
