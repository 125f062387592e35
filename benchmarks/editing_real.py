"""Real pictures, each edited by one word of its caption: does what the word names follow, and does the rest stay?

    python benchmarks/editing_real.py runs/cigan --attribute colour --count 300 --out docs/images/ci-gan-editing.png

Held-out garden pictures are inverted and edited towards their caption with one word changed. The garden's judge reads pictures before and
after. A picture counts where the judge reads in it what its caption names for the attribute; followed: it then reads what the new caption
names. Others: readings of the other attributes that the caption names and the picture had; stayed: they are read as before. What inverting
alone changes is in the first row, and the model's own pictures of the same two captions, from one noise, in the last.
Ways of editing: `said` by the new caption alone; `difference` by both captions; each with the model's steps and, `straight`, without.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from tyro.conf import Positional

import limner
from limner.cli.models import set_editing
from limner.core.abilities import TakesSampling
from limner.core.errors import LimnerError
from limner.core.files import write_whole
from limner.data.garden import Garden
from limner.data.sheet import caption_grid
from limner.explore.edit import NAMES, edit, edit_pictures
from limner.explore.invert import invert
from limner.features.garden_judge import load_judge
from limner.metrics.faithfulness import UNNAMED, named_codes, read_codes
from limner.metrics.judge import to_tensor

CHUNK, SHOWN = 64, 6
Way = Literal["said", "difference", "straight said", "straight difference"]
WAYS: tuple[Way, ...] = ("straight said", "straight difference", "said", "difference")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A run folder or model folder of a method that inverts and edits, such as ci-gan, trained on the garden."""
    attribute: str = "colour"
    """What is changed: colour, count, shape, centre, background or size."""
    count: int = 300
    """Pictures."""
    ways: tuple[Way, ...] = WAYS
    """How they are edited."""
    invert_steps: int | None = None
    """Steps that find a picture's code, from the encoder's; by default the model's own setting."""
    seed: int = 0
    """Decides the noise."""
    out: Path = Path("editing-real.png")
    """The page; figures go to a .json of the same name."""


def edited_pairs(attribute: str, count: int, resolution: int) -> tuple[NDArray[np.uint8], list[tuple[str, str]]]:
    """The first `count` test pictures whose caption has a counterfactual in this attribute, with both captions."""
    garden, rows, pairs, start = Garden("test", length=max(4_000, 100 * count), resolution=resolution), list[int](), [], 0
    while len(rows) < count and start < len(garden):
        places = np.arange(start, min(start + 4 * count, len(garden)))
        for row, was, now in zip(places.tolist(), garden.captions(places), garden.counterfactuals(places), strict=True):
            if was.named.get(attribute) != now.named.get(attribute):
                rows.append(row)
                pairs.append((was.text, now.text))
        start += len(places)
    return garden.pictures(np.array(rows[:count])), pairs[:count]


def main(arguments: Arguments) -> None:
    if arguments.attribute not in NAMES:
        raise SystemExit(f"--attribute is {arguments.attribute}: choose one of {', '.join(NAMES)}")
    try:
        model = limner.load(arguments.model)
        set_editing(model, {"invert_steps": arguments.invert_steps})
        pictures, pairs = edited_pairs(arguments.attribute, arguments.count, model.resolution)
        found = {"inverted": invert(model, pictures, arguments.seed).rebuilt}
        own = model.method.settings
        assert isinstance(model.method, TakesSampling)
        for way in arguments.ways:
            model.method.settings = dataclasses.replace(own, edit_steps=0) if way.startswith("straight") else own
            captions = pairs if way.endswith("difference") else [("", now) for _, now in pairs]
            found[way] = edit_pictures(model, pictures, captions, seed=arguments.seed).after
        model.method.settings = own
        painted = edit(model, pairs, seed=arguments.seed)
    except LimnerError as error:
        raise SystemExit(str(error)) from None
    judge, column = load_judge(), NAMES.index(arguments.attribute)

    @torch.no_grad()
    def read(images: NDArray[np.uint8]) -> NDArray[np.int64]:
        return np.concatenate([read_codes(judge.read(part)) for part in to_tensor(images).split(CHUNK)])

    named, wanted = (named_codes([pair[place] for pair in pairs]) for place in (0, 1))

    def figures(before: NDArray[np.int64], after: NDArray[np.int64], aim: NDArray[np.int64]) -> dict[str, float]:
        right = before[:, column] == named[:, column]
        others = (named != UNNAMED) & (before == named) & right[:, None]
        others[:, column] = False
        return {
            "right before": float(right.mean()),
            "followed": float((after[:, column] == aim[:, column])[right].mean()),
            "others stayed": float((before == after)[others].mean()),
            "pictures": float(right.sum()),
        }

    given = read(pictures)
    rows = {"inverted alone (stays as it was)": figures(given, read(found["inverted"]), named)}
    rows |= {way: figures(given, read(found[way]), wanted) for way in arguments.ways}
    rows["painted, not given"] = figures(read(painted.before), read(painted.after), wanted)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    shown = [[images[row] for images in (pictures, *found.values())] for row in range(min(SHOWN, len(pictures)))]
    labels = [["picture", *found]] * len(shown)
    caption_grid(shown, [f"{was} / {now}" for was, now in pairs[: len(shown)]], labels=labels).save(arguments.out)
    protocol = {
        "model": arguments.model,
        "pictures": f"{len(pictures)} of garden/test",
        "attribute": arguments.attribute,
        "invert steps": getattr(own, "invert_steps", 0),
    }
    write_whole(arguments.out.with_suffix(".json"), json.dumps({"protocol": protocol, "figures": rows}, indent=1) + "\n")
    print(f"| {arguments.attribute} | {' | '.join(next(iter(rows.values())))} |\n|---|{'---:|' * 4}")
    for name, row in rows.items():
        *shares, number = row.values()
        print(f"| {name} | {' | '.join(f'{100 * share:.0f} %' for share in shares)} | {number:.0f} |")
    print(arguments.out)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
