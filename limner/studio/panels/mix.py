"""Coarse styles of some pictures with the fine ones of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner.explore.mix import mix
from limner.explore.styles import styled
from limner.studio.desk import Desk, seed_asked, whole
from limner.studio.extra import gr
from limner.studio.figures import said, table
from limner.studio.opened import Opened
from limner.studio.panel import Panel

MOST = 6


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    places = max(len(styled(one.model()).style_weights()) for one in models)
    with desk.inputs():
        model, caption = desk.model(models), desk.caption(models)
        with gr.Row():
            rows, columns = desk.count("Coarse", 3, MOST), desk.count("Fine", 4, MOST)
        with gr.Row():
            at = desk.count("Fine from place", max(places * 2 // 5, 1), places - 1)
            seed = desk.seed()
        desk.task("Mix", paint_mixed, [model, caption, rows, columns, at, seed], submit=[caption])


def paint_mixed(one: Opened, caption: str, rows: Any, columns: Any, at: Any, seed: Any) -> str:
    """The table of mixed pictures."""
    down, across = whole(rows, "the number of rows", 1, MOST), whole(columns, "the number of columns", 1, MOST)
    place = whole(at, "the first fine place", 1, 1_000)
    found = mix(one.model(), caption=one.caption(caption), rows=down, columns=across, at=place, seed=seed_asked(seed))
    shown = table("coarse from the left, fine from above", list(found.fine), list(found.coarse), [list(row) for row in found.pictures])
    return shown + said(f"places {found.at} to {found.places - 1} from above, those before from the left")


PANEL = Panel(
    title="Mix styles",
    sentence="Each picture has the coarse styles of the one to its left and the fine styles of the one above it.",
    order=90,
    build=build,
    ability="mixes styles",
)
