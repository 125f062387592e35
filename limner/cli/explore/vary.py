"""`limner explore vary`: one random input of a painting drawn anew, all else standing still."""

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
from limner.core.files import save_whole

DESCRIPTION = """Show what each random input of a painting decides: along a row, one of them is drawn anew, while the others stand still,
also from row to row. Each caption has a row for each input, or one row, if --redraw says what changes.

Methods with conditioning augmentation have two kinds: z, and epsilon, which picks one of the conditions that a caption stands for.

examples:
  limner explore vary garden --captions "a red flower" --out vary.png
  limner explore vary runs/fusedgan --captions "a red bird" "a blue bird" --redraw epsilon --walk --count 8 --out details.png
  limner explore vary runs/fusedgan --captions "a red bird" --redraw z --out postures.png
  limner explore vary runs/without-text --walk --count 10 --out walk.png"""


@dataclass(frozen=True, kw_only=True)
class VaryArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    captions: Annotated[tuple[str, ...], arg(metavar="CAPTION")] = ()
    """What to paint, each caption in quotes; none for a model that reads no text."""
    redraw: Annotated[tuple[str, ...] | None, arg(metavar="NAME")] = None
    """The random inputs that are drawn anew along a row, together; by default each in turn, in a row of its own. A name that the model has
    not is answered by those that it has."""
    walk: bool = False
    """Go smoothly from one draw to another along a row, in place of drawing each picture's anew."""
    count: Annotated[int, arg(metavar="N")] = 6
    """Pictures in a row."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides what stands still and what is drawn."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The grid."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(VaryArguments, argv, prog="limner explore vary", description=DESCRIPTION)
    from limner.data.sheet import caption_grid
    from limner.explore.vary import vary, vary_in_turn

    check_png(arguments.out)
    if arguments.redraw == ():
        raise SettingsError("--redraw names nothing: give the NAME of a random input, such as z, or leave it out")
    model = open_model(arguments.model, arguments.device)
    if not arguments.captions and model.reads_text:
        raise SettingsError('there is nothing to paint: give --captions "CAPTION" ...')
    captions = arguments.captions or ("",)
    count, seed, walk = arguments.count, arguments.seed, arguments.walk
    if arguments.redraw is None:
        titles, pictures = vary_in_turn(model, captions, count=count, seed=seed, walk=walk)
    else:
        titles, pictures = list(captions), vary(model, captions, arguments.redraw, count=count, seed=seed, walk=walk)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(caption_grid([list(row) for row in pictures], titles), arguments.out)
    print(arguments.out)
    return 0
