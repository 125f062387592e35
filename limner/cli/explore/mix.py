"""`limner explore mix`: coarse styles of some pictures with the fine ones of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.explore.splits import check_png
from limner.cli.models import Device, open_model
from limner.cli.sampling import SamplingArguments, set_sampling
from limner.core.files import save_whole

DESCRIPTION = """Mix the styles of pictures, for models that paint from styles, such as stylegan2. In a grid each picture has the coarse
styles, and the noise, of the picture to its left, and the fine styles of the picture above it.

A model has several places for styles, from coarse to fine; --at says which is the first fine one. A low number leaves only what shapes the
whole to the rows; a high one leaves only colours to the columns.

examples:
  limner explore mix runs/stylegan2 --out mix.png
  limner explore mix runs/stylegan2 --at 2 --rows 3 --columns 8 --seed 7 --out mix.png
  limner explore mix runs/stylegan2 --truncation 0.7 --out typical.png"""


@dataclass(frozen=True, kw_only=True)
class MixArguments(SamplingArguments):
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder or model folder of a method that paints from styles."""
    caption: Annotated[str, arg(metavar="CAPTION")] = ""
    """What to paint, in quotes; none for a model that reads no text."""
    at: Annotated[int | None, arg(metavar="LAYER")] = None
    """The first place with fine styles, counted from 0; by default two fifths of all."""
    rows: Annotated[int, arg(metavar="N")] = 4
    """Pictures that give coarse styles."""
    columns: Annotated[int, arg(metavar="N")] = 5
    """Pictures that give fine styles."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides the pictures that are mixed: the first ones of `limner generate` with this seed."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The grid."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(MixArguments, argv, prog="limner explore mix", description=DESCRIPTION)
    from limner.explore.mix import mix, mix_page
    from limner.explore.styles import styled

    check_png(arguments.out)
    model = open_model(arguments.model, arguments.device)
    styled(model)
    set_sampling(model, arguments)
    found = mix(model, caption=arguments.caption, rows=arguments.rows, columns=arguments.columns, at=arguments.at, seed=arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(mix_page(found), arguments.out)
    print(arguments.out)
    return 0
