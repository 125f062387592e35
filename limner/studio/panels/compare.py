"""The same captions by several models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from limner.core.errors import SettingsError
from limner.studio.desk import Desk, pictures_asked, seed_asked
from limner.studio.extra import gr
from limner.studio.figures import numbered, rows
from limner.studio.opened import Opened
from limner.studio.panel import Panel

MOST = 8


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        chosen, caption = desk.models(models), desk.caption(models)
        with gr.Row():
            count, seed = desk.count("Pictures of each", most=MOST), desk.seed()
        desk.task("Compare", compare, [chosen, caption, count, seed], submit=[caption])


def compare(models: Sequence[Opened], caption: str, count: Any, seed: Any) -> str:
    """A row for each model."""
    number, start = pictures_asked(count, MOST), seed_asked(seed)
    if not models:
        raise SettingsError("no model is chosen: choose two or more")
    painted = [[np.asarray(picture) for picture in one.model().generate(one.caption(caption), n=number, seed=start)] for one in models]
    return rows([one.label for one in models], painted, [numbered(number)] * len(models), file=f"{caption} seed {start}")


PANEL = Panel(
    title="Compare",
    sentence="The same caption by several models, side by side. A seed means another noise to each.",
    order=20,
    build=build,
    ability="paints",
    serves=Opened.paints,
    fewest=2,
)
