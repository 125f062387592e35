"""A run while it trains, and after: its samples over time, its curves, the time left."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limner.core.errors import DataError, LimnerError
from limner.core.owner import LOCK, holder
from limner.data.pngwords import captions_in
from limner.data.sheet import cut_grid
from limner.report.curves import charts, read_log
from limner.report.phases import passed
from limner.studio.desk import Desk
from limner.studio.extra import gr
from limner.studio.figures import address_of, said
from limner.studio.opened import Opened
from limner.studio.panel import Panel
from limner.training.grids import grid_moment, grids_of
from limner.training.progress import hours, rate
from limner.training.samples import PICTURES
from limner.training.standing import read_place

SECONDS = 5
"""Between two looks at the run's folder."""


def build(desk: Desk, runs: Sequence[Opened]) -> None:
    """The panel's fields."""
    run = desk.model(runs)
    facts = gr.HTML(elem_classes="run")
    slider = gr.Slider(1, 2, value=1, step=1, label="Samples over time", visible=False, elem_classes="moments")
    samples = gr.HTML(elem_classes="run")
    curves = gr.HTML(elem_classes="run")
    seen = gr.State(None)

    def look(label: str, at: Any, known: Any) -> tuple[Any, ...]:
        """What has changed since the last look: (facts, slider, samples, curves, what is known now)."""
        try:
            folder = _folder(desk.found(label))
            grids = grids_of(folder)
            stamps = (label, len(grids), _stamp(folder / "log.jsonl"))
            told = facts_of(folder)
            if known is not None and known[:3] == stamps:
                return gr.skip() if known[3] == told else told, *[gr.skip()] * 3, (*stamps, told)
            follows = known is None or known[0] != label or at is None or at >= known[1]
            place = max(len(grids), 1) if follows else int(at)
            new = known is None or known[:2] != stamps[:2]
            shown = samples_of(grids, place) if new else gr.skip()
            moved = gr.skip() if not new else gr.Slider(maximum=max(len(grids), 2), value=place, visible=len(grids) > 1)
            return told, moved, shown, curves_of(folder), (*stamps, told)
        except LimnerError as error:
            return said(str(error), "error"), *[gr.skip()] * 4

    def show(label: str, at: Any) -> Any:
        """The samples at a place of the slider."""
        try:
            return samples_of(grids_of(_folder(desk.found(label))), int(at or 1))
        except LimnerError as error:
            return said(str(error), "error")

    quiet = {"show_progress": "hidden", "api_visibility": "private", "concurrency_id": "watch", "concurrency_limit": 4}
    places = ([run, slider, seen], [facts, slider, samples, curves, seen])
    gr.Timer(SECONDS).tick(look, *places, trigger_mode="once", **quiet)
    run.change(look, *places, **quiet)
    desk.blocks.load(look, *places, **quiet)
    slider.input(show, [run, slider], samples, trigger_mode="always_last", **quiet)


def facts_of(folder: Path) -> str:
    """Where the run stands, in words."""
    log = read_log(folder / "log.jsonl")
    owner, place = holder(folder / LOCK), read_place(folder)
    facts: dict[str, str] = {}
    if owner is None:
        facts["state"] = "not being trained now"
        for phase in passed(log):
            facts[f"steps of {phase.name}"] = f"{phase.steps:,}"
        return _facts(facts, None)
    facts[f"since {owner['since'].astimezone():%H:%M}"] = "in training"
    if place is None:
        facts["step"] = "not yet"
        return _facts(facts, None)
    facts[f"step of {place.phase}"] = f"{place.step:,} of {place.steps:,}"
    facts["pictures a second"] = "-" if place.images_per_second is None else rate(place.images_per_second)
    facts["left of this phase" if place.rough else "left"] = hours(place.left(place.phase_left))
    if place.rough:
        facts["left of the run, roughly"] = "~" + hours(place.left(place.run_left))
    return _facts(facts, place.fraction)


def samples_of(grids: Sequence[Path], place: int) -> str:
    """A sample grid, counted from 1: its captions as text with their pictures, or the page as it is."""
    if not grids:
        return said("No samples have been painted yet.")
    path = grids[min(max(place, 1), len(grids)) - 1]
    heading = f"<h3>{html.escape(grid_moment(path))}</h3>"
    try:
        captions = captions_in(path)
        with Image.open(path) as page:
            whole = page.convert("RGB")
    except OSError as error:
        raise DataError(f"the samples {path.name} cannot be read ({error}): look at the next ones") from None
    cut = cut_grid(whole, captions, PICTURES) if captions else None
    if cut is None:
        return f'{heading}<img class="whole" src="{address_of(np.asarray(whole))}" alt="samples at {html.escape(grid_moment(path))}">'
    rows = "".join(
        f'<div><p>{html.escape(caption)}</p><div class="strip">{"".join(_sample(picture, caption) for picture in row)}</div></div>'
        for caption, row in zip(captions, cut, strict=True)
    )
    return f'{heading}<div class="samples">{rows}</div>'


def curves_of(folder: Path) -> str:
    """The charts of the run's log."""
    drawn = charts(read_log(folder / "log.jsonl"))
    figures = "".join(f"<figure><h3>{html.escape(title)}</h3>{svg}</figure>" for title, svg in drawn if svg)
    return f'<div class="charts">{figures}</div>' if figures else ""


def _facts(facts: dict[str, str], fraction: float | None) -> str:
    shown = "".join(f"<div><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>" for name, value in facts.items())
    bar = (
        ""
        if fraction is None
        else f'<div class="bar" role="img" aria-label="{fraction:.0%} done"><i style="width:{fraction:.1%}"></i></div>'
    )
    return f'<div class="facts">{shown}</div>{bar}'


def _sample(picture: Image.Image, caption: str) -> str:
    return f'<img src="{address_of(np.asarray(picture))}" alt="{html.escape(caption or "a sample")}">'


def _folder(one: Opened) -> Path:
    assert one.run is not None
    return one.run


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


PANEL = Panel(
    title="Training",
    sentence="How a run goes: what it paints, how its figures move, how long it will take. It is looked at every few seconds.",
    order=0,
    build=build,
    serves=lambda one: one.run is not None,
)
