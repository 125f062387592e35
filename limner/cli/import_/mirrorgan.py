"""`limner import mirrorgan`: files of MirrorGAN's authors to a model folder, or to one of networks."""

from __future__ import annotations

from collections.abc import Sequence

from limner.cli.arguments import parse
from limner.cli.import_.attngan import AttnGANArguments, run

DESCRIPTION = """Turn networks of MirrorGAN's authors (qiaott/MirrorGAN) into Limner's mirrorgan.
With their text encoder and the captions.pickle that its words are numbered by, this makes a model that paints captions; it cannot read
pictures back, for which theirs needs a ResNet-152 (cnn_encoder.ckpt, rnn_decoder.ckpt).

examples:
  limner import mirrorgan netG.pth --text text_encoder.pth --words bird_captions.pickle --out models/birds
  limner import mirrorgan netG.pth netD0.pth netD1.pth netD2.pth --out networks/birds"""


def main(argv: Sequence[str]) -> int:
    from limner.interop.mirrorgan import import_mirrorgan

    return run(parse(AttnGANArguments, argv, prog="limner import mirrorgan", description=DESCRIPTION), import_mirrorgan)
