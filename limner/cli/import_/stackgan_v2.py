"""`limner import stackgan-v2`: the authors' files to a model folder, or to one of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.import_ import ImportArguments, refuse_existing

DESCRIPTION = """Turn networks of the authors' StackGAN++ (hanzhanggit/StackGAN-v2) into Limner's stackgan-v2.

examples:
  limner import stackgan-v2 netG_210000.pth --encoder encoders/birds --out models/birds
  limner import stackgan-v2 netG_210000.pth netD0.pth netD1.pth netD2.pth --out networks/birds
  limner import stackgan-v2 dogs/netG_110000.pth --out models/dogs"""


@dataclass(frozen=True, kw_only=True)
class StackGANv2Arguments(ImportArguments):
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...")]
    """The authors' netG_N.pth, some or all of netD0.pth, netD1.pth, netD2.pth, or both."""
    encoder: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The text encoder that the generator was trained with: makes a model that paints captions. Without it the networks alone are kept,
    unless the generator was trained without captions."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(StackGANv2Arguments, argv, prog="limner import stackgan-v2", description=DESCRIPTION)
    refuse_existing(arguments.out)
    from limner.interop.stackgan_v2 import import_stackgan_v2
    from limner.training.text import named_encoder

    encoder = named_encoder(arguments.encoder) if arguments.encoder else None
    import_stackgan_v2(arguments.files, arguments.out, encoder, within=arguments.within)
    if not (arguments.out / "model.safetensors").exists():
        print(f"{arguments.out}: the networks, without a text encoder; a model that paints captions needs --encoder")
    elif encoder is None:
        print(f"{arguments.out}: a model that reads no text; use it: limner generate {arguments.out} --out pictures")
    else:
        print(f'{arguments.out}: a model; use it: limner generate {arguments.out} "..." --out pictures')
    return 0
