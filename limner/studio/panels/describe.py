"""What a model reads in a picture, its own or a visitor's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner.explore.redescribe import agreement, read, redescribe
from limner.studio.desk import Desk, pictures_asked, seed_asked
from limner.studio.extra import gr
from limner.studio.figures import gallery
from limner.studio.opened import Opened
from limner.studio.panel import Panel
from limner.studio.uploads import read_upload

MOST = 8
NOTHING = "(nothing)"


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model, caption = desk.model(models), desk.caption(models)
        with gr.Row():
            count, seed = desk.count(value=2, most=MOST), desk.seed()
        picture = desk.picture("Or a picture of yours")
        desk.task("Read", describe, [model, picture, caption, count, seed], submit=[caption])


def describe(one: Opened, path: str | None, caption: str, count: Any, seed: Any) -> str:
    """What the model says of a visitor's picture; without one, of what it paints for the caption."""
    model = one.model()
    if path:
        picture = read_upload(path, model.resolution)
        return gallery([picture], read(model, picture[None])[0:1] or [NOTHING], "Your picture")
    found = redescribe(model, [one.caption(caption)], count=pictures_asked(count, MOST), seed=seed_asked(seed))
    return gallery([each.picture for each in found], [f"{each.said or NOTHING}: {agreement(each)}" for each in found])


PANEL = Panel(
    title="Read back",
    sentence="The model paints a caption and says in words what the picture shows: do the sentences agree?",
    order=55,
    build=build,
    ability="describes",
)
