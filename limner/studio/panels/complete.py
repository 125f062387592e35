"""The rest of a visitor's picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from limner.core.errors import SettingsError
from limner.explore.complete import box_of, complete, kept_part
from limner.studio.desk import Desk, pictures_asked, seed_asked
from limner.studio.extra import gr
from limner.studio.figures import gallery, numbered
from limner.studio.opened import Opened
from limner.studio.panel import Panel
from limner.studio.uploads import read_upload

MOST = 8
PARTS = {
    "Upper half": "top",
    "Left half": "left",
    "Upper quarter": "0,0,1,0.25",
    "Left quarter": "0,0,0.25,1",
    "Middle": "0.25,0.25,0.75,0.75",
}
"""What can be kept, by what the page calls it."""


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model, picture, caption = desk.model(models), desk.picture(), desk.caption(models)
        keep = gr.Radio(list(PARTS), value=next(iter(PARTS)), label="Keep")
        with gr.Row():
            count, seed = desk.count(value=2, most=MOST), desk.seed()
        desk.task("Complete", paint_rest, [model, picture, caption, keep, count, seed], submit=[caption])


def paint_rest(one: Opened, path: str | None, caption: str, keep: str, count: Any, seed: Any) -> str:
    """The picture, what is kept of it, and its completions."""
    number, start = pictures_asked(count, MOST), seed_asked(seed)
    if keep not in PARTS:
        raise SettingsError(f"nothing is chosen to be kept: choose one of {', '.join(PARTS)}")
    model = one.model()
    picture, kept = read_upload(path, model.resolution), kept_part(box_of(PARTS[keep]), model.resolution)
    completed = complete(model, [one.caption(caption)] * number, np.repeat(picture[None], number, axis=0), kept, range(number), start)
    shown = np.where(kept.permute(1, 2, 0).numpy(), picture, np.uint8(128))
    return gallery([picture, shown, *completed], ["your picture", "kept", *numbered(number)], file=f"{caption} seed {start}")


PANEL = Panel(
    title="Complete",
    sentence="A part of a picture of yours is kept, and the model paints the rest as the caption says.",
    order=70,
    build=build,
    ability="completes",
)
