"""A visitor's picture, as a model can paint it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner.explore.differences import bright
from limner.explore.invert import invert
from limner.studio.desk import Desk, seed_asked
from limner.studio.figures import gallery, said
from limner.studio.opened import Opened
from limner.studio.panel import Panel
from limner.studio.uploads import read_upload


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model, picture, seed = desk.model(models), desk.picture(), desk.seed()
        desk.task("Find", find, [model, picture, seed])


def find(one: Opened, path: str | None, seed: Any) -> str:
    """The picture, what the model paints of the code that it finds for it, and where the two differ."""
    start, model = seed_asked(seed), one.model()
    found = invert(model, read_upload(path, model.resolution)[None], start)
    where = found.apart()
    labels = ["your picture", "found again", f"difference {float(where.mean()):.1f}"]
    return gallery([found.pictures[0], found.rebuilt[0], bright(where)[0]], labels) + said(found.distances_told()[0])


PANEL = Panel(
    title="Invert",
    sentence="The model finds the code of a picture of yours, and paints it again: what can it paint, and what does it not know?",
    order=62,
    build=build,
    ability="inverts",
)
