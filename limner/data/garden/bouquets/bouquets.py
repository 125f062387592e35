"""The garden's bouquets: an endless, seeded set of captioned pictures of two to four flowers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from limner.core.random import hash64, uniform_of
from limner.data.garden.attributes import CLASS_NAMES, COLOUR, SHAPE, SPLIT_CLASSES, class_of, decode
from limner.data.garden.bouquets.arranging import Bouquet, arrange, class_ids
from limner.data.garden.bouquets.captions import DRAWS, Caption, Plan, changed_plans, plan, speak
from limner.data.garden.bouquets.painting import paint_bouquets, paint_masks
from limner.data.garden.bouquets.scenes import Said, Shown, agree, shown_by
from limner.data.garden.bouquets.worlds import MOST, RELATIONS, THEMES, company_table, relation_table
from limner.data.garden.seeded import SeededSet, paired


@dataclass(frozen=True, kw_only=True)
class Flower:
    """One flower of a bouquet."""

    attributes: dict[str, str]
    """Every attribute's true value; the background is the picture's."""
    class_id: int
    """The garden's class, a pair of colour and shape."""
    box: tuple[float, float, float, float]
    """Left, top, width and height of the whole blossom, as shares of the picture's sides."""
    visible: float
    """The share of the blossom that is not hidden."""

    @property
    def class_name(self) -> str:
        """The class in words, as in "red heart-shaped"."""
        return CLASS_NAMES[self.class_id]


@dataclass(frozen=True, kw_only=True)
class BouquetItem:
    """One captioned bouquet."""

    key: str
    """Its name, as in "garden-bouquets-test-0-000012": split, seed and index."""
    pixels: NDArray[np.uint8]
    """The picture, [H W 3]."""
    flowers: tuple[Flower, ...]
    """From the rearmost to the one in front."""
    masks: NDArray[np.uint8]
    """[n H W]: how far each whole blossom covers each pixel, hidden parts included, from 0 to 255."""
    visible_masks: NDArray[np.uint8]
    """[n H W]: how much of each pixel shows each blossom."""
    shown: Shown
    """All relations of the flowers."""
    captions: tuple[Caption, ...]
    """Its captions, with what each of them says."""
    held_out: str | None
    """What training never showed: "flower", "company", "relation"; None in train and all."""

    @property
    def picture(self) -> Image.Image:
        """The picture as a PIL image."""
        return Image.fromarray(self.pixels)


class Bouquets(SeededSet[BouquetItem]):
    """The built-in world of scenes: two to four flowers that partly hide each other, and sentences that say which stands where.

    Everything about bouquet `index` follows from (split, seed, index). Attributes, places, boxes, relations and captions are exact on
    every machine; pixels and masks agree within one level. The train split never shows the garden's held-out flowers, nor the pairs of
    colours and the relations that `HELD_OUT_COMPANY` and `HELD_OUT_RELATIONS` name; every picture of val and test shows one of theirs.
    """

    thing, things, stream, keyed = "bouquet", "bouquets", "bouquets", "garden-bouquets"

    def _begin(self) -> None:
        self._known: dict[int, tuple[Shown, list[float]]] = {}

    def __getitem__(self, index: int) -> BouquetItem:  # type: ignore[override]
        i = self.checked(index)
        found = self.bouquets(i)
        number = int(found.number[0])
        whole, seen = (masks[0, :number] for masks in paint_masks(found, self.resolution))
        flowers = tuple(
            Flower(
                attributes=decode(found.codes[0, place].tolist()),
                class_id=int(class_ids(found)[0, place]),
                box=tuple(found.boxes[0, place].tolist()),
                visible=float(found.visible[0, place]),
            )
            for place in range(number)
        )
        return BouquetItem(
            key=self.key(i),
            pixels=paint_bouquets(found, self.resolution)[0],
            flowers=flowers,
            masks=whole,
            visible_masks=seen,
            shown=shown_by(found)[0],
            captions=tuple(self.captions(i, range(self.captions_per_picture))),
            held_out=THEMES[int(found.theme[0])] if found.theme[0] >= 0 else None,
        )

    def bouquets(self, indices: ArrayLike) -> Bouquet:
        """What is to be painted for some indices."""
        return arrange(np.atleast_1d(np.asarray(indices, dtype=np.int64)), self.seed, self.split)

    def pictures(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Pictures of some bouquets: uint8 [n, resolution, resolution, 3]."""
        return paint_bouquets(self.bouquets(indices), self.resolution)

    def masks(self, indices: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """How far each flower covers each pixel: whole flowers, and what can be seen of them, uint8 [n, 4, resolution, resolution]."""
        return paint_masks(self.bouquets(indices), self.resolution)

    def boxes(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Left, top, width and height of each whole blossom as shares of the picture's sides: [n, 4, 4]; 0 where there is none."""
        return self.bouquets(indices).boxes

    def class_ids(self, indices: ArrayLike) -> NDArray[np.int64]:
        """The class of each flower, from the rearmost to the one in front: [n, 4]; -1 where there is none."""
        return class_ids(self.bouquets(indices))

    def caption(self, index: int, k: int = 0) -> Caption:
        """Caption `k` of one bouquet. Any k is allowed: the captions of a bouquet never run out."""
        return self.captions([self.checked(index)], [k])[0]

    def captions(self, indices: ArrayLike, ks: ArrayLike = 0) -> list[Caption]:
        """Captions of some bouquets at once: caption ks[j] of bouquet indices[j]."""
        return [speak(made, draws) for made, draws, _ in self._plans(*paired(indices, ks))]

    def counterfactual(self, index: int, k: int, draw: int = 0) -> Caption:
        """Caption `k` of a bouquet, changed in one thing so that it is false of the picture: two flowers exchange an attribute, a relation
        is turned round, or one attribute or the number of flowers is another.

        `draw` chooses the change. In the train split no caption is changed to name what the split holds out.
        """
        return self.counterfactuals([self.checked(index)], [k], [draw])[0]

    def counterfactuals(self, indices: ArrayLike, ks: ArrayLike = 0, draws: ArrayLike = 0) -> list[Caption]:
        """Counterfactual captions of some bouquets at once: draw draws[j] of caption ks[j] of bouquet indices[j]."""
        rows, numbers, which = paired(indices, ks, draws)
        choices = uniform_of(hash64(self.seed, self._stream, "counterfactual", rows, numbers, which)[:, None], 0, 4).tolist()
        changed = []
        for (made, words, truth), choice in zip(self._plans(rows, numbers), choices, strict=True):
            options = (other for other in changed_plans(made, choice) if self._may_say(other.said()))
            changed.append(speak(next(other for other in options if not agree(other.said(), truth).all_right), words))
        return changed

    def _plans(self, rows: NDArray[np.int64], ks: NDArray[np.int64]) -> Iterator[tuple[Plan, list[float], Shown]]:
        """For each caption its plan, its draws and what the picture shows."""
        self._look_at(rows)
        draws = uniform_of(hash64(self.seed, self._stream, "caption", rows, ks)[:, None], 0, DRAWS).tolist()
        for index, own in zip(rows.tolist(), draws, strict=True):
            truth, visible = self._known[index]
            yield plan(truth, visible, own), own, truth

    def _look_at(self, rows: NDArray[np.int64]) -> None:
        """Know what some bouquets show, and how much of each flower can be seen."""
        missing = np.array([index for index in np.unique(rows).tolist() if index not in self._known], dtype=np.int64)
        for start in range(0, len(missing), _TOGETHER):
            part = missing[start : start + _TOGETHER]
            found = self.bouquets(part)
            self._known.update(zip(part.tolist(), zip(shown_by(found), found.visible.tolist()), strict=True))

    def _may_say(self, said: Said) -> bool:
        """Whether a caption of this split may say this: one for training never speaks of what is held out."""
        if self.split != "train":
            return True
        colours = [mention.named.get(COLOUR, -1) for mention in said.mentions]
        for mention in said.mentions:
            named = mention.named
            if COLOUR in named and SHAPE in named and class_of(named[COLOUR], named[SHAPE]) not in SPLIT_CLASSES["train"]:
                return False
        if any(_COMPANY[first, second] for first in colours for second in colours if first >= 0 and second >= 0):
            return False
        spoken = ((name, [colours[place] for place in places]) for name, places in said.relations if name in RELATIONS)
        return not any(min(pair) >= 0 and _RELATIONS[RELATIONS.index(name), pair[0], pair[1]] for name, pair in spoken)


_TOGETHER = 1024
_COMPANY, _RELATIONS = company_table(("val", "test")), relation_table(("val", "test"))


__all__ = ["MOST", "BouquetItem", "Bouquets", "Flower"]
