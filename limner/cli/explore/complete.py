"""`limner explore complete`: a part of a picture is given, the rest is painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.explore.splits import check_png
from limner.cli.models import Device, open_model
from limner.cli.sampling import SamplingArguments, set_sampling, writing_shown
from limner.core.files import save_whole

DESCRIPTION = """Keep a part of a picture and let a model paint the rest, as a caption says. The model is one of a method that completes,
such as dall-e, which writes pictures from the top left to the bottom right: what is kept below or to the right of a place cannot tell it
anything.

examples:
  limner explore complete runs/dalle flower.png "a red flower with five petals" --keep top --out rest.png
  limner explore complete runs/dalle flower.png "a red flower" "a red flower at night" --keep 0,0,1,0.25 --count 6 --out rest.png"""


@dataclass(frozen=True, kw_only=True)
class CompleteArguments(SamplingArguments):
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder or model folder of a method that completes, such as dall-e."""
    picture: Annotated[Positional[Path], arg(metavar="PICTURE")]
    """A picture file of any size, whose centre square is used."""
    captions: Annotated[Positional[tuple[str, ...]], arg(metavar="CAPTION ...")]
    """What the whole picture shall show, each caption in quotes."""
    keep: Annotated[str, arg(metavar="top|left|BOX")] = "top"
    """What stays: the upper or the left half, or a box LEFT,TOP,RIGHT,BOTTOM in shares of the side."""
    count: Annotated[int, arg(metavar="N")] = 4
    """Completions of each caption."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The same caption, picture, seed and number give the same completion."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The page to write."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(CompleteArguments, argv, prog="limner explore complete", description=DESCRIPTION)
    from limner.core.errors import SettingsError
    from limner.explore.complete import box_of, complete, completed_page, kept_part
    from limner.explore.restyle import read_picture
    from limner.model.requests import check_count

    check_png(arguments.out)
    if not arguments.captions:
        raise SettingsError("no caption: say what the picture shall show, in quotes")
    check_count("--count", arguments.count)
    box = box_of(arguments.keep)
    model = open_model(arguments.model, arguments.device)
    set_sampling(model, arguments)
    picture, keep = read_picture(arguments.picture, model.resolution), kept_part(box, model.resolution)
    captions = [caption for caption in arguments.captions for _ in range(arguments.count)]
    numbers = [*range(arguments.count)] * len(arguments.captions)
    with writing_shown(model):
        found = complete(model, captions, picture[None].repeat(len(captions), axis=0), keep, numbers, arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows = found.reshape(len(arguments.captions), arguments.count, *found.shape[1:])
    save_whole(completed_page(picture, keep, rows, arguments.captions), arguments.out)
    print(arguments.out)
    return 0
