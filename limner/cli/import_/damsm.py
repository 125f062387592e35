"""`limner import damsm`: files of AttnGAN's authors to a text encoder folder, or to that of a matching model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.import_ import ImportArguments, refuse_existing

DESCRIPTION = """Turn AttnGAN's encoders (taoxugit/AttnGAN) into a text encoder or, both together, into a matching model.
The words are part of the weights: give the captions.pickle that belongs to them, or its words one a line, in the order of their ids from 1.

examples:
  limner import damsm text_encoder200.pth --words captions.pickle --out encoders/birds
  limner import damsm text_encoder200.pth image_encoder200.pth --words captions.pickle --out models/birds-damsm"""


@dataclass(frozen=True, kw_only=True)
class DAMSMArguments(ImportArguments):
    text: Annotated[Positional[Path], arg(metavar="TEXT_ENCODER")]
    """The authors' text_encoderN.pth: a state dict."""
    image: Annotated[Positional[Path | None], arg(metavar="IMAGE_ENCODER")] = None
    """Their image_encoderN.pth: makes a matching model. Without it the text encoder alone is kept."""
    words: Annotated[Path, arg(metavar="FILE")]
    """The vocabulary that they were trained with: its captions.pickle, or a text of one word a line, that of id 1 first."""
    maximum_words: Annotated[int, arg(metavar="N")] = 18
    """Words of a caption that are read."""
    resize: Literal["corners", "half-pixel"] = "corners"
    """How pictures are brought to 299 px: as PyTorch did when the weights were made, or as it does today."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(DAMSMArguments, argv, prog="limner import damsm", description=DESCRIPTION)
    refuse_existing(arguments.out)
    from limner.interop import damsm as files
    from limner.matching.saving import save_matching
    from limner.text.saving import save_encoder

    words = files.read_words(arguments.words)
    if arguments.image is None:
        encoder = files.read_text_encoder(arguments.text, words, arguments.maximum_words, within=arguments.within)
        save_encoder(encoder, arguments.out, files.text_card(encoder, arguments.text))
        print(f"{arguments.out}: a text encoder of {len(words):,} words, {encoder.sentence_width} numbers a sentence")
    else:
        corners = arguments.resize == "corners"
        model = files.read_damsm(
            arguments.text, arguments.image, words, arguments.maximum_words, align_corners=corners, within=arguments.within
        )
        card = files.model_card(model, arguments.text, arguments.image)
        save_matching(arguments.out, "damsm", model, files.about(arguments.text, arguments.image), card)
        print(f"{arguments.out}: a matching model of {len(words):,} words; score it: limner evaluate {arguments.out} --data DIR")
    print(f"use it: limner train METHOD --data DIR --text.encoder {arguments.out} --out RUN")
    return 0
