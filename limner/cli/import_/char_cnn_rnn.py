"""`limner import char-cnn-rnn`: a file of the port to a text encoder folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.import_ import ImportArguments, refuse_existing

DESCRIPTION = """Turn a char-CNN-RNN of the PyTorch port (martinduartemore/char_cnn_rnn_pytorch) into a text encoder.

examples:
  limner import char-cnn-rnn flowers.pth --out encoders/flowers
  limner train gan-cls --data prepared/flowers --text.encoder encoders/flowers --out runs/flowers"""


@dataclass(frozen=True, kw_only=True)
class CharCnnRnnArguments(ImportArguments):
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """The port's .pth file: a state dict."""
    unknown: Literal["space", "nothing"] = "space"
    """How a character outside the alphabet is read: as a space (the port), or as nothing at all (the authors' ICML demo)."""
    case: Literal["lower", "kept"] = "lower"
    """Whether captions are put in lower case first (the port), or capitals are characters outside the alphabet (the authors' ICML demo)."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(CharCnnRnnArguments, argv, prog="limner import char-cnn-rnn", description=DESCRIPTION)
    refuse_existing(arguments.out)
    from limner.interop.char_cnn_rnn import card, described, read_char_cnn_rnn
    from limner.text.char_cnn_rnn import ALPHABET, LENGTH
    from limner.text.saving import save_encoder
    from limner.text.tokenizers import CharacterTokenizer

    unknown = " " if arguments.unknown == "space" else None
    tokenizer = CharacterTokenizer(ALPHABET, LENGTH, unknown=unknown, lower_case=arguments.case == "lower")
    encoder = read_char_cnn_rnn(arguments.file, tokenizer, within=arguments.within)
    save_encoder(encoder, arguments.out, card(encoder, arguments.file))
    print(f"{arguments.out}: {described(encoder.settings, LENGTH)}")
    print(f"use it: limner train METHOD --data DIR --text.encoder {arguments.out} --out RUN")
    return 0
