"""Walks between captions and between noises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner.explore.interpolate import between_captions, between_noises
from limner.studio.desk import Desk, seed_asked, whole
from limner.studio.extra import gr
from limner.studio.figures import walk
from limner.studio.opened import Opened
from limner.studio.panel import Panel

MOST = 24


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model = desk.model(models)
        start, end = desk.caption(models, "From"), desk.caption(models, "To", value="")
        if any(one.reads_text() for one in models):
            gr.HTML('<p class="hint">Without a second caption, the first is painted from one noise to another.</p>')
        with gr.Row():
            steps, seed = desk.count("Pictures", 9, MOST, least=2), desk.seed()
            other = desk.seed("Other seed", 1)
        desk.task("Walk", interpolate, [model, start, end, steps, seed, other], submit=[start, end])


def interpolate(one: Opened, start: str, end: str, steps: Any, seed: Any, other: Any) -> str:
    """A walk from one caption to another at fixed noise, or with one caption from one noise to another."""
    count, first = whole(steps, "the number of pictures", 2, MOST), seed_asked(seed)
    start, end = one.caption(start), one.caption(end)
    if end:
        pictures = between_captions(one.model(), start, end, count, first)
    else:
        pictures = between_noises(one.model(), start, (first, seed_asked(other)), count)
    return walk(list(pictures))


PANEL = Panel(
    title="Interpolate",
    sentence="A walk between two captions at the same noise, or between two noises at the same caption.",
    order=30,
    build=build,
    ability="paints",
    serves=Opened.paints,
)
