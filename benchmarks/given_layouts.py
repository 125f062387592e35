"""Layouts that are given, and moved: `python benchmarks/given_layouts.py runs/scenes --judge runs/bouquet-judge`.

For captions of the garden's bouquets, a model that lays out paints four times at the same noise: from its own layouts, from the true boxes
of the captions' pictures, from true boxes and shapes, and from true boxes of which one is moved, its shape with it. The judge of bouquets
says how far captions are followed, how many flowers stand where the layout puts them, and whether a flower that was moved is there; pixels
say what else changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor
from tyro.conf import Positional

import limner
from limner.core import random
from limner.core.abilities import LaysOut
from limner.core.errors import SettingsError
from limner.core.layout import Layout
from limner.data.catalog import open_data
from limner.data.garden.attributes import class_of
from limner.data.garden.bouquets import parse_bouquet
from limner.features.bouquet_judge import SceneReading, load_scene_judge
from limner.metrics.scenes import PARTS, share, shown_in, verdicts

NEAR = 0.08
"""How far from the middle of its box a flower may be found, as a share of the picture's side."""
TOGETHER = 50


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A run folder or model folder of a method that lays out, trained on garden-bouquets."""
    judge: Path | None = None
    """A run or folder of `limner train bouquet-judge`; by default the one that ships with Limner."""
    count: int = 300
    """Captions."""
    split: str = "test"
    """Split of garden-bouquets."""
    seed: int = 0
    """The noise, and which flower is moved where."""


@dataclass(frozen=True)
class Painted:
    """Pictures [B, 3, H, W] in [-1, 1], the layouts that they were painted from, and what the judge reads."""

    images: Tensor
    layout: Layout
    reading: SceneReading

    @property
    def found(self) -> NDArray[np.bool_]:
        """[B, N]: whether a flower with the thing's label stands in the middle of its box."""
        codes = self.reading.codes
        kinds = torch.as_tensor(class_of(codes["colour"], codes["shape"]))  # [B, M]
        middles = self.layout.boxes[..., :2] + self.layout.boxes[..., 2:] / 2.0
        near = torch.cdist(middles, self.reading.places) <= NEAR  # [B, N, M]
        there = torch.arange(kinds.shape[1]) < self.reading.counts[:, None]
        same = kinds[:, None] == self.layout.labels[..., None]
        return (near & same & there[:, None]).any(2).numpy()


def main() -> None:
    asked = tyro.cli(Arguments, description=__doc__)
    model, judge = limner.load(asked.model), load_scene_judge(asked.judge)
    method = model.method
    if not isinstance(method, LaysOut):
        raise SettingsError(f"{asked.model} lays out nothing: give a model of obj-gan")
    pictures = open_data("garden-bouquets", asked.split, model.resolution, length=asked.count)
    if pictures.label_names != method.conditions.labels:
        raise SettingsError(f"{asked.model} was not trained on garden-bouquets: give a model that was")
    ways = ("own", "boxes", "shapes", "moved")
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in ways}
    placed: dict[str, list[float]] = {name: [] for name in (*ways, "moved flower", "still at its old place")}
    changed: dict[str, list[float]] = {"inside": [], "outside": []}
    for start in range(0, asked.count, TOGETHER):
        numbers = np.arange(start, min(start + TOGETHER, asked.count))
        captions = [pictures.captions(int(number))[0] for number in numbers]
        text, noise = model.encode(captions), model.noise(asked.seed, numbers)
        true = pictures.layouts(numbers)
        assert true is not None
        painted: dict[str, Painted] = {}
        which = np.zeros(0, dtype=np.int64)
        with torch.no_grad():
            layouts = {"own": method.layout(text, noise), "boxes": replace(true, shapes=None), "shapes": true}
            for name in ways:
                if name == "moved":
                    layouts[name], which = moved(painted["boxes"].layout, asked.seed, numbers)
                painting = method.paint_layout(text, layouts[name], noise)
                drawn = Layout(*(painting.extras[part] for part in ("boxes", "labels", "shapes")))
                painted[name] = Painted(painting.images, drawn, judge.read(painting.images))
                rows[name].append(verdicts([parse_bouquet(caption) for caption in captions], shown_in(painted[name].reading)))
                placed[name] += painted[name].found[(drawn.labels >= 0).numpy()].tolist()
        here = np.arange(len(numbers))
        placed["moved flower"] += painted["moved"].found[here, which].tolist()
        stale = replace(painted["moved"], layout=painted["boxes"].layout)
        placed["still at its old place"] += stale.found[here, which].tolist()
        for name, value in differences(painted["boxes"], painted["moved"], which):
            changed[name].append(value)
    print(f"{asked.count} captions of {asked.split}, seed {asked.seed}")
    for name, parts in rows.items():
        whole = np.concatenate(parts)
        print(f"{name:>6}  " + "  ".join(f"{part} {share(whole, place)[0]:.1%}" for place, part in enumerate(PARTS)))
    for name, values in placed.items():
        print(f"{name}: {np.mean(values):.1%} of {len(values):,} flowers stand in their boxes")
    for name, differing in changed.items():
        print(f"{name} the two boxes of the moved flower: pixels differ by {np.mean(differing):.1f} of 255 levels")


def moved(layout: Layout, seed: int, numbers: NDArray[np.int64]) -> tuple[Layout, NDArray[np.int64]]:
    """Layouts with one thing of each row moved to a place where it covers the others least, and which one that is."""
    boxes, counts = layout.boxes.clone(), layout.counts.numpy()
    which = (random.uniform(seed, "which", numbers) * counts).astype(np.int64)
    places = random.uniform(seed, "where", numbers[:, None, None], np.arange(32)[:, None], np.arange(2))  # [B, 32, 2]
    for row, thing in enumerate(which.tolist()):
        size = boxes[row, thing, 2:]
        tried = torch.from_numpy(places[row]).float() * (1.0 - size)
        others = [other for other in range(int(counts[row])) if other != thing] + [thing]  # nor where it was
        middles = boxes[row, others, :2] + boxes[row, others, 2:] / 2.0
        apart = torch.cdist(tried + size / 2.0, middles).amin(1)
        boxes[row, thing, :2] = tried[int(apart.argmax())]
    return replace(layout, boxes=boxes), which


def differences(one: Painted, other: Painted, which: NDArray[np.int64]) -> Iterator[tuple[str, float]]:
    """How far two paintings differ inside and outside the boxes of the moved flower, before and after."""
    side = one.images.shape[-1]
    for row, thing in enumerate(which.tolist()):
        mask = torch.zeros(side, side, dtype=torch.bool)
        for painted in (one, other):
            left, top, width, height = (painted.layout.boxes[row, thing] * side).tolist()
            mask[int(top) : int(top + height) + 1, int(left) : int(left + width) + 1] = True
        apart = (one.images[row] - other.images[row]).abs().mean(0) * 127.5
        yield "inside", float(apart[mask].mean())
        yield "outside", float(apart[~mask].mean())


if __name__ == "__main__":
    main()
