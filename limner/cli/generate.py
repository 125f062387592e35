"""`limner generate`: captions in, pictures out."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, open_model
from limner.cli.outputs import check_file, check_folder
from limner.core.errors import DataError, SettingsError

if TYPE_CHECKING:
    from PIL import Image

    from limner.model import Model

DESCRIPTION = """Paint captions with a trained model.

examples:
  limner generate garden "a pink flower with five round petals" --out pictures
  limner generate runs/mine "a red bird" "a blue bird" -n 8 --seed 7 --out birds.png
  limner generate garden --captions captions.txt --out pictures
  limner generate runs/stackgan "a red bird" -n 4 --stages --out stages.png
  limner generate runs/without-text -n 16 --out pictures"""


OTHER_PICTURES = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class GenerateArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="CAPTION")] = ()
    """What to paint, each caption in quotes; none for a model that reads no text."""
    captions: Annotated[Path | None, arg(metavar="FILE")] = None
    """A text file with more captions, one a line."""
    count: Annotated[int, arg(name="count", aliases=("-n",), metavar="N")] = 1
    """Pictures of each caption."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The same caption, seed and number give the same picture."""
    stages: bool = False
    """Also show the rougher pictures on the way to each, of a model that paints in stages."""
    out: Annotated[Path, arg(metavar="DIR|FILE.png")]
    """A folder for one PNG a picture, or a .png file for one grid with a row for each caption."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(GenerateArguments, argv, prog="limner generate", description=DESCRIPTION)
    captions = [*arguments.words, *(read_captions(arguments.captions) if arguments.captions else [])]
    as_grid = arguments.out.suffix.lower() == ".png"
    if not as_grid and (arguments.out.is_file() or arguments.out.suffix.lower() in OTHER_PICTURES):
        raise SettingsError(f"--out {arguments.out} is a file: give a folder, or a name that ends in .png for one grid")
    if arguments.count < 1:
        raise SettingsError(f"-n is {arguments.count}: ask for at least one picture of each caption")
    (check_file if as_grid else check_folder)(arguments.out)
    model = open_model(arguments.model, arguments.device)
    if not captions and model.reads_text:
        raise SettingsError('there is nothing to paint: give a "CAPTION" in quotes, or --captions FILE')
    captions = captions or [""]
    pictures = painted(model, captions, arguments)  # [B] lists of a picture, or of its stages
    for caption in captions:
        if model.reads_text and (unknown := model.unknown_words(caption)):
            print(f"limner: the model never met {', '.join(repr(word) for word in unknown)} in '{caption}'", file=sys.stderr)
        if model.encoder.was_cut(caption):
            print(f"limner: the model reads no further than the start of '{caption}': shorten it", file=sys.stderr)
    if as_grid:
        from limner.data.sheet import caption_grid

        rows = [sum(pictures[start : start + arguments.count], []) for start in range(0, len(pictures), arguments.count)]
        labels = [[f"{picture.width} px" for picture in row] for row in rows] if arguments.stages else None
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        caption_grid(rows, captions, labels=labels).save(arguments.out)
        print(arguments.out)
        return 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    written = []
    for place, stages in enumerate(pictures):
        row, number = divmod(place, arguments.count)
        for picture in stages:
            side = f"-{picture.width}px" if arguments.stages else ""
            path = arguments.out / f"{row + 1:03}-{file_name(captions[row])}-{number + 1:02}{side}.png"
            picture.save(path)
            written.append(str(path))
    print("\n".join(written))  # once all are there: what is printed may not be readable, and costs no picture
    return 0


def painted(model: Model, captions: Sequence[str], arguments: GenerateArguments) -> list[list[Image.Image]]:
    """For each caption and number its picture, after the rougher ones where stages are asked for."""
    if not arguments.stages:
        return [[picture] for picture in model.generate(captions, n=arguments.count, seed=arguments.seed)]
    import numpy as np
    from PIL import Image

    repeated = [caption for caption in captions for _ in range(arguments.count)]
    stages = model.stages(repeated, np.tile(np.arange(arguments.count), len(captions)), arguments.seed)
    if len(stages) == 1:
        raise SettingsError(f"{arguments.model} paints in one stage: leave --stages out")
    return [[Image.fromarray(picture) for picture in course] for course in zip(*stages, strict=True)]


def read_captions(path: Path) -> list[str]:
    """The captions of a text file, one a line; blank lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: --captions takes a text file with one caption a line") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8: --captions takes a text file with one caption a line") from None
    captions = [line.strip() for line in lines if line.strip()]
    if not captions:
        raise DataError(f"{path} has no captions: write one a line")
    return captions


def file_name(caption: str, longest: int = 60) -> str:
    """A caption as a part of a file name: words with dashes between them."""
    return re.sub(r"\W+", "-", caption.lower()).strip("-")[:longest].strip("-") or "picture"
