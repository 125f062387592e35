"""`limner explore edit`: what changes in the picture when a word of the caption does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from limner.cli.arguments import parse
from limner.cli.explore.splits import check_png
from limner.cli.models import Device, editing_option, open_model, set_editing
from limner.core.errors import SettingsError
from limner.core.files import save_whole
from limner.core.worlds import holds

if TYPE_CHECKING:
    from limner.explore.edit import Edits
    from limner.model import Model

DESCRIPTION = """Paint a caption before and after a change from the same noise, and show where the pictures differ: a row for each noise,
with what was before, what is after, and a map of the change.

With --picture given pictures are edited, by models that can (such as ci-gan): one caption says what they shall show; or two, of which the
first says what they show now. A row has the picture, what the model finds of it, what is after, and a map of the change between these.

For models of the garden, of which everything is known, it also says whether the changed attribute followed, whether others
that captions name stayed, and how much changed where the attribute shows and elsewhere. Such figures want many captions: give --attribute.

examples:
  limner explore edit runs/controlgan "a red flower with five petals" "a blue flower with five petals" --out edit.png
  limner explore edit runs/controlgan --attribute colour --count 500 --out edit.png
  limner explore edit runs/cigan --picture flower.png "a blue flower" --out edit.png
  limner explore edit runs/cigan --picture flower.png "a red flower" "a blue flower" --steps 100 --out edit.png"""


@dataclass(frozen=True, kw_only=True)
class EditArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    captions: Annotated[Positional[tuple[str, ...]], arg(metavar="BEFORE AFTER")] = ()
    """The two captions, in quotes; with --picture the second alone will do."""
    picture: Annotated[tuple[Path, ...], UseAppendAction, arg(metavar="FILE")] = ()
    """A picture file to be edited, of any size; the centre square is used. May be given several times."""
    attribute: Annotated[str | None, arg(metavar="NAME")] = None
    """In place of two captions: many of the garden's test split, each with this attribute changed (colour, count, shape, ...)."""
    count: Annotated[int | None, arg(metavar="N")] = None
    """Noises, or captions with --attribute, by default 6; the picture shows the first 12."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The noise."""
    invert_steps: Annotated[int | None, arg(metavar="N")] = None
    """With --picture: steps that find the picture's code, from the encoder's; 0 for none. By default the model's own setting, as for the
    next five."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """With --picture: steps in which the picture's code is moved; 0 goes straight to what the caption asks for."""
    rate: Annotated[float | None, arg(metavar="R")] = None
    """With --picture: the learning rate of these steps."""
    text_weight: Annotated[float | None, arg(metavar="W")] = None
    """With --picture: how much the steps are for the caption."""
    picture_weight: Annotated[float | None, arg(metavar="W")] = None
    """With --picture: how much they are for what the picture looks like."""
    aim: Literal["said", "whole"] | None = None
    """With --picture and one caption: what the code is moved to. `said` exchanges what the caption speaks of and leaves the rest; `whole`
    is the caption by itself, in which all that it does not say is typical."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The picture."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(EditArguments, argv, prog="limner explore edit", description=DESCRIPTION)
    from limner.explore.edit import edit, edit_grid, garden_edits, judge_edits

    check_png(arguments.out)
    check(arguments)
    model = open_model(arguments.model, arguments.device)
    count = 6 if arguments.count is None else arguments.count
    if arguments.picture:
        edits = edited_pictures(model, arguments)
    elif arguments.attribute is not None:
        edits = edit(model, garden_edits(arguments.attribute, count), seed=arguments.seed)
    else:
        before, after = arguments.captions
        edits = edit(model, [(before, after)] * count, seed=arguments.seed)
    lines = [f"mean change {float(edits.change().mean()):.1f} levels of 255"]
    described = len(arguments.captions) == 2 and all(arguments.captions) and holds(str(model.about.get("data"))) == "attributes"
    if arguments.attribute is not None or described:
        try:
            lines = judge_edits(edits).lines()
        except SettingsError as error:
            lines.append(str(error))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(edit_grid(edits, lines), arguments.out)
    print("\n".join([*lines, str(arguments.out)]))
    return 0


def check(arguments: EditArguments) -> None:
    """Raise SettingsError for what does not go together."""
    from limner.model.requests import check_count

    if arguments.count is not None:
        check_count("--count", arguments.count)
    if arguments.picture:
        if arguments.count is not None:
            raise SettingsError("--count is for noises and captions: leave it out with --picture")
        if arguments.attribute is not None or len(arguments.captions) not in (1, 2):
            raise SettingsError('with --picture give what it shall show, "...", or what it shows and what it shall show, "..." "..."')
        if arguments.aim is not None and len(arguments.captions) == 2 and arguments.captions[0]:
            raise SettingsError("--aim is for one caption, and two already say what is exchanged: leave it out, or the first caption")
        return
    if asked := [*moved_by(arguments)]:
        raise SettingsError(f"{editing_option(asked[0])} is for given pictures: add --picture FILE")
    if (arguments.attribute is None) == (not arguments.captions) or len(arguments.captions) not in (0, 2):
        raise SettingsError('give the caption before and the caption after, "..." "...", or --attribute NAME')


def moved_by(arguments: EditArguments) -> dict[str, float | bool]:
    """The settings of editing that were asked for, by their names in a method's settings."""
    names = ("steps", "rate", "text_weight", "picture_weight")
    asked: dict[str, float | bool] = {f"edit_{name}": value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.invert_steps is not None:
        asked["invert_steps"] = arguments.invert_steps
    return asked if arguments.aim is None else {**asked, "edit_whole": arguments.aim == "whole"}


def edited_pictures(model: Model, arguments: EditArguments) -> Edits:
    """The given pictures, edited, with a progress bar. Raises SettingsError for what the model does not know."""
    import numpy as np

    from limner.cli.progress import progress_bar
    from limner.explore.edit import edit_pictures
    from limner.explore.restyle import read_picture

    set_editing(model, moved_by(arguments))
    pictures = np.array([read_picture(path, model.resolution) for path in arguments.picture])
    pair = ("", *arguments.captions)[-2:]
    with progress_bar() as bar:
        return edit_pictures(model, pictures, [(pair[0], pair[1])] * len(pictures), seed=arguments.seed, progress=bar)
