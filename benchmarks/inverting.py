"""Held-out pictures are inverted and painted again: what is lost?

    python benchmarks/inverting.py runs/cigan --count 500 --out docs/images/ci-gan-inverting.png

Prints PSNR, SSIM and the mean square difference of pixels in [-1, 1]; on the garden also the share of attributes that its judge reads in
the reconstruction as in the picture. The page shows pictures above their reconstructions. The model is one of a method that inverts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from tyro.conf import Positional

import limner
from limner.cli.models import set_editing
from limner.core import random
from limner.core.errors import LimnerError
from limner.core.files import write_whole
from limner.data.catalog import open_data
from limner.data.sheet import caption_grid
from limner.explore.invert import inverting
from limner.features.garden_judge import load_judge
from limner.metrics.faithfulness import NAMES, read_codes
from limner.metrics.pixels import psnr, ssim
from limner.metrics.scoring.survey import stored

CHUNK, SHOWN = 64, 8


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")]
    """The run folder or model folder of a method that inverts, such as ci-gan."""
    data: str = "garden"
    """'garden', or the folder of a prepared data set."""
    split: str = "test"
    """Which of its splits."""
    count: int = 500
    """How many pictures, at most."""
    invert_steps: int | None = None
    """Steps that find a picture's code, from the encoder's; by default the model's own setting."""
    seed: int = 0
    """Decides which pictures, and the noise."""
    out: Path = Path("inverting.png")
    """The page; figures go to a .json of the same name."""


@torch.no_grad()
def main(arguments: Arguments) -> None:
    try:
        model = limner.load(arguments.model)
        inverting(model)
        set_editing(model, {"invert_steps": arguments.invert_steps})
        pictures = open_data(arguments.data, arguments.split, model.resolution)
    except LimnerError as error:
        raise SystemExit(str(error)) from None
    drawn = np.sort(random.permutation(len(pictures), arguments.seed, "inverting")[: arguments.count])
    real = torch.cat([stored(pictures, drawn[start : start + CHUNK]) for start in range(0, len(drawn), CHUNK)])  # [N, 3, R, R] uint8
    rebuild = model.rebuilder(arguments.seed)
    assert rebuild is not None
    again = rebuild(real, np.arange(len(drawn)))
    figures: dict[str, float] = {
        "psnr": float(psnr(again, real).mean()),
        "ssim": float(ssim(again, real).mean()),
        "mean square difference": float(((again.double() - real.double()) / 127.5).square().mean()),
    }
    if pictures.name == "garden":
        judge = load_judge()
        codes = [np.concatenate([read_codes(judge.read(part)) for part in images.split(CHUNK)]) for images in (real, again)]
        shares = (codes[0] == codes[1]).mean(0)
        figures |= {f"{name} read as before": float(share) for name, share in zip(NAMES, shares, strict=True)}
        figures["attributes read as before"] = float(shares.mean())
        figures["all attributes read as before"] = float((codes[0] == codes[1]).all(1).mean())
    rows = [[*images[:SHOWN].permute(0, 2, 3, 1).numpy()] for images in (real, again)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    caption_grid(rows, ["pictures", "painted again"]).save(arguments.out)
    protocol = {"model": arguments.model, "pictures": f"{len(drawn)} of {pictures.name}/{pictures.split}", "seed": arguments.seed}
    protocol["invert steps"] = getattr(model.method.settings, "invert_steps", 0)
    write_whole(arguments.out.with_suffix(".json"), json.dumps({"protocol": protocol, "figures": figures}, indent=1) + "\n")
    print(f"{len(drawn):,} pictures of {pictures.name}/{pictures.split}")
    for name, value in figures.items():
        print(f"{name}: {f'{value:.1%}' if 'read as' in name else f'{value:.4g}'}")
    print(arguments.out)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
