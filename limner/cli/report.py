"""`limner report`: a run's page, written anew from what the run folder holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, open_model
from limner.cli.outputs import check_file
from limner.cli.progress import progress_bar
from limner.core.errors import LimnerError, SettingsError

if TYPE_CHECKING:
    from limner.model import Model

DESCRIPTION = """Write a run's report.html anew: pictures, curves, health, scores, settings, and two strips that training does not make.

The worst strip shows the captions whose pictures a judge likes least; the nearest one shows pictures and their nearest training pictures.

examples:
  limner report runs/mine
  limner report runs/mine --worst 16 --nearest 0
  limner report runs/flowers --judge runs/words"""

WORST, NEAREST = 8, 4
"""Pictures in the strips where nobody says how many."""


@dataclass(frozen=True, kw_only=True)
class ReportArguments:
    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run folder."""
    worst: Annotated[int | None, arg(metavar="N")] = None
    """Captions in the worst strip (8, where there is a judge); 0 for no strip."""
    nearest: Annotated[int | None, arg(metavar="N")] = None
    """Captions in the nearest strip (4, where the training pictures are here); 0 for no strip."""
    sample: Annotated[int, arg(metavar="N")] = 200
    """Captions that are painted to find the worst, and pictures that distances are taken over."""
    judge: Annotated[str | None, arg(metavar="SPEC")] = None
    """Who says what is worst, as limner explore worst takes it; on the garden its own judge."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides captions and noise."""
    device: Device = "auto"
    """Where to paint and look: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(ReportArguments, argv, prog="limner report", description=DESCRIPTION)
    for name, value in (("worst", arguments.worst), ("nearest", arguments.nearest)):
        if value is not None and value < 0:
            raise SettingsError(f"--{name} is {value}: give 0 for no strip, or how many captions it shows")
    from limner.model.requests import check_count
    from limner.report.page import write_report

    check_count("--sample", arguments.sample)
    run = arguments.run
    if run.is_dir():
        check_file(run / "report.html", "the page")
    write_report(run)  # which refuses what is not a run, and is there even if a strip cannot be made
    for asked, make in ((arguments.worst, _worst), (arguments.nearest, _nearest)):
        if asked == 0:
            continue
        try:
            make(arguments, _painter(run, arguments.device))
        except LimnerError as error:
            if asked is not None:
                raise
            print(f"limner: no {make.__name__.strip('_')} strip: {error}", file=sys.stderr)
    print(write_report(run))
    return 0


def _painter(run: Path, device: Device) -> Model:
    """The run's model. Raises LimnerError where it paints no captions."""
    model = open_model(str(run), device)
    if not model.reads_text:
        raise SettingsError(f"{run} reads no text: there are no captions to look at")
    return model


def _worst(arguments: ReportArguments, model: Model) -> None:
    from limner.cli.explore.splits import ReferenceData
    from limner.cli.explore.worst import check_judge, judge
    from limner.explore.worst import page, worst
    from limner.report.strips import keep_strip

    source = ReferenceData(str(arguments.run), model, None)
    check_judge(arguments.judge, source.data)
    pictures = source.held_out()
    score, remark = judge(arguments.judge, model, pictures, arguments.seed)
    count = arguments.worst or WORST
    with progress_bar() as progress:
        found = worst(
            model,
            pictures,
            score,
            remark=remark,
            count=count,
            captions=max(arguments.sample, count),
            seed=arguments.seed,
            progress=progress,
        )
    shown = "; ".join(", ".join([case.caption, *case.remarks]) for case in found.cases)
    keep_strip(arguments.run, "worst", page(found), f"{found.figures()} {shown}.", model.about.get("steps", 0))


def _nearest(arguments: ReportArguments, model: Model) -> None:
    from limner.cli.explore.nearest import default_space, described
    from limner.cli.explore.splits import ReferenceData
    from limner.core.errors import DataError
    from limner.explore.captions import distinct_captions, paintable
    from limner.explore.nearest import feature_space, remembered_or_made, strip
    from limner.report.strips import keep_strip

    source, count = ReferenceData(str(arguments.run), model, None), arguments.nearest or NEAREST
    space = default_space(str(arguments.run), source.data)
    split = "train+val" if source.settings.trainval else "train"
    searched = source.split(split)
    try:
        held_out = source.held_out(besides="val" if split == "train+val" else split)
    except DataError:
        held_out = None
    with progress_bar() as progress:
        findings = remembered_or_made(
            model,
            searched,
            held_out,
            feature_space(space, arguments.run, model.device),
            paintable(model, distinct_captions(held_out or searched, 8 * count, arguments.seed))[:count],
            sample=arguments.sample,
            seed=arguments.seed,
            mirror=source.settings.flip,
            progress=progress,
        )
    words = [*findings.figures(), *(f"{caption}: {findings.note(row)}." for row, caption in enumerate(findings.captions))]
    picture = strip(findings, described(space))
    keep_strip(arguments.run, "nearest", picture, " ".join(words), model.about.get("steps", 0))
