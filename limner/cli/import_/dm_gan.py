"""`limner import dm-gan`: files of DM-GAN's authors to a model folder, or to one of networks."""

from __future__ import annotations

from collections.abc import Sequence

from limner.cli.arguments import parse
from limner.cli.import_.attngan import AttnGANArguments, run

DESCRIPTION = """Turn networks of DM-GAN's authors (MinfengZhu/DM-GAN) into Limner's dm-gan.
With their text encoder and the captions.pickle that its words are numbered by, this makes a model that paints captions.

examples:
  limner import dm-gan bird_DMGAN.pth --text text_encoder200.pth --words captions.pickle --out models/birds
  limner import dm-gan netG_epoch_800.pth netD0.pth netD1.pth netD2.pth --out networks/birds"""


def main(argv: Sequence[str]) -> int:
    from limner.interop.dm_gan import import_dm_gan

    return run(parse(AttnGANArguments, argv, prog="limner import dm-gan", description=DESCRIPTION), import_dm_gan)
