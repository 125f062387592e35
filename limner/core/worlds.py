"""The built-in sets by name, and what each holds: whoever needs to know asks this table, or a set of pictures for its `holds`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Holds = Literal["attributes", "scenes", "stories"]
"""What is known of every picture: the attributes of its one flower; those of several flowers, and where each stands; or what happens to
characters from frame to frame."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A built-in set, which is painted and needs no files."""

    name: str
    holds: Holds
    title: str
    """How messages speak of it."""
    classes: bool
    """Whether its pictures belong to classes."""
    layouts: bool
    """Whether its layouts say where things stand."""
    examples: tuple[str, str]
    """Two captions, of which the second says something else."""


WORLDS = {
    world.name: world
    for world in (
        World(
            name="garden",
            holds="attributes",
            title="the garden's flowers",
            classes=True,
            layouts=False,
            examples=("a red flower with five petals", "a blue flower at night"),
        ),
        World(
            name="garden-bouquets",
            holds="scenes",
            title="the garden's bouquets",
            classes=True,
            layouts=True,
            examples=("a red flower to the left of a blue one", "a blue flower to the left of a red one"),
        ),
        World(
            name="garden-stories",
            holds="stories",
            title="the garden's stories",
            classes=False,
            layouts=True,
            examples=("rosa stands in the meadow", "iris stands on the sand"),
        ),
    )
}
BUILT_IN = tuple(WORLDS)
"""The names of all of them."""
IN_QUOTES = ", ".join(f"'{name}'" for name in BUILT_IN)
"""The same in help texts."""


def world_of(holds: Holds) -> World:
    """The built-in set that holds something."""
    return next(world for world in WORLDS.values() if world.holds == holds)


def holds(name: str) -> Holds | None:
    """What a data set of this name holds, where it is built in."""
    return WORLDS[name].holds if name in WORLDS else None
