"""A visitor's picture, changed by words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from limner.explore.differences import bright
from limner.explore.edit import edit_pictures
from limner.studio.desk import Desk, seed_asked
from limner.studio.figures import gallery, said
from limner.studio.opened import Opened
from limner.studio.panel import Panel
from limner.studio.sampling import sampled, sampling_fields, sampling_names
from limner.studio.uploads import read_upload


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    names = sampling_names(models, editing=True)
    with desk.inputs():
        model, picture = desk.model(models), desk.picture()
        after = desk.caption(models, "What it shall show")
        before = desk.caption(models, "What it shows now, if you like", value="", hint="Leave it empty, or say what is there")
        seed = desk.seed()
        fields = sampling_fields(models, names, "How it edits")

        def work(one: Opened, path: str | None, after: str, before: str, seed: Any, *values: Any, tell: Callable[..., None]) -> str:
            with sampled(one.model(), dict(zip(names, values, strict=True))):
                return change(one, path, after, before, seed, tell)

        desk.task("Change", work, [model, picture, after, before, seed, *fields], submit=[after, before], tells=True)


def change(one: Opened, path: str | None, after: str, before: str, seed: Any, tell: Callable[..., None]) -> str:
    """The picture, what the model finds of it, what becomes of that, and where the last two differ."""
    model, start = one.model(), seed_asked(seed)
    picture = read_upload(path, model.resolution)
    pair = (one.caption(before), one.caption(after))
    model.check(pair[1])
    found = edit_pictures(model, picture[None], [pair], seed=start, progress=tell)
    moved = found.change()
    labels = ["your picture", "before, as the model finds it", "after", f"change {float(moved.mean()):.1f}"]
    shown = gallery([picture, found.before[0], found.after[0], bright(moved)[0]], labels, file=f"{after} seed {start}")
    return shown + said(f"mean change {float(moved.mean()):.1f} levels of 255; bright is where the picture changed most")


PANEL = Panel(
    title="Edit a picture",
    sentence="Words change a picture of yours, and leave the rest of it as it is.",
    order=64,
    build=build,
    ability="edits",
)
