"""`limner explore stages`: one picture at every scale, or over the course of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.explore.splits import check_png
from limner.cli.models import Device, open_model
from limner.cli.outputs import check_file
from limner.core.errors import SettingsError
from limner.core.files import save_whole

DESCRIPTION = """Show one picture at every scale at which a method paints it, from the roughest to the final one: a row for each picture.

With --over-training, show how one picture changed as a run trained: it is cut out of every sample grid that the run wrote (samples/), as a
strip (.png) or as an animation (.gif). The caption is then one of the grids', by default the first.

examples:
  limner explore stages runs/msg "a large red flower at night" -n 4 --out stages.png
  limner explore stages runs/stackgan "a red bird" "a blue bird" --out stages.png
  limner explore stages runs/without-text -n 4 --out stages.png
  limner explore stages runs/msg --over-training --out training.gif"""


@dataclass(frozen=True, kw_only=True)
class StagesArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder or model folder of a method that paints in stages, such as msg-gan, stackgan, stackgan-v2, hdgan or attngan; with
    --over-training the folder of any run."""
    captions: Annotated[Positional[tuple[str, ...]], arg(metavar="CAPTION")] = ()
    """What to paint, each caption in quotes; none for a model that reads no text."""
    count: Annotated[int, arg(name="count", aliases=("-n",), metavar="N")] = 1
    """Pictures of each caption."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The noise: the final pictures are those of `limner generate` with this seed."""
    over_training: bool = False
    """Show one picture of a run's sample grids over its training, in place of the stages of new ones."""
    number: Annotated[int, arg(metavar="N")] = 1
    """Which of the caption's pictures in the sample grids, from 1; with --over-training."""
    out: Annotated[Path, arg(metavar="FILE.png|FILE.gif")]
    """The page; with --over-training a strip (.png) or an animation (.gif)."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(StagesArguments, argv, prog="limner explore stages", description=DESCRIPTION)
    return _over_training(arguments) if arguments.over_training else _stages(arguments)


def _stages(arguments: StagesArguments) -> int:
    from limner.explore.stages import stages, stages_page

    if arguments.number != 1:
        raise SettingsError("--number chooses a picture of the sample grids: add --over-training, or give --seed or -n")
    check_png(arguments.out)
    model = open_model(arguments.model, arguments.device)
    if not arguments.captions and model.reads_text:
        raise SettingsError('there is nothing to paint: give a "CAPTION" in quotes')
    captions = arguments.captions or ("",)
    courses = stages(model, captions, count=arguments.count, seed=arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(stages_page(courses, [caption for caption in captions for _ in range(arguments.count)]), arguments.out)
    print(arguments.out)
    return 0


def _over_training(arguments: StagesArguments) -> int:
    from limner.explore.interpolate import check_format
    from limner.explore.stages import over_training, save_course, save_courses
    from limner.model.requests import check_count
    from limner.training.samples import PICTURES

    check_count("-n", arguments.count)
    if arguments.seed:
        raise SettingsError("--over-training shows what the sample grids hold: choose with --number and -n, and leave --seed out")
    check_format(arguments.out)
    check_file(arguments.out)
    several = len(arguments.captions) > 1 or arguments.count > 1
    if several and arguments.out.suffix.lower() != ".gif":
        raise SettingsError("--over-training shows several pictures as an animation: end --out in .gif, or give one caption and no -n")
    last = arguments.number + arguments.count - 1
    if arguments.count > 1 and 1 <= arguments.number <= PICTURES < last:
        raise SettingsError(
            f"--number {arguments.number} and -n {arguments.count} ask for pictures {arguments.number} to {last}, but each caption of the "
            f"sample grids has {PICTURES}: lower one of the two"
        )
    run, numbers = Path(arguments.model), range(arguments.number - 1, arguments.number - 1 + arguments.count)
    captions: Sequence[str | None] = arguments.captions or (None,)
    courses = [[over_training(run, caption, number=number) for number in numbers] for caption in captions]
    if several:
        save_courses(courses, arguments.out)
    else:
        save_course(courses[0][0], arguments.out)
    print(arguments.out)
    return 0
