"""`limner explore worst`: the captions whose pictures the judge likes least."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.datasets import ModelsData
from limner.cli.explore.splits import ReferenceData, check_png
from limner.cli.models import Device, open_model
from limner.cli.progress import progress_bar
from limner.core.errors import SettingsError, unknown_name
from limner.core.files import save_whole
from limner.core.worlds import holds

if TYPE_CHECKING:
    from limner.core.pictures import CaptionedPictures
    from limner.explore.worst import Remark, Scorer
    from limner.model import Model

DESCRIPTION = """Show the captions whose pictures the judge likes least.

On the garden the judge reads the attributes that a caption names, and each picture says which it missed. Elsewhere it is a matching model
(limner train sje): a picture scores the share of other captions that fit it less than its own does, 0.5 by chance.

examples:
  limner explore worst garden --out worst.png
  limner explore worst runs/mine --captions 2000 --count 24 --split train --out worst.png
  limner explore worst runs/flowers --judge runs/words --out worst.png"""


OTHERS = 200
"""Captions that each picture's own is held against by a matching model."""


@dataclass(frozen=True, kw_only=True)
class WorstArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    data: ModelsData = None
    split: Annotated[str | None, arg(metavar="NAME")] = None
    """The split whose captions are painted; by default test, or else val."""
    count: Annotated[int, arg(metavar="N")] = 16
    """Pictures to show."""
    captions: Annotated[int, arg(metavar="N")] = 500
    """Captions to paint and judge, drawn by the seed."""
    judge: Annotated[str | None, arg(metavar="SPEC")] = None
    """Who scores: the run or model folder of a matching model; or garden (the default), or garden=DIR for one of your own, which reads the
    attributes of garden pictures."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides captions and noise."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """Where the page goes."""
    device: Device = "auto"
    """Where to paint and judge: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(WorstArguments, argv, prog="limner explore worst", description=DESCRIPTION)
    from limner.explore.worst import page, worst

    check_png(arguments.out)
    model = open_model(arguments.model, arguments.device)
    source = ReferenceData(arguments.model, model, arguments.data)
    check_judge(arguments.judge, source.data)
    pictures = source.split(arguments.split) if arguments.split else source.held_out()
    score, remark = judge(arguments.judge, model, pictures, arguments.seed)
    with progress_bar() as progress:
        failures = worst(
            model,
            pictures,
            score,
            remark=remark,
            count=arguments.count,
            captions=arguments.captions,
            seed=arguments.seed,
            progress=progress,
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(page(failures), arguments.out)
    for case in failures.cases:
        print("  ".join([f"{case.score:.3f}", case.caption, *case.remarks[1:]]))
    print(f"\n{failures.figures()}\n\n{arguments.out}")
    return 0


def check_judge(spec: str | None, data: str) -> None:
    """Raise SettingsError where nobody of that name can judge pictures of this data."""
    if spec is not None and spec.partition("=")[0] != "garden":
        if not Path(spec).is_dir():
            raise unknown_name("judge or folder of a matching model", spec, ["garden"])
    elif holds(data) != "attributes":
        raise SettingsError(
            f"no judge for {data}: 'garden' reads garden flowers alone, and other pictures need an image-text matching model: train one "
            f"(limner train sje --data {shlex.quote(data)} --out RUN) and give --judge RUN"
        )


def judge(spec: str | None, model: Model, pictures: CaptionedPictures, seed: int) -> tuple[Scorer, Remark | None]:
    """Who scores pictures of a split, and what it says of a case."""
    from limner.cli.models import matching_model
    from limner.explore.captions import distinct_captions
    from limner.explore.worst import GardenScore, MatchingScore
    from limner.features.garden_judge import load_judge

    name, _, path = (spec or "garden").partition("=")
    if name == "garden":
        found = GardenScore(load_judge(Path(path) if path else None).to(model.device))
        return found, found.remark
    matching = matching_model(spec, "cuda" if model.device.type == "cuda" else "cpu")
    assert matching is not None
    return MatchingScore(matching, distinct_captions(pictures, OTHERS, seed + 1)), None
