"""`limner import df-gan`: a checkpoint of the authors to a model folder, or to one of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.import_ import ImportArguments, refuse_existing

DESCRIPTION = """Turn a checkpoint of DF-GAN's authors (tobran/DF-GAN, the CVPR code) into Limner's df-gan.

examples:
  limner import df-gan state_epoch_1220.pth --encoder encoders/birds --out models/birds
  limner import df-gan state_epoch_1220.pth --out networks/birds"""


@dataclass(frozen=True, kw_only=True)
class DFGANArguments(ImportArguments):
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """The authors' state_epoch_NNN.pth, which holds all networks."""
    encoder: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The text encoder that the generator was trained with, AttnGAN's for its data set (`limner import damsm`): makes a model that paints
    captions. Without it the networks alone are kept."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(DFGANArguments, argv, prog="limner import df-gan", description=DESCRIPTION)
    refuse_existing(arguments.out)
    from limner.interop.df_gan import import_df_gan
    from limner.training.text import named_encoder

    encoder = named_encoder(arguments.encoder) if arguments.encoder else None
    import_df_gan(arguments.file, arguments.out, encoder, within=arguments.within)
    if encoder is None:
        print(f"{arguments.out}: the networks, without a text encoder; a model that paints captions needs --encoder")
    else:
        print(f'{arguments.out}: a model; use it: limner generate {arguments.out} "..." --out pictures')
    return 0
