"""`limner import controlgan`: files of ControlGAN's authors to a model folder, or to one of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from limner.cli.arguments import parse
from limner.cli.import_.attngan import AttnGANArguments, run

DESCRIPTION = """Turn networks of ControlGAN's authors (mrlibw/ControlGAN) into Limner's controlgan.
With their text encoder and the captions.pickle that its words are numbered by, this makes a model that paints captions.

examples:
  limner import controlgan netG_epoch_600.pth --text text_encoder200.pth --words captions.pickle --out models/birds
  limner import controlgan netG_epoch_600.pth netD0.pth netD1.pth netD2.pth --out networks/birds"""


@dataclass(frozen=True, kw_only=True)
class ControlGANArguments(AttnGANArguments):
    mixed_padding: bool = False
    """Treat padding as the authors' code does, which mixes the captions of a batch and shows it to channels: pictures depend on it."""


def main(argv: Sequence[str]) -> int:
    from limner.interop.controlgan import import_controlgan

    return run(parse(ControlGANArguments, argv, prog="limner import controlgan", description=DESCRIPTION), import_controlgan)
