"""A walk between two pictures of a visitor's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from limner.explore.invert import between_pictures
from limner.studio.desk import Desk, seed_asked, whole
from limner.studio.extra import gr
from limner.studio.figures import walk
from limner.studio.opened import Opened
from limner.studio.panel import Panel
from limner.studio.uploads import read_upload

MOST = 24


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model = desk.model(models)
        start, end = desk.picture("From"), desk.picture("To")
        with gr.Row():
            steps, seed = desk.count("Pictures", 9, MOST, least=2), desk.seed()
        desk.task("Walk", between, [model, start, end, steps, seed])


def between(one: Opened, start: str | None, end: str | None, steps: Any, seed: Any) -> str:
    """Pictures on the way from one picture's code to the other's, with a slider."""
    count, first, model = whole(steps, "the number of pictures", 2, MOST), seed_asked(seed), one.model()
    given = np.array([read_upload(path, model.resolution) for path in (start, end)])
    return walk(list(between_pictures(model, given, steps=count, seed=first)))


PANEL = Panel(
    title="Between pictures",
    sentence="A walk between two pictures of yours, by the codes that the model finds for them.",
    order=66,
    build=build,
    ability="inverts",
)
