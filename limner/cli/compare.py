"""`limner compare`: trained models side by side on one page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, chosen_device
from limner.cli.outputs import check_folder
from limner.core.errors import SettingsError

if TYPE_CHECKING:
    from limner.report.entries import Contender

DESCRIPTION = """Put trained models side by side: DIR/compare.html, a page that needs nothing but itself, and DIR/compare.png.

The page has the same captions and noises painted by all, their scores, what they cost, learning curves and every protocol. Runs that differ
in their seed alone are one entry, with a 95 % confidence interval. Scores that were taken in unlike ways are never ranked together.

examples:
  limner compare runs/gan-cls runs/stackgan --out comparison
  limner compare runs/* --evaluate --metrics faithfulness,diversity,fid --pictures 2000 --out comparison
  limner compare garden runs/mine --captions "a red flower at night" "a small white flower" --out comparison"""


@dataclass(frozen=True, kw_only=True)
class CompareArguments:
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")]
    """Run folders, model folders or shipped names, at least two."""
    out: Annotated[Path, arg(metavar="DIR")]
    """A folder for compare.html and compare.png."""
    captions: Annotated[tuple[str, ...], arg(metavar="CAPTION")] = ()
    """What to paint, each caption in quotes; by default captions of the test (else val) split of the runs' data."""
    count: Annotated[int, arg(metavar="N")] = 6
    """Captions to draw where none are given."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides drawn captions and noise."""
    data: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The set to draw captions from and, with --evaluate, to score against; by default what all runs were trained on."""
    evaluate: bool = False
    """Score all runs first, under one protocol; without it the scores are those that limner evaluate left."""
    metrics: Annotated[str | None, arg(metavar="LIST")] = None
    """With --evaluate: the metrics, as limner evaluate takes them."""
    pictures: Annotated[int | None, arg(metavar="N")] = None
    """With --evaluate: pictures of each run to score (2000)."""
    split: Annotated[str | None, arg(metavar="LIST")] = None
    """With --evaluate: the splits to score against, as limner evaluate takes them."""
    device: Device = "auto"
    """Where to paint and measure: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(CompareArguments, argv, prog="limner compare", description=DESCRIPTION)
    asked = {"metrics": arguments.metrics, "pictures": arguments.pictures, "split": arguments.split}
    alone = next((name for name, value in asked.items() if value is not None), None)
    if alone and not arguments.evaluate:
        raise SettingsError(f"--{alone} says how to score the runs: give --evaluate with it, or leave it out")
    check_folder(arguments.out)
    from limner.report.compare import write_comparison
    from limner.report.entries import read_entries
    from limner.report.plots import MISSING, charted, plotting

    entries = read_entries(arguments.runs)  # what cannot be compared is refused before anything is scored
    runs = [run for entry in entries for run in entry.runs]
    if arguments.evaluate:
        if shipped := next((run for run in runs if not run.keeps_scores), None):
            raise SettingsError(
                f"--evaluate keeps scores in the folder of each run, and {shipped.path} is shipped and keeps none: leave --evaluate or "
                f"{shipped.path} out, or give a folder that limner.load('{shipped.path}').save(FOLDER) wrote"
            )
        _evaluate(arguments)
    elif unscored := [run for run in runs if not run.scores]:
        print(_how_to_score(unscored, all(run.keeps_scores for run in runs)), file=sys.stderr)
    if charted(entries) and not plotting():
        print(f"limner: {MISSING}", file=sys.stderr)
    page = write_comparison(
        arguments.runs,
        arguments.out,
        captions=arguments.captions or None,
        seed=arguments.seed,
        count=arguments.count,
        data=arguments.data,
        device=chosen_device(arguments.device),
    )
    print(f"{page}\n{page.with_suffix('.png')}")
    return 0


def _how_to_score(unscored: Sequence[Contender], together: bool) -> str:
    """What stderr says of contenders without scores. together: whether --evaluate takes all that are compared."""
    kept = [run for run in unscored if run.keeps_scores]
    if together:
        return "limner: some runs have no scores: limner compare --evaluate takes them first, and the page says how else"
    shipped = ", ".join(str(run.path) for run in unscored if not run.keeps_scores)
    told = [f"{shipped} is shipped and keeps no scores"] if shipped else []
    told += ["some runs have no scores: the page says how to take them"] if kept else []
    return f"limner: {'; '.join(told)}"


def _evaluate(arguments: CompareArguments) -> None:
    """Score every run as `limner evaluate` does, all in the same way."""
    from limner.cli import evaluate

    for number, run in enumerate(arguments.runs, start=1):
        print(f"scoring {run} ({number} of {len(arguments.runs)})", file=sys.stderr, flush=True)
        options = {"--metrics": arguments.metrics, "--count": arguments.pictures, "--split": arguments.split, "--data": arguments.data}
        given = [word for flag, value in options.items() if value is not None for word in (flag, str(value))]
        evaluate.main([str(run), *given, "--device", arguments.device])
