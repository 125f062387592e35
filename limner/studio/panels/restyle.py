"""Captions in the style of a visitor's picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from limner.explore.restyle import by_codes, restyle
from limner.studio.desk import Desk
from limner.studio.figures import gallery
from limner.studio.opened import Opened
from limner.studio.panel import Panel
from limner.studio.uploads import read_upload


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model, picture, caption = desk.model(models), desk.picture(), desk.caption(models)
        desk.task("Restyle", paint_like, [model, picture, caption], submit=[caption], tells=True)


def paint_like(one: Opened, path: str | None, caption: str, tell: Callable[..., None]) -> str:
    """The picture as the model sees it, and the caption in its style."""
    picture, said = read_upload(path, one.model().resolution), one.caption(caption)
    painted = restyle(one.model(), picture[None], [said], tell)[0, 0]
    return gallery([picture, painted], ["your picture", said or "painted"])


PANEL = Panel(
    title="Restyle",
    sentence="A caption in the style of a picture of yours: painted from the noise, or the code, that the model finds for it.",
    order=60,
    build=build,
    serves=lambda one: one.paints() and (one.model().style is not None or by_codes(one.model())),
)
