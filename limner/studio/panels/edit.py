"""The same noise under two captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner.explore.differences import bright
from limner.explore.edit import edit
from limner.studio.desk import Desk, pictures_asked, seed_asked
from limner.studio.extra import gr
from limner.studio.figures import numbered, rows, said
from limner.studio.opened import Opened
from limner.studio.panel import Panel

MOST = 8


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model = desk.model(models)
        before, after = desk.caption(models, "Before"), desk.caption(models, "After", value="")
        with gr.Row():
            count, seed = desk.count("Noises", 2, MOST), desk.seed()
        desk.task("Change", change, [model, before, after, count, seed], submit=[before, after])


def change(one: Opened, before: str, after: str, count: Any, seed: Any) -> str:
    """A row for each noise: before, after, and where they differ."""
    number, start = pictures_asked(count, MOST), seed_asked(seed)
    found = edit(one.model(), [(one.caption(before), one.caption(after))] * number, seed=start)
    moved = found.change()
    shown = [list(row) for row in zip(found.before, found.after, bright(moved), strict=True)]
    titles = [f"Noise {place}" for place in numbered(number)]
    mean = said(f"mean change {float(moved.mean()):.1f} levels of 255; bright is where pictures changed most")
    return rows(titles, shown, [["before", "after", f"change {float(where.mean()):.1f}"] for where in moved]) + mean


PANEL = Panel(
    title="Edit",
    sentence="Change a word and keep the noise: what changes in the picture, and where?",
    order=40,
    build=build,
    ability="paints",
    serves=lambda one: one.paints() and one.reads_text(),
)
