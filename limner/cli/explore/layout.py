"""`limner explore layout`: where a model puts things, and what it paints when they are put elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from tyro.conf import Positional, UseAppendAction, arg

from limner.cli.arguments import parse
from limner.cli.explore.splits import check_png
from limner.cli.models import Device, open_model
from limner.cli.outputs import check_file
from limner.core.errors import SettingsError
from limner.core.files import save_whole, write_whole

if TYPE_CHECKING:
    from limner.explore.layout import Edits

Read = TypeVar("Read")
DESCRIPTION = """Show where a model puts the things of a caption: their boxes and shapes, the picture, and which words each thing looked at.
The layout is written next to the picture, as FILE.json. It can be changed, here or in that file, and the picture follows. Places are in
pixels of the model's pictures, things have the numbers that are drawn at their boxes.

examples:
  limner explore layout runs/scenes "a red flower to the left of a blue one" --out layout.png
  limner explore layout runs/scenes "a red flower to the left of a blue one" --move 1=0,12 --scale 2=0.7 --out moved.png
  limner explore layout runs/scenes "a red flower" --add "blue round=40,8,20,20" --remove 1 --out other.png
  limner explore layout runs/scenes "two flowers" --layout layout.json --out given.png"""


@dataclass(frozen=True, kw_only=True)
class LayoutArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder or model folder of a method that lays out, such as obj-gan."""
    caption: Annotated[Positional[str], arg(metavar="CAPTION")]
    """What to paint, in quotes."""
    layout: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """A layout that is given, in place of the model's own: [{"label": "red round", "box": [left, top, width, height]}, ...]."""
    move: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="N=RIGHT,DOWN")] = ()
    """Move thing N by so many pixels; may be given several times, as those below."""
    scale: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="N=FACTOR")] = ()
    """Make thing N larger or smaller, about its centre."""
    place: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="N=LEFT,TOP,WIDTH,HEIGHT")] = ()
    """Put thing N into another box, before it is moved or scaled."""
    add: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="LABEL=LEFT,TOP,WIDTH,HEIGHT")] = ()
    """Add a thing, in front of the others."""
    remove: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="N")] = ()
    """Remove thing N."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The noise, which also decides shapes."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The page to write; the layout is written next to it, as FILE.json."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(LayoutArguments, argv, prog="limner explore layout", description=DESCRIPTION)
    from limner.explore.layout import check_replaceable, edited, lay_out, layout_page, read_layout

    check_png(arguments.out)
    written = arguments.out.with_suffix(".json")
    if written.is_dir():
        raise SettingsError(f"--out {arguments.out}: its layout would be {written}, which is a folder; give another name")
    if arguments.layout is None or written.resolve() != arguments.layout.resolve():
        check_file(written)
    check_replaceable(written)
    edits = edits_of(arguments)
    model = open_model(arguments.model, arguments.device)
    given = None if arguments.layout is None else read_layout(arguments.layout, model)
    laid = lay_out(model, arguments.caption, layout=given, seed=arguments.seed)
    pages = [("as the model lays it out" if given is None else f"as {arguments.layout} has it", laid)]
    if edits:
        laid = lay_out(model, arguments.caption, layout=edited(laid, edits, model, seed=arguments.seed), seed=arguments.seed)
        pages.append(("changed", laid))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(layout_page(pages), arguments.out)
    write_whole(written, laid.text)
    print("\n".join(laid.told()))  # of which the page has room for the beginning
    print(f"{arguments.out}\n{written}")
    return 0


def edits_of(arguments: LayoutArguments) -> Edits:
    """What --place, --move, --scale, --add and --remove ask for. Raises SettingsError for what cannot be read."""
    from limner.explore.layout import Edits

    def moved(text: str) -> tuple[int, float, float]:
        number, _, way = text.partition("=")
        right, down = (float(part) for part in way.split(","))
        return int(number), right, down

    def scaled(text: str) -> tuple[int, float]:
        number, _, factor = text.partition("=")
        return int(number), float(factor)

    def added(text: str) -> tuple[str, tuple[float, float, float, float]]:
        label, _, box = text.rpartition("=")
        left, top, width, height = (float(part) for part in box.split(","))
        if not label.strip():
            raise ValueError(text)
        return label.strip(), (left, top, width, height)

    def placed(text: str) -> tuple[int, tuple[float, float, float, float]]:
        number, box = added(text)
        return int(number), box

    return Edits(
        place=_read("place", arguments.place, placed, "N=LEFT,TOP,WIDTH,HEIGHT, such as 1=4,30,20,20"),
        move=_read("move", arguments.move, moved, "N=RIGHT,DOWN, such as 1=0,12"),
        scale=_read("scale", arguments.scale, scaled, "N=FACTOR, such as 2=0.7"),
        add=_read("add", arguments.add, added, 'LABEL=LEFT,TOP,WIDTH,HEIGHT, such as "blue round=40,8,20,20"'),
        remove=_read("remove", arguments.remove, int, "the number of a thing, such as 1"),
    )


def _read(name: str, texts: Sequence[str], read: Callable[[str], Read], form: str) -> tuple[Read, ...]:
    found = []
    for text in texts:
        try:
            found.append(read(text))
        except ValueError:
            raise SettingsError(f"--{name} {text} cannot be read: give {form}") from None
    return tuple(found)
