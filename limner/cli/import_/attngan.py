"""`limner import attngan`: files of AttnGAN's authors to a model folder, or to one of networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.import_ import ImportArguments, refuse_existing
from limner.core.errors import SettingsError

DESCRIPTION = """Turn networks of AttnGAN's authors (taoxugit/AttnGAN) into Limner's attngan.
With their text encoder and the captions.pickle that its words are numbered by, this makes a model that paints captions.

examples:
  limner import attngan bird_AttnGAN2.pth --text text_encoder200.pth --words captions.pickle --out models/birds
  limner import attngan netG_epoch_600.pth netD0.pth netD1.pth netD2.pth --out networks/birds"""


@dataclass(frozen=True, kw_only=True)
class AttnGANArguments(ImportArguments):
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...")]
    """The authors' generator, and any of its discriminators: netG_epoch_N.pth, netD0.pth, netD1.pth, netD2.pth."""
    text: Annotated[Path | None, arg(metavar="FILE")] = None
    """The text_encoderN.pth that the generator was trained with: makes a model. Without it the networks alone are kept."""
    words: Annotated[Path | None, arg(metavar="FILE")] = None
    """The vocabulary of that text encoder: its captions.pickle, or a text of one word a line, that of id 1 first."""
    maximum_words: Annotated[int, arg(metavar="N")] = 25
    """Words of a caption that are read: as published 25 for birds and 20 for COCO when painting."""
    mixed_padding: bool = False
    """Hide padding from the attention as the authors' code does, which mixes the captions of a batch: pictures then depend on it."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(AttnGANArguments, argv, prog="limner import attngan", description=DESCRIPTION)
    from limner.interop.attngan import import_attngan

    return run(arguments, import_attngan)


def run(arguments: AttnGANArguments, import_networks: Callable[..., None]) -> int:
    """Import what the arguments name, and say what to do with it. import_networks: as `import_attngan`, which has heirs."""
    refuse_existing(arguments.out)
    if (arguments.text is None) != (arguments.words is None):
        raise SettingsError("a text encoder and its vocabulary belong together: give --text and --words, or neither")
    from limner.interop.damsm import read_text_encoder, read_words

    encoder = None
    if arguments.text is not None and arguments.words is not None:
        encoder = read_text_encoder(arguments.text, read_words(arguments.words), arguments.maximum_words, within=arguments.within)
    import_networks(arguments.files, arguments.out, encoder, mixed_padding=arguments.mixed_padding, within=arguments.within)
    if encoder is None:
        print(f"{arguments.out}: the networks, without a text encoder; a model that paints captions needs --text and --words")
    else:
        print(f'{arguments.out}: a model; use it: limner generate {arguments.out} "..." --out pictures')
    return 0
