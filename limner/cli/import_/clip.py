"""`limner import clip`: a file of OpenAI's or open_clip's to the folder of a matching model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.import_ import ImportArguments, refuse_existing

DESCRIPTION = """Turn CLIP weights of OpenAI or open_clip into a matching model.

examples:
  limner import clip ViT-B-32.pt --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/clip
  limner import clip open_clip_model.safetensors --activation gelu --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/laion
  limner explore classify models/clip picture.jpg --labels cat dog"""


@dataclass(frozen=True, kw_only=True)
class ClipArguments(ImportArguments):
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """OpenAI's archive (ViT-B-32.pt), or open_clip's .pt, .bin or .safetensors."""
    vocabulary: Annotated[
        str | None, arg(metavar="FILE|none", constructor=str, help_behavior_hint="(default: the one in the folder of FILE)")
    ] = None
    """bpe_simple_vocab_16e6.txt.gz of github.com/openai/CLIP; `none`: the model reads no captions."""
    activation: Literal["quick-gelu", "gelu"] | None = None
    """The nonlinearity that the weights were trained with; known for OpenAI's archives, to be told for others."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(ClipArguments, argv, prog="limner import clip", description=DESCRIPTION)
    refuse_existing(arguments.out)
    from limner.interop.clip import described, import_clip

    model = import_clip(arguments.file, arguments.out, arguments.vocabulary, arguments.activation, within=arguments.within)
    print(f"{arguments.out}: {described(model)}")
    print(f"use it: limner explore classify {arguments.out} PICTURE --labels cat dog")
    return 0
