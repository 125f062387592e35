"""`limner explore interpolate`: walks between captions, between noises and between pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, open_model, set_editing
from limner.cli.outputs import check_file
from limner.cli.progress import progress_bar
from limner.core.errors import SettingsError

DESCRIPTION = """Walk between two captions at fixed noise, between two noises at a fixed caption, or between two pictures, for a model that
finds the codes of pictures, such as ci-gan.

examples:
  limner explore interpolate garden --captions "a red flower with round petals" "a blue flower with pointed petals" --out walk.png
  limner explore interpolate garden --caption "a white flower" --seeds 1 2 --steps 16 --out walk.gif
  limner explore interpolate runs/without-text --seeds 1 2 --out walk.gif
  limner explore interpolate runs/cigan --pictures one.png other.png --out walk.gif"""


@dataclass(frozen=True, kw_only=True)
class InterpolateArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    captions: Annotated[tuple[str, str] | None, arg(metavar="A B")] = None
    """Walk from one caption to the other, at the noise of --seed."""
    caption: Annotated[str | None, arg(metavar="A")] = None
    """Walk between the noises of two --seeds at this caption; left out for a model that reads no text."""
    pictures: Annotated[tuple[Path, Path] | None, arg(metavar="FILE FILE")] = None
    """Walk from one picture to the other, by the codes that the model finds for them; any size, the centre square is used."""
    invert_steps: Annotated[int | None, arg(metavar="N")] = None
    """With --pictures: steps that move the two codes until their pictures are nearer to the given ones."""
    seeds: Annotated[tuple[int, int] | None, arg(metavar="S S")] = None
    """The two noises, with --caption; by default 0 and 1."""
    seed: Annotated[int | None, arg(metavar="S")] = None
    """The noise, with --captions or --pictures; by default 0."""
    steps: Annotated[int, arg(metavar="N")] = 8
    """Pictures on the way, the two ends included."""
    out: Annotated[Path, arg(metavar="FILE.png|FILE.gif")]
    """A strip (.png) or an animation there and back (.gif)."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(InterpolateArguments, argv, prog="limner explore interpolate", description=DESCRIPTION)
    from limner.explore.interpolate import between_captions, between_noises, check_format, save_walk

    one_of_them = SettingsError(
        'give --captions "A" "B" (two captions, one noise), --caption "A" --seeds 1 2 (one caption, two noises) or --pictures A.png B.png'
    )
    if sum(given is not None for given in (arguments.captions, arguments.caption, arguments.pictures)) > 1:
        raise one_of_them
    if arguments.invert_steps is not None and arguments.pictures is None:
        raise SettingsError("--invert-steps is for given pictures: add --pictures A.png B.png")
    between_ends = arguments.captions is not None or arguments.pictures is not None
    if between_ends and arguments.seeds is not None:
        raise SettingsError("--seeds are the ends of a walk between two noises, and all of this one has the same noise: give --seed")
    if not between_ends and arguments.seed is not None:
        raise SettingsError("--seed is the noise of a walk between captions or pictures, and this one goes between noises: give --seeds")
    seed = arguments.seed or 0
    check_format(arguments.out)
    check_file(arguments.out)
    model = open_model(arguments.model, arguments.device)
    if arguments.pictures is not None:
        from limner.explore.invert import between_pictures, inverting
        from limner.explore.restyle import read_picture

        inverting(model)
        set_editing(model, {"invert_steps": arguments.invert_steps})
        given = np.array([read_picture(path, model.resolution) for path in arguments.pictures])
        with progress_bar() as bar:
            pictures = between_pictures(model, given, steps=arguments.steps, seed=seed, progress=bar)
    elif arguments.captions is None and arguments.caption is None and model.reads_text:
        raise one_of_them
    elif arguments.captions is not None:
        pictures = between_captions(model, *arguments.captions, steps=arguments.steps, seed=seed)
    else:
        pictures = between_noises(model, arguments.caption or "", arguments.seeds or (0, 1), steps=arguments.steps)
    save_walk(pictures, arguments.out)
    print(arguments.out)
    return 0
