"""What sentences say of a bouquet, what a bouquet shows, and whether the two agree.

`Said` comes from a caption, `Shown` from a bouquet, or from what a judge reads in a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limner.data.garden.attributes import BACKGROUND, NAMES
from limner.data.garden.bouquets.arranging import Bouquet, between
from limner.data.garden.bouquets.worlds import RELATIONS

FLOWER_NAMES = tuple(name for name in NAMES if name != "background")
"""The attributes that each flower of a bouquet has; the background is the picture's."""
FLOWER_COLUMNS = tuple(column for column in range(len(NAMES)) if column != BACKGROUND)
BETWEEN = "between"

Relation = tuple[str, tuple[int, ...]]
"""A relation of `RELATIONS`, or "between", with the places of the two or three that it holds of, the subject first."""


@dataclass(frozen=True)
class Mention:
    """One flower, or several alike, as a sentence names them."""

    named: Mapping[int, int]
    """Columns of `ATTRIBUTES` with the codes that are named."""
    number: int = 1


@dataclass(frozen=True)
class Said:
    """What a sentence says."""

    mentions: tuple[Mention, ...] = ()
    relations: tuple[Relation, ...] = ()
    """Between mentions, by their places."""
    total: int | None = None
    """How many flowers there are, where the sentence says so."""
    background: int | None = None

    def flowers(self) -> list[tuple[int, Mapping[int, int]]]:
        """Every flower that is named, one by one, with the place of its mention."""
        return [(place, mention.named) for place, mention in enumerate(self.mentions) for _ in range(mention.number)]


@dataclass(frozen=True)
class Shown:
    """What a picture shows."""

    codes: Sequence[Sequence[int]]
    """The six attribute codes of each flower."""
    relations: frozenset[Relation]
    """All relations of its flowers."""
    background: int

    def fits(self, flower: int, named: Mapping[int, int]) -> bool:
        """Whether a flower has all attributes that are named."""
        own = self.codes[flower]
        return all(own[column] == code for column, code in named.items())


@dataclass(frozen=True)
class Verdict:
    """How far what is said is shown."""

    found: int
    """Flowers named and found, each with all its named attributes."""
    named: int
    true: int
    """Relations said that hold of the flowers found."""
    said: int
    total_right: bool | None
    """Whether there are as many flowers as said; None where nothing is said."""
    background_right: bool | None

    @property
    def all_right(self) -> bool:
        """Whether everything that is said is shown."""
        return self.found == self.named and self.true == self.said and self.total_right is not False and self.background_right is not False


def agree(said: Said, shown: Shown) -> Verdict:
    """Hold a sentence against a picture: each flower named is looked for among those shown, no flower is taken twice, and the reading
    is the one that finds most flowers, and then most relations, true."""
    wanted = said.flowers()
    options = [[flower for flower in range(len(shown.codes)) if shown.fits(flower, named)] for _, named in wanted]
    best = max(((sum(f >= 0 for f in chosen), _true(said, shown, wanted, chosen)) for chosen in _choices(options)), default=(0, 0))
    return Verdict(
        found=best[0],
        named=len(wanted),
        true=best[1],
        said=len(said.relations),
        total_right=None if said.total is None else len(shown.codes) == said.total,
        background_right=None if said.background is None else shown.background == said.background,
    )


def _choices(options: list[list[int]], taken: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every way to give each wanted flower one of its own, or -1 for none."""
    if len(taken) == len(options):
        yield taken
        return
    free = [flower for flower in options[len(taken)] if flower not in taken]
    for flower in free:
        yield from _choices(options, (*taken, flower))
    if len(free) < 2:  # where others compete for the only one, it may be better to leave it to them
        yield from _choices(options, (*taken, -1))


def _true(said: Said, shown: Shown, wanted: list[tuple[int, Mapping[int, int]]], chosen: tuple[int, ...]) -> int:
    """How many relations hold where the wanted flowers are the chosen ones; one that speaks of several holds if it holds of each."""
    right = 0
    for name, places in said.relations:
        parts = [[flower for (place, _), flower in zip(wanted, chosen, strict=True) if place == own] for own in places]
        right += all((name, combination) in shown.relations for combination in _product(parts))
    return right


def _product(parts: list[list[int]]) -> Iterator[tuple[int, ...]]:
    if not parts:
        yield ()
        return
    for first in parts[0]:
        for rest in _product(parts[1:]):
            yield (first, *rest)


def shown_by(bouquets: Bouquet) -> list[Shown]:
    """What each of some bouquets shows, truly."""
    tables, middles = bouquets.relations(), between(bouquets.x, bouquets.y)
    return [
        shown(codes[:number], table, middle)
        for codes, number, table, middle in zip(bouquets.codes.tolist(), bouquets.number.tolist(), tables, middles, strict=True)
    ]


def shown(codes: Sequence[Sequence[int]], relations: NDArray[np.bool_], middles: NDArray[np.bool_]) -> Shown:
    """From codes of n flowers, relations [3, 4 or more, 4 or more] and who is between whom [4 or more] * 3."""
    n = len(codes)
    found: list[Relation] = [(RELATIONS[name], (first, second)) for name, first, second in np.argwhere(relations[:, :n, :n]).tolist()]
    found += [(BETWEEN, tuple(places)) for places in np.argwhere(middles[:n, :n, :n]).tolist()]
    return Shown(codes, frozenset(found), codes[0][BACKGROUND] if n else -1)
