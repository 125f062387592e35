"""Half a picture is given, and words that agree with the hidden half or contradict it: what follows what?

    python benchmarks/completing.py runs/dalle --count 300 --out docs/images/dall-e-completing.png

Held-out garden pictures are completed twice: with a caption that names all their attributes, and with one that is wrong in one of them.
The garden's judge reads all results: how often an attribute is right where words agree, and how often the one that was changed is as in
the given picture, or as in the words.
"""

from __future__ import annotations

import json
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
from limner.core.files import write_whole
from limner.data.garden import ATTRIBUTES, Garden, parse
from limner.data.sheet import caption_grid
from limner.explore.complete import box_of, complete, kept_part
from limner.features.garden_judge import load_judge
from limner.metrics.faithfulness import read_codes
from limner.metrics.judge import to_tensor

SHOWN = 6
PLACES = {"meadow": "in a green meadow", "sky": "under a pale blue sky", "night": "at night", "sand": "on warm sand"}
NUMBERS = {"3": "three", "4": "four", "5": "five", "6": "six", "8": "eight"}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A run folder or model folder of a model that completes pictures, trained on the garden."""
    count: int = 300
    """Pictures."""
    keep: str = "top"
    """What is given: top, left, or a box LEFT,TOP,RIGHT,BOTTOM in shares of the side."""
    seed: int = 0
    """Decides noise, and which attribute is changed to what."""
    out: Path = Path("completing.png")
    """The page; figures go to a .json of the same name."""


def sentence(codes: NDArray[np.int64]) -> str:
    """A caption that names all six attributes."""
    named = {name: ATTRIBUTES[name][code] for name, code in zip(ATTRIBUTES, codes.tolist(), strict=True)}
    flower = f"a {named['size']} {named['colour']} flower with {NUMBERS[named['count']]} {named['shape']} petals"
    text = f"{flower} and a {named['centre']} centre {PLACES[named['background']]}"
    assert parse(text) == named, text
    return text


def changed(codes: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Codes [n, 6] with one attribute of each row changed to another value, and which one [n]: each of the six in turn."""
    rows = np.arange(len(codes))
    columns = rows % codes.shape[1]
    sizes = np.array([len(values) for values in ATTRIBUTES.values()])[columns]
    steps = 1 + np.array([int(random.integers(int(size) - 1, seed, "changed", int(row))) for row, size in zip(rows, sizes, strict=True)])
    other = codes.copy()
    other[rows, columns] = (codes[rows, columns] + steps) % sizes
    return other, columns


def main(arguments: Arguments) -> None:
    try:
        model = limner.load(arguments.model)
        keep = kept_part(box_of(arguments.keep), model.resolution)
        scenes = Garden("test", length=arguments.count, resolution=model.resolution).scenes(np.arange(arguments.count))
        pictures = Garden("test", length=arguments.count, resolution=model.resolution).pictures(np.arange(arguments.count))
        other, columns = changed(scenes.codes, arguments.seed)
        samples = list(range(arguments.count))
        found = {
            name: complete(model, [sentence(row) for row in codes], pictures, keep, samples, arguments.seed)
            for name, codes in (("agree", scenes.codes), ("contradict", other))
        }
    except LimnerError as error:
        raise SystemExit(str(error)) from None
    judge = load_judge()
    with torch.inference_mode():
        read = {name: read_codes(judge.read(to_tensor(images))) for name, images in (("picture", pictures), *found.items())}
    figures: dict[str, dict[str, float]] = {}
    for column, name in enumerate(ATTRIBUTES):
        rows = columns == column
        seen, asked, given = read["contradict"][rows, column], other[rows, column], scenes.codes[rows, column]
        figures[name] = {
            "right where words agree": float((read["agree"][:, column] == scenes.codes[:, column]).mean()),
            "as in the picture where words contradict": float((seen == given).mean()),
            "as in the words where they contradict": float((seen == asked).mean()),
            "contradicted": int(rows.sum()),
        }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    grid = [
        [
            pictures[row],
            np.where(keep.permute(1, 2, 0).numpy(), pictures[row], np.uint8(128)),
            found["agree"][row],
            found["contradict"][row],
        ]
        for row in range(SHOWN)
    ]
    captions = [f"{sentence(scenes.codes[row])}; then: {sentence(other[row])}" for row in range(SHOWN)]
    labels = [["picture", "given", "words agree", "words contradict"]] * SHOWN
    caption_grid(grid, captions, labels=labels).save(arguments.out)
    protocol = {"model": arguments.model, "pictures": f"{arguments.count} of garden/test", "keep": arguments.keep, "seed": arguments.seed}
    write_whole(arguments.out.with_suffix(".json"), json.dumps({"protocol": protocol, "attributes": figures}, indent=1) + "\n")
    print(f"| attribute | {' | '.join(next(iter(figures.values())))} |\n|---|{'---:|' * 4}")
    for name, row in figures.items():
        *shares, count = row.values()
        print(f"| {name} | {' | '.join(f'{100 * value:.0f} %' for value in shares)} | {count:.0f} |")
    print(arguments.out)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
