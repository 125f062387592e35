"""`limner import hdgan`: the authors' files to a model folder, or to one of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.import_ import ImportArguments, refuse_existing

DESCRIPTION = """Turn networks of the authors' HDGAN (ypxie/HDGan) into Limner's hdgan.

examples:
  limner import hdgan G_epoch500.pth --encoder encoders/birds --out models/birds
  limner import hdgan G_epoch500.pth D_epoch500.pth --out networks/birds"""


@dataclass(frozen=True, kw_only=True)
class HDGANArguments(ImportArguments):
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...")]
    """The authors' G_epochN.pth, D_epochN.pth or both."""
    encoder: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The text encoder that the generator was trained with: makes a model that paints captions. Without it the networks alone are kept."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(HDGANArguments, argv, prog="limner import hdgan", description=DESCRIPTION)
    refuse_existing(arguments.out)
    from limner.interop.hdgan import import_hdgan
    from limner.training.text import named_encoder

    encoder = named_encoder(arguments.encoder) if arguments.encoder else None
    import_hdgan(arguments.files, arguments.out, encoder, within=arguments.within)
    if encoder is None:
        print(f"{arguments.out}: the networks, without a text encoder; a model that paints captions needs --encoder")
    else:
        print(f'{arguments.out}: a model; use it: limner generate {arguments.out} "..." --out pictures')
    return 0
