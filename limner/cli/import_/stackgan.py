"""`limner import stackgan`: files of the authors' PyTorch program to a model folder, or to one of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.import_ import ImportArguments, refuse_existing

DESCRIPTION = """Turn networks of the authors' PyTorch program (hanzhanggit/StackGAN-Pytorch) into Limner's stackgan.

examples:
  limner import stackgan netG_epoch_90.pth --encoder encoders/coco --out models/coco
  limner import stackgan stage1/netD_epoch_last.pth stage2/netG_epoch_90.pth stage2/netD_epoch_last.pth --out networks/coco"""


@dataclass(frozen=True, kw_only=True)
class StackGANArguments(ImportArguments):
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...")]
    """Generators and discriminators of Stage-I, Stage-II or both, in any order; a Stage-II generator has its Stage-I within."""
    encoder: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The text encoder that the generator was trained with: makes a model that paints captions. Without it the networks alone are kept."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(StackGANArguments, argv, prog="limner import stackgan", description=DESCRIPTION)
    refuse_existing(arguments.out)
    from limner.interop.stackgan import import_stackgan
    from limner.training.text import named_encoder

    encoder = named_encoder(arguments.encoder) if arguments.encoder else None
    import_stackgan(arguments.files, arguments.out, encoder, within=arguments.within)
    if encoder is None:
        print(f"{arguments.out}: the networks, without a text encoder; a model that paints captions needs --encoder")
    else:
        print(f'{arguments.out}: a model; use it: limner generate {arguments.out} "..." --out pictures')
    return 0
