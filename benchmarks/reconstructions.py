"""What a dVAE keeps of pictures: held-out ones, and what it makes of their codes.

    python benchmarks/reconstructions.py runs/dalle --data garden --count 1000 --out docs/images/dall-e-reconstructions.png

Prints the mean square difference of pixels in [-1, 1] and how many of the codes occur; on the garden also the share of attributes that its
judge reads in the reconstruction as in the picture. The page shows pictures above their reconstructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from tyro.conf import Positional

import limner
from limner.core import random
from limner.core.errors import LimnerError
from limner.data.catalog import open_data
from limner.data.sheet import caption_grid
from limner.features.garden_judge import load_judge
from limner.features.network import to_bytes, to_float
from limner.metrics.faithfulness import NAMES, read_codes
from limner.metrics.scoring.survey import stored

CHUNK, SHOWN = 64, 8


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")]
    """The run folder or model folder of a model with a dVAE, such as dall-e."""
    data: str = "garden"
    """'garden', or the folder of a prepared data set."""
    split: str = "test"
    """Which of its splits."""
    count: int = 1000
    """How many pictures, at most."""
    out: Path = Path("reconstructions.png")
    """The page."""


@torch.inference_mode()
def main(arguments: Arguments) -> None:
    try:
        model = limner.load(arguments.model)
        pictures = open_data(arguments.data, arguments.split, model.resolution)
    except LimnerError as error:
        raise SystemExit(str(error)) from None
    dvae = getattr(model.method, "dvae", None)
    if dvae is None:
        raise SystemExit(f"{arguments.model} has no dVAE: give a run or model of dall-e")
    judge = load_judge() if pictures.name == "garden" else None
    shown: list[list[NDArray[np.uint8]]] = []
    squares, used, agreements = [], set(), []
    drawn = random.permutation(len(pictures), 0, "reconstructions")[: arguments.count]
    for start in range(0, len(drawn), CHUNK):
        real = stored(pictures, np.sort(drawn[start : start + CHUNK]))  # [B, 3, R, R] uint8
        codes = dvae.encode(to_float(real))
        made = dvae.pictures(dvae.decode(codes))
        squares.append((made - to_float(real)).square().mean((1, 2, 3)))
        used |= set(codes.unique().tolist())
        if judge is not None:
            agreements.append(read_codes(judge.read(real)) == read_codes(judge.read(to_bytes(made))))
        if not shown:
            shown = [[*images[:SHOWN].permute(0, 2, 3, 1).numpy()] for images in (real, to_bytes(made))]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    caption_grid(shown, ["pictures", "reconstructions"]).save(arguments.out)
    print(f"{len(drawn):,} pictures of {pictures.name}/{pictures.split}: mean square difference {float(torch.cat(squares).mean()):.4f}")
    print(f"{len(used):,} of {dvae.codes:,} codes occur")
    if agreements:
        shares = np.concatenate(agreements).mean(0)
        print(f"attributes that the judge reads as in the picture: {shares.mean():.1%} on average")
        print("  ".join(f"{name} {share:.1%}" for name, share in zip(NAMES, shares, strict=True)))
    print(arguments.out)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
