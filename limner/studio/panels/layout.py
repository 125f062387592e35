"""Where a model puts things, which a visitor may put elsewhere."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from typing import Any

from limner.core.errors import SettingsError
from limner.data.outlines import INKS
from limner.explore.layout import Edits, LaidOut, edited, lay_out, layout_of, most_things
from limner.studio.desk import Desk, seed_asked, text_of
from limner.studio.extra import gr
from limner.studio.figures import address_of, gallery, saved
from limner.studio.opened import Opened
from limner.studio.panel import Panel

BOARD = """<div class="board" hidden><div class="field"><img alt="the picture under its boxes"></div>
<div class="controls"><select aria-label="What to add"></select><button type="button" class="add">Add</button>
<button type="button" class="remove">Remove</button></div>
<p class="hint">Drag a box to move it, its corner to scale it. Arrow keys do the same, with Shift for the corner.</p></div>"""
"""What studio.js fills with the boxes of a layout."""
MOST_THINGS = 100


def build(desk: Desk, models: Sequence[Opened]) -> None:
    """The panel's fields."""
    with desk.inputs():
        model, caption, seed = desk.model(models), desk.caption(models), desk.seed()
        with gr.Accordion("A layout of yours", open=False):
            given = desk.sentences("As limner explore layout writes it", hint='[{"label": "...", "box": [left, top, width, height]}]')
        state = text_of(gr.Textbox("", elem_classes="board-state", max_length=100_000, container=False))  # which the style hides
        with desk.results():
            gr.HTML(BOARD)
        desk.task("Lay out", lay, [model, caption, seed, given], submit=[caption], follow=(state, follow, [model, state]))


def lay(one: Opened, caption: str, seed: Any, given: str) -> str:
    """A board with the layout that the model draws for a caption, or with the one that is given, and what is painted of it."""
    start = seed_asked(seed)
    return shown(one, laid_out(one, caption, start, given), start, given)


def follow(one: Opened, state: str) -> str:
    """What is painted of the layout as a visitor's board has it: `state` is what studio.js writes."""
    board = read_board(state)
    if board["model"] != one.label:
        raise SettingsError(f"this layout is one of {board['model']}: lay the caption out anew")
    model, seed, given = one.model(), board["seed"], board["given"]
    before = laid_out(one, board["caption"], seed, given)
    after = lay_out(model, before.caption, layout=edited(before, edits_of(board["things"], before), model, seed=seed), seed=seed)
    return shown(one, after, seed, given, before)


def laid_out(one: Opened, caption: str, seed: int, given: str) -> LaidOut:
    """A caption in the layout that is given, or else in the model's own."""
    model = one.model()
    layout = layout_of(given, model) if given.strip() else None
    return lay_out(model, one.caption(caption), layout=layout, seed=seed)


def read_board(state: str) -> dict[str, Any]:
    """What a board says. Raises SettingsError for what none can say."""
    try:
        found = json.loads(state)
        things = [
            {"thing": thing.get("thing"), "label": str(thing["label"]), "box": tuple(float(edge) for edge in thing["box"])}
            for thing in found["things"][:MOST_THINGS]
        ]
        whole = all(len(thing["box"]) == 4 and all(map(math.isfinite, thing["box"])) for thing in things)
        if not whole or any(type(thing["thing"]) not in (int, type(None)) for thing in things):
            raise ValueError(state)
        names = {name: str(found[name]) for name in ("model", "caption", "given")}
        return {**names, "seed": seed_asked(found["seed"]), "things": things}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise SettingsError("the boxes cannot be read: lay the caption out anew") from None


def edits_of(things: Sequence[dict[str, Any]], before: LaidOut) -> Edits:
    """What a visitor has changed: things that have a number are those of the layout before, and the others are new."""
    numbers = {thing["thing"] for thing in things}
    removed = tuple(number for number in range(1, len(before.things) + 1) if number not in numbers)
    place = tuple((thing["thing"], thing["box"]) for thing in things if thing["thing"] is not None)
    return Edits(place=place, remove=removed, add=tuple((thing["label"], thing["box"]) for thing in things if thing["thing"] is None))


def shown(one: Opened, laid: LaidOut, seed: int, given: str, before: LaidOut | None = None) -> str:
    """The picture, its layout, and each thing with the words that it looked at; with the layout for the board where it is a new one."""
    things = [{"thing": number, **thing} for number, thing in enumerate(laid.things, 1)]
    asked = {"model": one.label, "caption": laid.caption, "seed": seed, "given": given, "things": things, "fresh": before is None}
    layout = json.dumps(asked | {"side": len(laid.picture), "names": laid.names, "inks": INKS, "most": most_things(one.model())})
    told, file = laid.told(), f"{laid.caption} seed {seed}"
    pictures = [laid.picture, laid.drawn(256)] + [each.picture for each in [before] if each is not None]
    parts = [
        gallery(pictures, ["picture", "layout", "before"][: len(pictures)], file=file),
        gallery([laid.seen(number) for number in range(len(told))], told, "What each looked at", file),
    ]
    link = saved(laid.text.encode(), "application/json", "layout.json", "Save the layout")
    image = f'<img src="{address_of(laid.picture)}" alt="" hidden onload="limnerLaid(this)">'
    return f'<div class="laid rows" data-layout="{html.escape(layout)}">{"".join(parts)}<p class="said">{link}</p>{image}</div>'


PANEL = Panel(
    title="Layout",
    sentence="The model places things before it paints them: move, scale, add or remove one, and the picture follows.",
    order=45,
    build=build,
    ability="lays out",
)
