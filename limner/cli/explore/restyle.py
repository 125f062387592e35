"""`limner explore restyle`: captions in the style of pictures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.datasets import ModelsData
from limner.cli.explore.splits import ReferenceData, check_drawn, check_png
from limner.cli.models import Device, open_model, set_editing
from limner.cli.progress import progress_bar
from limner.core.errors import SettingsError
from limner.core.files import save_whole

if TYPE_CHECKING:
    from limner.model import Model

DESCRIPTION = """Paint captions in the style of pictures: one row for each picture, one column for each caption.

The style of a picture is the noise that the model would have painted it from, as its style encoder finds it: what captions leave open.
The model needs one: limner train ... --style.steps 3000, or --resume --style.steps 3000 on a run that is finished. A model that edits
pictures by their codes (such as ci-gan) needs none: it keeps of the code what the caption leaves open.

examples:
  limner explore restyle runs/mine bird.jpg --captions "a red flower" "a blue flower" --out restyle.png
  limner explore restyle runs/mine --count 6 --out restyle.png
  limner explore restyle runs/cigan flower.jpg --captions "a blue flower" --out restyle.png"""


@dataclass(frozen=True, kw_only=True)
class RestyleArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder or model folder with a style encoder, or of a method that edits pictures."""
    pictures: Annotated[Positional[tuple[Path, ...]], arg(metavar="PICTURE")] = ()
    """Picture files of any size, whose centre square is used; by default --count pictures of the test or val split."""
    captions: Annotated[tuple[str, ...], arg(metavar="CAPTION")] = ()
    """What to paint, each caption in quotes; by default four captions of the same split."""
    data: ModelsData = None
    split: Annotated[str | None, arg(metavar="NAME")] = None
    """The split that pictures and captions come from; by default test, or else val."""
    count: Annotated[int | None, arg(metavar="N")] = None
    """Pictures of the split, by default 4."""
    invert_steps: Annotated[int | None, arg(metavar="N")] = None
    """Of a model that edits pictures by their codes: steps that move each code until its picture is nearer to the given one."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides which pictures and captions of the split, the noise with which codes are painted, and the pictures by which the printed
    figures judge a style encoder."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """Where the page goes."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(RestyleArguments, argv, prog="limner explore restyle", description=DESCRIPTION)
    from limner.explore.restyle import by_codes, inversion, page, read_picture, restyle, restyle_by_codes
    from limner.model.requests import check_count

    check_png(arguments.out)
    if arguments.pictures:
        check_drawn("PICTURE", count=arguments.count)
    if arguments.pictures and arguments.captions:
        check_drawn("PICTURE and --captions", data=arguments.data, split=arguments.split)
    count = 4 if arguments.count is None else arguments.count
    check_count("--count", count)
    model = open_model(arguments.model, arguments.device)
    codes = by_codes(model)
    if not codes:
        check_style(arguments.model, model)
    set_editing(model, {"invert_steps": arguments.invert_steps})
    for caption in arguments.captions:
        model.check(caption)
    given = [read_picture(path, model.resolution) for path in arguments.pictures]
    pictures, captions = np.array(given), list(arguments.captions)
    if not given or not captions:
        source = ReferenceData(arguments.model, model, arguments.data)
        drawn, spoken = drawn_from(source, arguments.split, count, arguments.seed)
        pictures, captions = pictures if given else drawn, captions or spoken
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if codes:
        with progress_bar() as bar:
            found, painted = restyle_by_codes(model, pictures, captions, bar, arguments.seed)
        names = [path.name for path in arguments.pictures] or [f"picture {number}" for number in range(1, len(pictures) + 1)]
        save_whole(page(pictures, painted, captions, found.rebuilt), arguments.out)
        print("\n".join([*found.lines(names), str(arguments.out)]))
        return 0
    save_whole(page(pictures, restyle(model, pictures, captions), captions), arguments.out)
    print(f"{inversion(model, captions, seed=arguments.seed)}\n\n{arguments.out}")
    return 0


def check_style(name: str, model: Model) -> None:
    """Raises SettingsError for a model without style encoder, with the command that adds one, or the reason why it can have none."""
    if model.style is not None:
        return
    from limner.explore.lacking import lacking

    if model.no_style is not None:
        raise lacking(model, f"{name} has no style encoder, and can have none: it {model.no_style}")
    if (Path(name) / "recipe.yaml").is_file():
        from limner.core.recipes import load_recipe

        method = load_recipe(Path(name) / "recipe.yaml").method
        more = f"limner train {method} --out {shlex.quote(name)} --resume --style.steps 3000"
        raise SettingsError(f"{name} has no style encoder: add one by `{more}`")
    fix = "give a run folder, to which `limner train ... --resume --style.steps 3000` adds one"
    raise lacking(model, f"{name} has no style encoder: {fix}")


def drawn_from(source: ReferenceData, split: str | None, count: int, seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """`count` pictures [count, R, R, 3] and up to four different captions, of other pictures where the split has enough."""
    from limner.data.reduced import at_resolution
    from limner.explore.captions import distinct_captions, drawn_pictures

    resolution = source.model.resolution
    opened = at_resolution(source.split(split) if split else source.held_out(), resolution)
    chosen = drawn_pictures(opened, seed)[-count:]
    margin = (opened.stored_resolution - resolution) // 2
    pictures = opened.read(chosen)[:, margin : margin + resolution, margin : margin + resolution]
    return pictures, distinct_captions(opened, 4, seed)
