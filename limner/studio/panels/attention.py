"""Where a model looked for each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner.explore.attend import attend
from limner.studio.desk import Desk, seed_asked
from limner.studio.figures import gallery
from limner.studio.opened import Opened
from limner.studio.panel import Panel


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model, caption, seed = desk.model(models), desk.caption(models), desk.seed()
        desk.task("Look", look, [model, caption, seed], submit=[caption])


def look(one: Opened, caption: str, seed: Any) -> str:
    """The picture, and for each stage the picture under each word's attention."""
    found = attend(one.model(), one.caption(caption), seed=seed_asked(seed))
    shown = gallery([found.picture], ["picture"])
    for side in found.maps:
        numbers = range(len(found.words))
        overlays, labels = [found.overlay(side, number) for number in numbers], [found.label(side, number) for number in numbers]
        shown += gallery(overlays, labels, f"On the {side} x {side} map")
    return f'<div class="rows small">{shown}</div>'


PANEL = Panel(
    title="Attention",
    sentence="Bright is where the model looked when it read the word; the figure is the word's share of all attention.",
    order=50,
    build=build,
    serves=lambda one: one.paints() and one.reads_text() and one.attends,
)
