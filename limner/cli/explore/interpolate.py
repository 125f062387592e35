"""`limner explore interpolate`: walks between captions and between noises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, open_model
from limner.cli.outputs import check_file
from limner.core.errors import SettingsError

DESCRIPTION = """Walk between two captions at fixed noise, or between two noises at a fixed caption.

examples:
  limner explore interpolate garden --captions "a red flower with round petals" "a blue flower with pointed petals" --out walk.png
  limner explore interpolate garden --caption "a white flower" --seeds 1 2 --steps 16 --out walk.gif
  limner explore interpolate runs/without-text --seeds 1 2 --out walk.gif"""


@dataclass(frozen=True, kw_only=True)
class InterpolateArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    captions: Annotated[tuple[str, str] | None, arg(metavar="A B")] = None
    """Walk from one caption to the other, at the noise of --seed."""
    caption: Annotated[str | None, arg(metavar="A")] = None
    """Walk between the noises of two --seeds at this caption; left out for a model that reads no text."""
    seeds: Annotated[tuple[int, int], arg(metavar="S S")] = (0, 1)
    """The two noises, with --caption."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The noise, with --captions."""
    steps: Annotated[int, arg(metavar="N")] = 8
    """Pictures on the way, the two ends included."""
    out: Annotated[Path, arg(metavar="FILE.png|FILE.gif")]
    """A strip (.png) or an animation there and back (.gif)."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(InterpolateArguments, argv, prog="limner explore interpolate", description=DESCRIPTION)
    from limner.explore.interpolate import between_captions, between_noises, check_format, save_walk

    one_of_two = SettingsError('give --captions "A" "B" (two captions, one noise) or --caption "A" --seeds 1 2 (one caption, two noises)')
    if arguments.captions is not None and arguments.caption is not None:
        raise one_of_two
    check_format(arguments.out)
    check_file(arguments.out)
    model = open_model(arguments.model, arguments.device)
    if arguments.captions is None and arguments.caption is None and model.reads_text:
        raise one_of_two
    if arguments.captions is not None:
        pictures = between_captions(model, *arguments.captions, steps=arguments.steps, seed=arguments.seed)
    else:
        pictures = between_noises(model, arguments.caption or "", arguments.seeds, steps=arguments.steps)
    save_walk(pictures, arguments.out)
    print(arguments.out)
    return 0
