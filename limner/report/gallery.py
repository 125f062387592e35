"""The same captions and noises painted by every entry of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from limner.core import random
from limner.core.errors import DataError, SettingsError
from limner.core.files import save_whole
from limner.core.pictures import CaptionedPictures
from limner.data.catalog import BUILT_IN, open_data
from limner.data.reduced import at_resolution
from limner.data.sheet import column_grid
from limner.model import load
from limner.model.requests import check_asked, check_count
from limner.report.cost import Cost, cost
from limner.report.entries import ComparedEntry, Contender
from limner.training.trained import trained_on

NOISES = 2
"""Pictures of each caption by each entry."""
HELD_OUT = ("test", "val")
OWN = "give captions of your own: --captions"


@dataclass(frozen=True)
class Asked:
    """What every entry paints."""

    captions: Sequence[str]
    real: Sequence[Image.Image]
    """The data set's own picture of each caption; none for captions of the user's own."""
    source: str
    """Where the captions are from, in words."""


@dataclass(frozen=True)
class Shown:
    """What one entry painted, and at which cost."""

    pictures: Sequence[Sequence[Image.Image]]
    """For each caption a picture of each noise."""
    cost: Cost


def own_captions(captions: Sequence[str]) -> Asked:
    """The user's captions."""
    if not captions:
        raise SettingsError("there is no caption to paint: give some, or none for those of the data set")
    return Asked(captions, (), "captions given to this comparison")


def drawn_captions(contenders: Sequence[Contender], count: int, seed: int, data: str | None = None) -> Asked:
    """Captions of pictures that no contender was trained on, with those pictures: the test split's, or else the val split's.

    Each caption comes once, so that a set of few gives fewer. data: the set to draw from; by default what all of them were trained on.
    Raises SettingsError where they were not trained on the same, DataError where the set has no such split.
    """
    check_count("--count", count)
    data = data or _shared_data(contenders)
    side = min(contender.resolution for contender in contenders)
    pictures = held_out(data, side, 8 * count)
    pool = np.flatnonzero(pictures.caption_counts > 0)
    if not len(pool):
        raise DataError(f"the {pictures.split} split of {pictures.name} has no captions to paint: {OWN}, or another set: --data")
    if pictures.stories is not None and len(pictures.stories):
        pool = np.intersect1d(pool, pictures.stories[:, 0])  # what is said first in a story says enough by itself
    asked: dict[str, int] = {}
    for index in pool[random.permutation(len(pool), seed, "compare", pictures.split)].tolist():
        if len(asked) == count:
            break
        asked.setdefault(max(pictures.captions(index), key=len), index)
    real = [Image.fromarray(picture) for picture in at_resolution(pictures, side).read(list(asked.values()))]
    return Asked(list(asked), real, f"captions of the {pictures.split} split of {pictures.name}")


def _shared_data(contenders: Sequence[Contender]) -> str:
    """What all of them were trained on, as `open_data` takes it."""
    first, *others = contenders
    data = trained_on(str(first.path), first.about)
    for other in others:
        theirs = trained_on(str(other.path), other.about)
        same_pictures = first.about.get("fingerprint") == other.about.get("fingerprint") is not None
        if data != theirs and not (same_pictures and not {data, theirs} & {*BUILT_IN}):  # a set may lie in two folders
            raise SettingsError(f"{first.path} was trained on {data} and {other.path} on {theirs}: {OWN}, or a set for all: --data")
    return data


def held_out(data: str, side: int, length: int) -> CaptionedPictures:
    """The split that captions are drawn from: test, or else val. Raises DataError for a set that has neither."""
    for split in HELD_OUT:
        try:
            return open_data(data, split, side, length=length)
        except DataError as error:
            problem = error
    raise DataError(f"{problem}; or {OWN}")


def paint(entry: ComparedEntry, asked: Asked, seed: int, device: str) -> Shown:
    """What an entry's first run paints of all captions, as `limner generate RUN CAPTION --count 2 --seed SEED` does. [captions][noises]."""
    model = load(entry.runs[0].path, device)
    if not asked.real:  # captions that somebody gave
        check_asked(model.encoder, asked.captions, f"{entry.runs[0].path}: the model")
    try:
        repeated = [caption for caption in asked.captions for _ in range(NOISES)]
        painted = [Image.fromarray(picture) for picture in model.pictures(repeated, np.tile(np.arange(NOISES), len(asked.captions)), seed)]
    except SettingsError as error:
        raise SettingsError(f"{entry.runs[0].path}: {error}") from None
    return Shown([painted[start : start + NOISES] for start in range(0, len(painted), NOISES)], cost(model, asked.captions, seed))


def save_sheet(entries: Sequence[ComparedEntry], asked: Asked, shown: Sequence[Shown], path: Path) -> None:
    """Write everything painted as one picture: entries across, captions and noises down."""
    rows = [[own.pictures[row][noise] for own in shown] for row in range(len(asked.captions)) for noise in range(NOISES)]
    sides = [text for caption in asked.captions for text in (caption, *[""] * (NOISES - 1))]
    heads = [entry.name for entry in entries]
    if asked.real:
        rows = [[*row, asked.real[place // NOISES]] for place, row in enumerate(rows)]
        heads.append("real picture")
    save_whole(column_grid(rows, heads, sides=sides), path)
