"""Paint captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from limner.studio.desk import Desk, pictures_asked, seed_asked
from limner.studio.extra import gr
from limner.studio.figures import gallery, numbered, said
from limner.studio.opened import Opened
from limner.studio.panel import Panel
from limner.studio.sampling import sampled, sampling_fields, sampling_names

MOST_WORDS = 1_000
"""Words of a model that are listed, the most frequent first."""


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    names = sampling_names(models)
    with desk.inputs():
        model, caption = desk.model(models), desk.caption(models)
        with gr.Row():
            count, seed = desk.count(), desk.seed()
        fields = sampling_fields(models, names, "How it draws")

        def work(one: Opened, caption: str, count: Any, seed: Any, *values: Any) -> str:
            with sampled(one.model(), dict(zip(names, values, strict=True))):
                return paint(one, caption, count, seed)

        desk.task("Paint", work, [model, caption, count, seed, *fields], submit=[caption])
        known = {one.label: words for one in models if one.reads_text() and (words := one.model().encoder.known_words())}
        if known:
            with gr.Accordion("Words it knows" if len(models) == 1 else "Words they know", open=False):
                gr.HTML("".join(_listed(words, label if len(models) > 1 else "") for label, words in known.items()))


def paint(one: Opened, caption: str, count: Any, seed: Any) -> str:
    """`count` pictures of a caption, those of `limner generate` with this seed."""
    number, start = pictures_asked(count), seed_asked(seed)
    pictures = one.model().generate(one.caption(caption), n=number, seed=start)
    return gallery([np.asarray(picture) for picture in pictures], numbered(number), file=f"{caption} seed {start}")


def _listed(words: Sequence[str], label: str) -> str:
    more = f" and {len(words) - MOST_WORDS:,} more" if len(words) > MOST_WORDS else ""
    return said(f"{label}: " * bool(label) + ", ".join(words[:MOST_WORDS]) + more, "words")


PANEL = Panel(
    title="Paint", sentence="A caption, and what the model paints for it.", order=10, build=build, ability="paints", serves=Opened.paints
)
