"""What each random input of a painting decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner.explore.vary import noise_names, vary, vary_in_turn
from limner.studio.desk import Desk, captions_asked, seed_asked, whole
from limner.studio.extra import gr
from limner.studio.figures import numbered, rows
from limner.studio.opened import Opened
from limner.studio.panel import Panel

MOST = 12
MOST_CAPTIONS = 6


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    names = list(dict.fromkeys(name for one in models for name in noise_names(one.model())))
    with desk.inputs():
        model, captions = desk.model(models), desk.captions(models)
        redraw = gr.CheckboxGroup(names, value=[], label="Drawn anew", visible=len(names) > 1)
        if len(names) > 1:
            gr.HTML('<p class="hint">With none chosen, each is drawn anew in a row of its own.</p>')
        walks = gr.Checkbox(False, label="Go smoothly from one draw to another")
        with gr.Row():
            count, seed = desk.count("Pictures", 5, MOST, least=2), desk.seed()
        desk.task("Vary", paint_varied, [model, captions, redraw, walks, count, seed])


def paint_varied(one: Opened, captions: str, redraw: Sequence[str], walks: bool, count: Any, seed: Any) -> str:
    """A row for each caption, or for each caption and random input, along which these inputs differ and all else stands still."""
    number, start = whole(count, "the number of pictures", 2, MOST), seed_asked(seed)
    texts = captions_asked(one, captions, MOST_CAPTIONS)
    if redraw:
        titles, painted = list(texts), vary(one.model(), texts, redraw, count=number, seed=start, walk=bool(walks))
    else:
        titles, painted = vary_in_turn(one.model(), texts, count=number, seed=start, walk=bool(walks))
    return rows(titles, [list(row) for row in painted], [numbered(number)] * len(titles), file=f"seed {start}")


PANEL = Panel(
    title="Vary",
    sentence="One random input is drawn anew from picture to picture, and all else stands still: what does it decide?",
    order=35,
    build=build,
    ability="paints",
    serves=Opened.paints,
)
