"""Paint captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from limner.core.abilities import TakesSampling
from limner.core.errors import SettingsError
from limner.core.recipes import laid_over
from limner.model import Model
from limner.studio.desk import Desk, pictures_asked, seed_asked
from limner.studio.extra import gr
from limner.studio.figures import gallery, numbered, said
from limner.studio.opened import Opened
from limner.studio.panel import Panel

MOST_WORDS = 1_000
"""Words of a model that are listed, the most frequent first."""


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    names = list(dict.fromkeys(name for one in models for name in _sampling(one.model())))
    with desk.inputs():
        model, caption = desk.model(models), desk.caption(models)
        with gr.Row():
            count, seed = desk.count(), desk.seed()
        fields = []
        if names:
            with gr.Accordion("How it draws", open=False):
                gr.HTML('<p class="hint">An empty field leaves the model as it is.</p>')
                fields = [gr.Number(None, label=name.replace("_", " ").capitalize(), min_width=120) for name in names]

        def work(one: Opened, caption: str, count: Any, seed: Any, *values: Any) -> str:
            with _sampled(one.model(), dict(zip(names, values, strict=True))):
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


def _sampling(model: Model) -> tuple[str, ...]:
    return model.method.sampling if isinstance(model.method, TakesSampling) else ()


@contextmanager
def _sampled(model: Model, values: dict[str, Any]) -> Iterator[None]:
    """Within the block, these settings are laid over the model's own."""
    given = {name: value for name, value in values.items() if value is not None}
    for name in given:
        if name not in _sampling(model):
            raise SettingsError(f"this model has no {name.replace('_', ' ')}: leave it empty")
    own = model.method.settings
    whole = {name: int(value) if isinstance(getattr(own, name), int) and value == int(value) else value for name, value in given.items()}
    try:
        if whole:
            model.method.settings = laid_over(own, whole, "sampling")
        yield
    finally:
        model.method.settings = own


PANEL = Panel(
    title="Paint", sentence="A caption, and what the model paints for it.", order=10, build=build, ability="paints", serves=Opened.paints
)
