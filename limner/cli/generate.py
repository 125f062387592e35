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
from limner.cli.reranking import RerankArguments, check_reranking, keep_ranked, open_judge, reranked
from limner.cli.sampling import SamplingArguments, set_sampling, writing_shown
from limner.core.errors import DataError, SettingsError
from limner.core.files import save_whole

if TYPE_CHECKING:
    from PIL import Image

    from limner.metrics.scoring.matching import Placed
    from limner.model import Model

DESCRIPTION = """Paint captions with a trained model.

examples:
  limner generate garden "a pink flower with five round petals" --out pictures
  limner generate runs/mine "a red bird" "a blue bird" -n 8 --seed 7 --out birds.png
  limner generate garden --captions captions.txt --out pictures
  limner generate runs/stackgan "a red bird" -n 4 --stages --out stages.png
  limner generate runs/without-text -n 16 --out pictures
  limner generate runs/dalle "a red bird" -n 4 --rerank runs/clip --of 32 --out best.png

A caption without a word that the model knows is left out, and said; the others are painted, and the exit code is then 2."""


GRID_WIDTH = 8
"""Pictures in a row of a page."""
OTHER_PICTURES = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class GenerateArguments(RerankArguments, SamplingArguments):
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
    from limner.model.requests import check_count

    check_count("-n", arguments.count)
    check_reranking(arguments)
    (check_file if as_grid else check_folder)(arguments.out)
    model = open_model(arguments.model, arguments.device)
    set_sampling(model, arguments)
    judge = open_judge(arguments, model)
    if not captions and model.reads_text:
        raise SettingsError('there is nothing to paint: give a "CAPTION" in quotes, or --captions FILE')
    captions = captions or [""]
    asked = len(captions)
    numbers, captions = readable(model, captions, judge)
    if not captions:
        print("limner: nothing was painted", file=sys.stderr)
        return 2
    code = 2 if len(captions) < asked else 0
    if judge is not None:
        ranked = reranked(model, captions, judge, arguments)
        names = [f"{number:03}-{file_name(caption)}" for number, caption in zip(numbers, captions, strict=True)]
        keep_ranked(ranked, names, judge, arguments)
        return code
    with writing_shown(model):
        pictures = painted(model, captions, arguments)  # [B] lists of a picture, or of its stages
    if as_grid:
        from limner.data.sheet import caption_grid

        rows = [sum(pictures[start : start + arguments.count], []) for start in range(0, len(pictures), arguments.count)]
        above: list[str | None] = [*captions]
        labels = [[f"{picture.width} px" for picture in row] for row in rows] if arguments.stages else None
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        if labels is None:  # a long row goes on below, without its caption
            parts = [(row, start) for row in rows for start in range(0, len(row), GRID_WIDTH)]
            said = iter(captions)
            rows = [row[start : start + GRID_WIDTH] for row, start in parts]
            above = [None if start else next(said) or None for _, start in parts]
        save_whole(caption_grid(rows, above, labels=labels), arguments.out)
        print(arguments.out)
        return code
    arguments.out.mkdir(parents=True, exist_ok=True)
    written = []
    for place, stages in enumerate(pictures):
        row, number = divmod(place, arguments.count)
        for picture in stages:
            side = f"-{picture.width}px" if arguments.stages else ""
            path = arguments.out / f"{numbers[row]:03}-{file_name(captions[row])}-{number + 1:02}{side}.png"
            save_whole(picture, path)
            written.append(str(path))
    print("\n".join(written))  # once all are there: what is printed may not be readable, and costs no picture
    return code


def readable(model: Model, captions: Sequence[str], judge: Placed | None = None) -> tuple[list[int], list[str]]:
    """The captions that the model can paint, with their numbers from 1; says why others are left out, and what of these is not read.

    judge: who must be able to read them too. Raises SettingsError where there is one caption alone and it cannot be painted.
    """
    from limner.model.requests import unread

    readers = {"model": model.encoder} | ({"judge": judge.encoder} if judge is not None else {})
    found: dict[str, bool] = {}
    for number, caption in enumerate(captions, 1):
        if caption in found:
            continue
        try:
            model.check(caption)
            if judge is not None:
                judge.check(caption)
        except SettingsError as error:
            if len(captions) == 1:
                raise
            found[caption] = False
            print(f"limner: caption {number} is left out: {error}", file=sys.stderr)
            continue
        found[caption] = True
        for reader, encoder in readers.items():
            if remark := unread(encoder, caption, f"the {reader}"):
                print(f"limner: {remark}", file=sys.stderr)
    good = [(number, caption) for number, caption in enumerate(captions, 1) if found[caption]]
    return [number for number, _ in good], [caption for _, caption in good]


def painted(model: Model, captions: Sequence[str], arguments: GenerateArguments) -> list[list[Image.Image]]:
    """For each caption and number its picture, after the rougher ones where stages are asked for."""
    import numpy as np
    from PIL import Image

    repeated = [caption for caption in captions for _ in range(arguments.count)]
    samples = np.tile(np.arange(arguments.count), len(captions))
    if not arguments.stages:
        return [[Image.fromarray(picture)] for picture in model.pictures(repeated, samples, arguments.seed)]
    stages = model.stages(repeated, samples, arguments.seed)
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
