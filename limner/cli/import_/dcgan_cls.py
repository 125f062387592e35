"""`limner import dcgan-cls`: files of the port to a model folder, or to one of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.import_ import ImportArguments, refuse_existing

DESCRIPTION = """Turn networks of the PyTorch port (aelnouby/Text-to-Image-Synthesis) into Limner's dcgan-cls.

examples:
  limner import dcgan-cls gen_200.pth --encoder encoders/flowers --out models/flowers
  limner import dcgan-cls gen_200.pth disc_200.pth --out networks/flowers"""


@dataclass(frozen=True, kw_only=True)
class DCGANCLSArguments(ImportArguments):
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...")]
    """The port's gen_N.pth, disc_N.pth or both."""
    encoder: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The text encoder that the generator was trained with: makes a model that paints captions. Without it the networks alone are kept."""
    objective: Literal["cross-entropy", "wasserstein"] = "cross-entropy"
    """Which of the port's types trained them: gan_cls or wgan_cls."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(DCGANCLSArguments, argv, prog="limner import dcgan-cls", description=DESCRIPTION)
    refuse_existing(arguments.out)
    from limner.interop.dcgan_cls import import_dcgan_cls
    from limner.training.text import named_encoder

    encoder = named_encoder(arguments.encoder) if arguments.encoder else None
    import_dcgan_cls(arguments.files, arguments.out, encoder, arguments.objective, within=arguments.within)
    if encoder is None:
        print(f"{arguments.out}: the networks, without a text encoder; a model that paints captions needs --encoder")
    else:
        print(f'{arguments.out}: a model; use it: limner generate {arguments.out} "..." --out pictures')
    return 0
