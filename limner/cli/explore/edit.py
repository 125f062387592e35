"""`limner explore edit`: what changes in the picture when a word of the caption does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.explore.splits import check_png
from limner.cli.models import Device, open_model
from limner.core.errors import SettingsError

DESCRIPTION = """Paint a caption before and after a change from the same noise, and show where the pictures differ: a row for each noise,
with what was before, what is after, and a map of the change.

For models of the garden, of which everything is known, it also says whether the changed attribute followed, whether others
that captions name stayed, and how much changed where the attribute shows and elsewhere. Such figures want many captions: give --attribute.

examples:
  limner explore edit runs/controlgan "a red flower with five petals" "a blue flower with five petals" --out edit.png
  limner explore edit runs/controlgan --attribute colour --count 500 --out edit.png"""


@dataclass(frozen=True, kw_only=True)
class EditArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    captions: Annotated[Positional[tuple[str, ...]], arg(metavar="BEFORE AFTER")] = ()
    """The two captions, in quotes."""
    attribute: Annotated[str | None, arg(metavar="NAME")] = None
    """In place of two captions: many of the garden's test split, each with this attribute changed (colour, count, shape, ...)."""
    count: Annotated[int, arg(metavar="N")] = 6
    """Noises, or captions with --attribute; the picture shows the first 12."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The noise."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The picture."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(EditArguments, argv, prog="limner explore edit", description=DESCRIPTION)
    from limner.explore.edit import edit, edit_grid, garden_edits, judge_edits

    check_png(arguments.out)
    if arguments.count < 1:
        raise SettingsError(f"--count is {arguments.count}: ask for at least one picture")
    if (arguments.attribute is None) == (not arguments.captions) or len(arguments.captions) not in (0, 2):
        raise SettingsError('give the caption before and the caption after, "..." "...", or --attribute NAME')
    model = open_model(arguments.model, arguments.device)
    if arguments.attribute is not None:
        pairs = garden_edits(arguments.attribute, arguments.count)
    else:
        before, after = arguments.captions
        pairs = [(before, after)] * arguments.count
    edits = edit(model, pairs, seed=arguments.seed)
    lines = [f"mean change {float(edits.change().mean()):.1f} levels of 255"]
    if arguments.attribute is not None or model.about.get("data") == "garden":
        try:
            lines = judge_edits(edits).lines()
        except SettingsError as error:
            lines.append(str(error))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    edit_grid(edits, lines).save(arguments.out)
    print("\n".join([*lines, str(arguments.out)]))
    return 0
