"""Editing by words: a caption is changed, the noise is not. What changes in the picture, and where? (ControlGAN: Li et al., NeurIPS 2019.)

A model that inverts pictures edits given ones, too: the picture comes back as the model can paint it, and that is changed.

On the garden the truth is known. What should change follows from painting scenes twice, with the attribute as it was and as it is to be,
all else alike; and its judge says whether the attribute followed, and whether the others that captions name stayed as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from limner.core import random
from limner.core.abilities import Edits as EditsPictures
from limner.core.errors import SettingsError, unknown_name
from limner.data.garden import ATTRIBUTES, Garden, Scenes, paint
from limner.data.sheet import caption_grid
from limner.explore.differences import apart, bright
from limner.explore.invert import Progress, told
from limner.explore.lacking import lacking
from limner.features.garden_judge import load_judge
from limner.features.network import to_bytes, to_float
from limner.metrics.faithfulness import UNNAMED, named_codes, read_codes
from limner.metrics.judge import to_tensor
from limner.model.requests import check_asked

if TYPE_CHECKING:
    from limner.model import Model

NAMES = tuple(ATTRIBUTES)
_SCENES = 16
"""Scenes that say where an attribute shows; they differ in place, tilt and details, as pictures do."""
_VISIBLE = 8.0
"""Levels of 255 from which a pixel counts as changed between two paintings of a scene."""
_CHUNK = 64


@dataclass(frozen=True)
class Edits:
    """Captions before and after a change, and what a model paints of both from the same noise: [N, H, W, 3] uint8."""

    captions: list[tuple[str, str]]
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    given: NDArray[np.uint8] | None = None
    """The pictures that were given to be edited, of which `before` is what the model can paint."""

    def change(self) -> NDArray[np.float32]:
        """How far every pixel moved, in levels of 255, mean over the colours: [N, H, W]."""
        return apart(self.after, self.before)


@dataclass(frozen=True)
class Judged:
    """How well changes of one attribute of garden captions were followed."""

    attribute: str
    pictures: int
    right: int
    """Pictures in which the judge read the attribute as the first caption names it."""
    followed: int
    """Those of them in which it then read what the second caption names."""
    others: int
    """Readings of the other attributes that the captions name, in the pictures that were right."""
    kept: int
    """Those of them that stayed as they were."""
    inside: float
    """Mean change in levels of 255 where the attribute shows."""
    outside: float
    """Mean change elsewhere."""
    true_inside: float
    """The same of real scenes that are painted with the attribute changed."""
    true_outside: float

    def lines(self) -> list[str]:
        """The figures in words."""
        followed = f"of which {self.followed / self.right:.0%} followed" if self.right else "so that none could follow"
        kept = f"; other named attributes stayed in {self.kept / self.others:.0%} of {self.others} readings" if self.others else ""
        return [
            f"{self.attribute}: right before in {self.right} of {self.pictures} pictures, {followed}{kept}",
            f"mean change where it shows {self.inside:.1f}, elsewhere {self.outside:.1f} levels of 255 "
            f"(scenes painted twice: {self.true_inside:.1f} and {self.true_outside:.1f})",
        ]


def edit(model: Model, captions: Sequence[tuple[str, str]], *, seed: int = 0) -> Edits:
    """Paint each pair of captions from the noise of its place. Raises SettingsError for captions that the model cannot read."""
    check_asked(model.encoder, (caption for pair in captions for caption in pair))
    samples = np.arange(len(captions))
    before, after = (model.pictures([pair[place] for pair in captions], samples, seed) for place in (0, 1))
    return Edits(list(captions), before, after)


def edit_pictures(
    model: Model,
    pictures: NDArray[np.uint8],
    captions: Sequence[tuple[str, str]],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Edits:
    """Change given pictures [N, R, R, 3], each from what its first caption says to what its second one does; the first may be empty if
    nobody knows what a picture shows. progress: called after each step of inverting and editing.

    Raises SettingsError for a model that edits no pictures, and for captions that it cannot read.
    """
    method = model.method
    if not isinstance(method, EditsPictures):
        raise lacking(
            model, "this model edits no given pictures: give one of a method that does (limner methods says which), such as ci-gan"
        )
    check_asked(model.encoder, (caption for was, now in captions for caption in ((was, now) if was else (now,))))
    if len({bool(was) for was, _ in captions}) > 1:
        raise SettingsError("some pictures come with a caption of what they show and some without: give all of them one, or none")
    before, after = list[NDArray[np.uint8]](), list[NDArray[np.uint8]]()
    for start in range(0, len(pictures), _CHUNK):
        rows = slice(start, start + _CHUNK)
        given = to_float(to_tensor(pictures[rows]).to(model.device))
        was, now = zip(*captions[rows], strict=True)
        noise, text = model.noise(seed, np.arange(len(pictures))[rows]), model.encode(now)
        described = model.encode(was) if was[0] else None
        with torch.no_grad():
            codes = method.invert(given, tell=told(progress, "inverting"))
            edited = method.edit(codes, text, noise, pictures=given, before=described, tell=told(progress, "editing"))
            for found, moved in ((before, codes), (after, edited)):
                found.append(to_bytes(method.paint_codes(moved, noise).images).permute(0, 2, 3, 1).cpu().numpy())
    return Edits(list(captions), np.concatenate(before), np.concatenate(after), pictures)


def garden_edits(attribute: str, count: int, *, split: str = "test", seed: int = 0) -> list[tuple[str, str]]:
    """`count` captions of a garden's split with the named attribute changed, and no other word but "a" and "an".

    Raises SettingsError for an attribute that the garden has not.
    """
    if attribute not in NAMES:
        raise unknown_name("attribute of the garden", attribute, NAMES)
    found: list[tuple[str, str]] = []
    garden, start = Garden(split, seed=seed, length=max(4_000, 100 * count)), 0
    while len(found) < count and start < len(garden):
        rows = np.arange(start, min(start + 4 * count, len(garden)))
        for was, now in zip(garden.captions(rows), garden.counterfactuals(rows), strict=True):
            if was.named.get(attribute) != now.named.get(attribute):
                found.append((was.text, now.text))
        start += len(rows)
    return found[:count]


def changed_attribute(captions: Sequence[tuple[str, str]]) -> str:
    """The one attribute of the garden in which each pair of captions differs. Raises SettingsError where there is none, or another."""
    before, after = (named_codes([pair[place] for pair in captions]) for place in (0, 1))
    columns = np.unique((before != after).argmax(1))
    differ = before != after
    if not len(captions) or len(columns) != 1 or (differ.sum(1) != 1).any():
        raise SettingsError("the captions do not differ in one attribute of the garden: change the value of one that both name")
    column = int(columns[0])
    if (before[:, column] == UNNAMED).any() or (after[:, column] == UNNAMED).any():
        raise SettingsError(f"one of the captions does not name its {NAMES[column]}: name it in both")
    return NAMES[column]


@torch.no_grad()
def judge_edits(edits: Edits) -> Judged:
    """What became of changes in one attribute of garden captions. Raises SettingsError for other captions."""
    attribute = changed_attribute(edits.captions)
    column = NAMES.index(attribute)
    named, wanted = (named_codes([pair[place] for pair in edits.captions]) for place in (0, 1))
    judge = load_judge()
    was, now = (_read(judge.read, pictures) for pictures in (edits.before, edits.after))
    right = was[:, column] == named[:, column]
    others = (named != UNNAMED) & right[:, None]
    others[:, column] = False
    change, sums = edits.change(), np.zeros((2, 2, 2))  # pictures and scenes; inside and outside; change and weight
    for row, codes in enumerate(np.where(named == UNNAMED, was, named)):
        region, true = _where(tuple(codes.tolist()), column, int(wanted[row, column]), change.shape[1])
        for kind, moved in enumerate((change[row], true)):
            for place, weight in enumerate((region, 1.0 - region)):
                sums[kind, place] += (moved * weight).sum(), weight.sum()
    means = sums[..., 0] / np.maximum(sums[..., 1], 1e-8)
    return Judged(
        attribute=attribute,
        pictures=len(right),
        right=int(right.sum()),
        followed=int((right & (now[:, column] == wanted[:, column])).sum()),
        others=int(others.sum()),
        kept=int((others & (was == now)).sum()),
        inside=float(means[0, 0]),
        outside=float(means[0, 1]),
        true_inside=float(means[1, 0]),
        true_outside=float(means[1, 1]),
    )


@lru_cache(maxsize=512)
def _where(codes: tuple[int, ...], column: int, value: int, side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where an attribute shows, [side, side] from 0 to 1, and how far pixels move there, in levels of 255.

    Scenes of these codes are painted with the attribute as it is and with `value`; a place counts by the share of scenes in which it
    changes to be seen. Generated pictures have no scene, and so no region of their own: this is the mean over where flowers stand.
    """
    keys = random.hash64(0, "edit scene", np.arange(_SCENES))
    before = np.tile(np.array(codes, dtype=np.int64), (_SCENES, 1))
    after = before.copy()
    after[:, column] = value
    was, now = (paint(Scenes(rows, keys), side).astype(np.float32) for rows in (before, after))
    moved = np.abs(now - was).mean(3)  # [scenes, side, side]
    return (moved > _VISIBLE).mean(0, dtype=np.float32), moved.mean(0)


def _read(read: object, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    assert callable(read)
    parts = [read_codes(read(to_tensor(pictures[start : start + _CHUNK]))) for start in range(0, len(pictures), _CHUNK)]
    return np.concatenate(parts)


def edit_grid(edits: Edits, heading: Sequence[str] = (), *, most: int = 12, tile: int = 128) -> Image.Image:
    """A row for each pair: before, after, and where they differ, the brightest where the page's pictures changed most. Where pictures were
    given they come first."""
    change = edits.change()[:most]
    rows = [[before, after, where] for before, after, where in zip(edits.before[:most], edits.after[:most], bright(change), strict=True)]
    titles = [f"{before} / {after}" if before else after for before, after in edits.captions[:most]]
    labels = [["before", "after", f"change {float(where.mean()):.1f}"] for where in change]
    if edits.given is not None:
        rows = [[given, *row] for given, row in zip(edits.given[:most], rows, strict=True)]
        labels = [["picture", "found again", *label[1:]] for label in labels]
    return caption_grid(rows, titles, labels=labels, tile=tile, heading=list(heading))
