"""`limner explore invert`: real pictures, found again in a generator's codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.datasets import ModelsData
from limner.cli.explore.restyle import drawn_from
from limner.cli.explore.splits import ReferenceData, check_drawn, check_png
from limner.cli.models import Device, open_model, set_editing
from limner.cli.progress import progress_bar
from limner.core.errors import SettingsError
from limner.core.files import save_whole

DESCRIPTION = """Find the codes of pictures and paint them again: a row for each picture, with what came back and where the two differ. The
model is one of a method that inverts, such as ci-gan.

examples:
  limner explore invert runs/cigan --picture flower.png bird.jpg --out invert.png
  limner explore invert runs/cigan --picture flower.png --invert-steps 100 --out invert.png
  limner explore invert runs/cigan --count 8 --out invert.png"""


@dataclass(frozen=True, kw_only=True)
class InvertArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder or model folder of a method that inverts, such as ci-gan."""
    picture: Annotated[tuple[Path, ...] | None, arg(metavar="FILE ...")] = None
    """Picture files of any size, whose centre square is used; by default --count pictures of the test or val split."""
    data: ModelsData = None
    split: Annotated[str | None, arg(metavar="NAME")] = None
    """The split that pictures come from; by default test, or else val."""
    count: Annotated[int | None, arg(metavar="N")] = None
    """Pictures of the split, by default 6."""
    invert_steps: Annotated[int | None, arg(metavar="N")] = None
    """Steps that move each code from the one that the encoder finds, until the picture is nearer; 0 for none. By default the model's own
    setting."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides which pictures of the split, and the noise."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The page."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(InvertArguments, argv, prog="limner explore invert", description=DESCRIPTION)
    from limner.explore.invert import invert, inverted_page, inverting
    from limner.explore.restyle import read_picture
    from limner.model.requests import check_count

    check_png(arguments.out)
    if arguments.picture == ():
        raise SettingsError("--picture names no file: give one, or leave it out for pictures of the data")
    if arguments.picture is not None:
        check_drawn("--picture", data=arguments.data, split=arguments.split, count=arguments.count)
    count = 6 if arguments.count is None else arguments.count
    check_count("--count", count)
    model = open_model(arguments.model, arguments.device)
    inverting(model)
    set_editing(model, {"invert_steps": arguments.invert_steps})
    if arguments.picture is not None:
        pictures = np.array([read_picture(path, model.resolution) for path in arguments.picture])
        names = [path.name for path in arguments.picture]
    else:
        source = ReferenceData(arguments.model, model, arguments.data)
        pictures, _ = drawn_from(source, arguments.split, count, arguments.seed)
        names = [f"picture {number}" for number in range(1, len(pictures) + 1)]
    with progress_bar() as bar:
        found = invert(model, pictures, arguments.seed, bar)
    lines = found.lines(names)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(inverted_page(found, lines), arguments.out)
    print("\n".join([*lines, str(arguments.out)]))
    return 0
