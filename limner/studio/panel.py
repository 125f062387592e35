"""What a panel of the studio is, and which there are.

A panel is a file in `limner/studio/panels` with a `PANEL`; it is found by its file. What it is for is an ability, by its word in
`core.abilities`, or a question that it asks of each model. A panel is shown where enough of the opened models have what it needs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.studio.desk import Desk
    from limner.studio.opened import Opened

Build = Callable[["Desk", Sequence["Opened"]], None]
"""Lays out a panel's widgets for the models that it serves."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One tab of the page."""

    title: str
    sentence: str
    """What it is for, under its title."""
    order: int
    """Its place among the others, lowest first."""
    build: Build
    ability: str | None = None
    """The ability that its models have, by its word."""
    serves: Callable[[Opened], bool] | None = None
    """What else its models must be."""
    fewest: int = 1
    """How many such models it needs."""

    def served(self, opened: Sequence[Opened]) -> list[Opened]:
        """Those of the opened models that it serves; none where they are too few."""
        found = [one for one in opened if self._can(one)]
        return found if len(found) >= self.fewest else []

    def _can(self, one: Opened) -> bool:
        return (self.ability is None or one.can(self.ability)) and (self.serves is None or self.serves(one))


def panels() -> dict[str, Panel]:
    """Every panel by the name of its file, in the order of the page."""
    from limner.studio import panels as room

    found = {module.name: importlib.import_module(f"{room.__name__}.{module.name}").PANEL for module in pkgutil.iter_modules(room.__path__)}
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))
