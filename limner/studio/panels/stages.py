"""A picture at every scale at which it is painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from limner.explore.stages import stages
from limner.studio.desk import Desk, pictures_asked, seed_asked
from limner.studio.extra import gr
from limner.studio.figures import numbered, rows
from limner.studio.opened import Opened
from limner.studio.panel import Panel

MOST = 8


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model, caption = desk.model(models), desk.caption(models)
        with gr.Row():
            count, seed = desk.count(value=2, most=MOST), desk.seed()
        desk.task("Paint", paint_stages, [model, caption, count, seed], submit=[caption])


def paint_stages(one: Opened, caption: str, count: Any, seed: Any) -> str:
    """A row for each picture, from the roughest to the final one."""
    number, start = pictures_asked(count, MOST), seed_asked(seed)
    courses = stages(one.model(), [one.caption(caption)], count=number, seed=start)
    titles = [f"Picture {place}" for place in numbered(number)]
    labels = [[f"{picture.width} px" for picture in course] for course in courses]
    return rows(titles, [[np.asarray(picture) for picture in course] for course in courses], labels)


PANEL = Panel(
    title="Stages",
    sentence="The same picture at every scale at which the model paints it, from rough to final.",
    order=80,
    build=build,
    serves=lambda one: one.paints() and one.stages > 1,
)
