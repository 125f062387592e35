"""A picture for each sentence of a story."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from limner.explore.story import LONGEST, animated, animation, strip, swaps_of, tell
from limner.studio.desk import Desk, lines_asked, pictures_asked, seed_asked
from limner.studio.extra import gr
from limner.studio.figures import png_of, rows, saved
from limner.studio.opened import Opened
from limner.studio.panel import Panel

MOST = 4


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model = desk.model(models)
        known = next((story for one in models if (story := one.story())), [])
        sentences = desk.sentences("A sentence a line, a picture each", "\n".join(known), "Rosa stands in a meadow", lines=5)
        swaps = desk.sentences("Names exchanged, in a second row", hint="Rosa=Iris", lines=1)
        with gr.Row():
            count, seed = desk.count("Tellings", 1, MOST), desk.seed()
        desk.task("Tell", tell_it, [model, sentences, swaps, count, seed])


def tell_it(one: Opened, sentences: str, swaps: str, count: Any, seed: Any) -> str:
    """The story's pictures under their sentences, and those of the story with names exchanged, from the same noise."""
    number, start = pictures_asked(count, MOST), seed_asked(seed)
    story = lines_asked(sentences, LONGEST, "sentences")
    exchanged = swaps_of(one.model(), story, lines_asked(swaps, LONGEST, "names"))
    tellings = tell(one.model(), story, exchanged, count=number, seed=start)
    names = ", ".join(f"{before} and {after}" for before, after in exchanged)
    titles, shown, labels = [], [], []
    for place in range(number):
        for title, (told, pictures) in zip(("", f", with {names} exchanged"), tellings, strict=False):
            titles.append((f"Telling {place + 1}" if number > 1 else "The story") + title)
            shown.append(list(pictures[place]))
            labels.append(told)
    links = [
        saved(png_of(np.asarray(strip(tellings))), "image/png", "story.png", "Save the strip"),
        saved(animated(animation(tellings)), "image/gif", "story.gif", "Save the animation"),
    ]
    return rows(titles, shown, labels, f"seed {start}") + f'<p class="said">{"".join(links)}</p>'


PANEL = Panel(
    title="Story",
    sentence="A picture for each sentence of a story, in which characters stay themselves. With names exchanged, they alone should change.",
    order=15,
    build=build,
    ability="tells stories",
)
