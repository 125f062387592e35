"""`limner curve`: how many pictures do I need?"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from limner.cli.arguments import parse
from limner.cli.outputs import check_folder

if TYPE_CHECKING:
    from limner.study.plan import Planned

DESCRIPTION = """Train on a quarter, a half and all of a prepared set, and say in words and a figure what more pictures bring.

The same held-out pictures (the val split) judge all. It is a study: whatever stops it, the same command goes on with it.

  OUT/answer.md    the words
  OUT/curve.svg    the figure
  and all that `limner study` writes

examples:
  limner curve prepared/mine --out runs/curve
  limner curve prepared/mine --out runs/curve --minutes 30 --seeds 0 1 --shares 0.1 0.3 1"""


@dataclass(frozen=True, kw_only=True)
class CurveArguments:
    data: Annotated[Positional[str], arg(metavar="DIR")]
    """A folder that `limner data prepare` wrote."""
    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for the runs and the answer, new or begun."""
    shares: tuple[float, ...] = (0.25, 0.5, 1.0)
    """Shares of the training pictures; each smaller one lies within the larger ones."""
    minutes: float = 10.0
    """Minutes of training for each share, its text encoder aside."""
    seeds: tuple[int, ...] = (0,)
    """Each share is trained once from each; two or more tell chance from a difference."""
    method: str = "limner-gan"
    """A method that has a preset `small-set` and validates."""
    resolution: int = 64
    """Side of the pictures in pixels."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    dry_run: Annotated[bool, FlagCreatePairsOff] = False
    """List the runs, and write nothing."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(CurveArguments, argv, prog="limner curve", description=DESCRIPTION)
    from limner.cli import study as verb
    from limner.data.prepared import open_prepared
    from limner.study.curve import curve_study
    from limner.study.plan import plan

    open_prepared(Path(arguments.data), "val", arguments.resolution)  # which judges, so it must be there
    open_prepared(Path(arguments.data), "train", arguments.resolution)
    asked = curve_study(
        arguments.method,
        arguments.data,
        shares=arguments.shares,
        minutes=arguments.minutes,
        seeds=arguments.seeds,
        resolution=arguments.resolution,
        device=arguments.device,
    )
    given = verb.StudyArguments(out=arguments.out, dry_run=arguments.dry_run)
    if arguments.dry_run:
        return verb.dry_run(asked, given)
    check_folder(arguments.out)
    code = verb.carry_out(asked, given, shlex.join(["limner", "curve", *argv]))
    if code == 0:
        print(write_answer(plan(asked, arguments.out), arguments.out))
    return code


def write_answer(runs: Sequence[Planned], out: Path) -> str:
    """Write the words and the figure; returns the words, and where both are."""
    from limner.core.files import write_whole
    from limner.study.curve import answer, figure, points

    found = points(runs)
    words = answer(found)
    write_whole(out / "answer.md", words + "\n")
    if len(found) < 2:
        return words
    write_whole(out / "curve.svg", figure(found))
    return f"{words}\nanswer  {out / 'answer.md'} and {out / 'curve.svg'}"
