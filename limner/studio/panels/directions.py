"""What changes the pictures of a model with styles most, and sliders along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from limner.core.errors import SettingsError
from limner.explore.directions import by_attributes, directions
from limner.explore.styles import styled
from limner.features.garden_judge import load_judge
from limner.studio.desk import Desk, as_sent, is_number, seed_asked, shortened, whole
from limner.studio.extra import gr
from limner.studio.figures import Picture, film
from limner.studio.opened import Opened
from limner.studio.panel import Panel

MOST, MOST_PICTURES, MOST_STEPS, FARTHEST = 12, 4, 15, 20.0
NAMED_BY = "garden"
"""The data whose pictures the judge reads that names directions."""


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model, caption = desk.model(models), desk.caption(models)
        with gr.Row():
            count, pictures = desk.count("Directions", 4, MOST), desk.count("Pictures", 2, MOST_PICTURES)
        with gr.Row():
            steps, seed = desk.count("Steps", 7, MOST_STEPS, least=2), desk.seed()
        with gr.Accordion("How far, and where", open=False):
            distance = as_sent(gr.Number(3.0, label="Standard deviations either way", minimum=0.0, maximum=FARTHEST))
            gr.HTML(
                '<p class="hint">Styles act at places from coarse to fine, counted from 0. Empty fields are the first and the last.</p>'
            )
            with gr.Row():
                first, last = (
                    as_sent(gr.Number(None, label=f"{end} place", precision=0, minimum=0, min_width=110)) for end in ("First", "Last")
                )
        named = gr.Checkbox(False, label="Say what changes (takes longer)", visible=any(_readable(one) for one in models))
        inputs = [model, caption, count, pictures, steps, seed, distance, first, last, named]
        desk.task("Find", find, inputs, submit=[caption])


def find(
    one: Opened,
    caption: str,
    count: Any,
    pictures: Any,
    steps: Any,
    seed: Any,
    distance: Any,
    first: Any,
    last: Any,
    named: bool,
) -> str:
    """A film for each direction, the strongest first: the same pictures, moved along it."""
    model, places = one.model(), len(styled(one.model()).style_weights())
    number = whole(count, "the number of directions", 1, MOST)
    shown = whole(pictures, "the number of pictures", 1, MOST_PICTURES)
    along = whole(steps, "the number of steps", 2, MOST_STEPS)
    start = whole(0 if first is None else first, "the first place", 0, places - 1)
    end = whole(places - 1 if last is None else last, "the last place", start, places - 1)
    if not is_number(distance) or not 0 < distance <= FARTHEST:
        given = "empty" if distance is None else shortened(str(distance))
        raise SettingsError(f"the distance is {given}: give more than 0, and {FARTHEST:g} at most")
    if named and not _readable(one):
        raise SettingsError(f"what changes can be said of pictures of the {NAMED_BY} alone: leave it out")
    found = directions(
        model,
        caption=one.caption(caption),
        count=number,
        pictures=shown,
        steps=along,
        distance=distance,
        layers=(start, end),
        seed=seed_asked(seed),
        namer=by_attributes(load_judge().to(model.device)) if named else None,
    )
    labels = [f"{place:+.1f}" for place in np.linspace(-distance, distance, along)]
    films = [film([_row(direction.strip[:, step]) for step in range(along)], labels, str(direction), along // 2) for direction in found]
    return f'<div class="films" style="--pictures: {shown}">{"".join(films)}</div>'


def _row(pictures: Picture) -> Picture:
    """Pictures [P, H, W, 3] in one, from left to right."""
    return np.ascontiguousarray(np.concatenate(list(pictures), axis=1))


def _readable(one: Opened) -> bool:
    return one.model().about.get("data") == NAMED_BY


PANEL = Panel(
    title="Directions",
    sentence="The directions of styles that change pictures most, found without training. A slider moves pictures along each.",
    order=95,
    build=build,
    ability="mixes styles",
)
