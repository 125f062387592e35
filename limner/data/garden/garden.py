"""The garden: an endless, seeded set of captioned flowers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from limner.core.random import hash64, integers, uniform_of
from limner.data.garden.attributes import (
    ATTRIBUTES,
    CLASS_NAMES,
    COLOUR,
    NAMES,
    SHAPE,
    SPLIT_CLASSES,
    class_of,
    codes_of_class,
    decode,
)
from limner.data.garden.captions import DRAWS, Caption, form_of, named_by, pick, write
from limner.data.garden.painting import paint
from limner.data.garden.scenes import Scene, Scenes
from limner.data.garden.seeded import SeededSet, paired


@dataclass(frozen=True, kw_only=True)
class GardenItem:
    """One captioned flower."""

    key: str
    """Its name, as in "garden-test-0-000012": split, seed and index."""
    pixels: NDArray[np.uint8]
    """The picture, [H W 3]."""
    attributes: dict[str, str]
    """Every attribute's true value."""
    class_id: int
    """Its class, a pair of colour and shape; the same ids in every split."""
    captions: tuple[Caption, ...]
    """Its captions, with what each of them names."""

    @property
    def class_name(self) -> str:
        """The class in words, as in "red heart-shaped"."""
        return CLASS_NAMES[self.class_id]

    @property
    def picture(self) -> Image.Image:
        """The picture as a PIL image."""
        return Image.fromarray(self.pixels)


class Garden(SeededSet[GardenItem]):
    """The built-in world: painted flowers whose attributes are known and whose captions say which of them they name.

    Everything about flower `index` follows from (split, seed, index): neither the length nor the order of reading matters. Attributes
    and captions are exact on every machine; pixels agree within one level. Classes are pairs of colour and shape; train, val and test
    share none.
    """

    thing, things, stream, keyed = "flower", "flowers", "garden", "garden"

    def _begin(self) -> None:
        self._classes = np.array(SPLIT_CLASSES[self.split], dtype=np.int64)

    def __getitem__(self, index: int) -> GardenItem:  # type: ignore[override]
        i = self.checked(index)
        scene = self.scene(i)
        return GardenItem(
            key=self.key(i),
            pixels=paint(scene, self.resolution)[0],
            attributes=scene.attributes,
            class_id=class_of(scene.codes[COLOUR], scene.codes[SHAPE]),
            captions=tuple(self.captions(i, range(self.captions_per_picture))),
        )

    def attribute_codes(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Attribute codes of some flowers: [n 6], in the order of `ATTRIBUTES`."""
        rows = np.atleast_1d(np.asarray(indices, dtype=np.int64))
        codes = np.empty((len(rows), len(NAMES)), dtype=np.int64)
        for position, (name, values) in enumerate(ATTRIBUTES.items()):
            codes[:, position] = integers(len(values), self.seed, self._stream, name, rows)
        classes = self._classes[integers(len(self._classes), self.seed, self._stream, "class", rows)]
        codes[:, COLOUR], codes[:, SHAPE] = codes_of_class(classes)
        return codes

    def class_ids(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Class ids of some flowers: [n]."""
        codes = self.attribute_codes(indices)
        return class_of(codes[:, COLOUR], codes[:, SHAPE])

    def scenes(self, indices: ArrayLike) -> Scenes:
        """What is to be painted for some flowers."""
        rows = np.atleast_1d(np.asarray(indices, dtype=np.int64))
        return Scenes(self.attribute_codes(rows), np.atleast_1d(hash64(self.seed, self._stream, "scene", rows)))

    def scene(self, index: int) -> Scene:
        """What is to be painted for one flower."""
        return next(iter(self.scenes(self.checked(index))))

    def pictures(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Pictures of some flowers: uint8 [n, resolution, resolution, 3]."""
        return paint(self.scenes(indices), self.resolution)

    def caption(self, index: int, k: int = 0) -> Caption:
        """Caption `k` of one flower. Any k is allowed: the captions of a flower never run out."""
        return self.captions([self.checked(index)], [k])[0]

    def captions(self, indices: ArrayLike, ks: ArrayLike = 0) -> list[Caption]:
        """Captions of some flowers at once: caption ks[j] of flower indices[j]."""
        rows, ks = paired(indices, ks)
        draws = self._caption_draws(rows, ks)
        return [write(decode(codes), row) for codes, row in zip(self.attribute_codes(rows).tolist(), draws.tolist(), strict=True)]

    def counterfactual(self, index: int, k: int, draw: int = 0) -> Caption:
        """Caption `k` of a flower with exactly one of the attributes that it names changed to another value.

        `draw` chooses which attribute and which value. In the train split no caption is changed to name a held-out pair of colour and
        shape, so that training never reads of one.
        """
        return self.counterfactuals([self.checked(index)], [k], [draw])[0]

    def counterfactuals(self, indices: ArrayLike, ks: ArrayLike = 0, draws: ArrayLike = 0) -> list[Caption]:
        """Counterfactual captions of some flowers at once: draw draws[j] of caption ks[j] of flower indices[j]."""
        rows, ks, draws = paired(indices, ks, draws)
        choices = uniform_of(hash64(self.seed, self._stream, "counterfactual", rows, ks, draws)[:, None], 0, 2).tolist()
        words = self._caption_draws(rows, ks).tolist()
        changed: list[Caption] = []
        written: dict[tuple[int, int, str, str], Caption] = {}  # draws often choose the same change of a caption
        before = None
        numbers = zip(rows.tolist(), ks.tolist(), strict=True)
        for number, codes, row, (which, value) in zip(numbers, self.attribute_codes(rows).tolist(), words, choices, strict=True):
            if number != before:
                attributes, named, before = decode(codes), named_by(form_of(row)), number
            name = pick(named, which)
            partner = _PARTNERS.get(name)
            options = _other_values(self.split, name, attributes[name], attributes[partner] if partner in named else None)
            key = *number, name, pick(options, value)
            if key not in written:
                written[key] = write({**attributes, name: key[-1]}, row)
            changed.append(written[key])
        return changed

    def _caption_draws(self, rows: NDArray[np.int64], ks: NDArray[np.int64]) -> NDArray[np.float64]:
        return uniform_of(hash64(self.seed, self._stream, "caption", rows, ks)[:, None], 0, DRAWS)


_PARTNERS = {"colour": "shape", "shape": "colour"}
"""The attributes that make a class, each with the other."""


@cache
def _other_values(split: str, name: str, value: str, partner: str | None) -> tuple[str, ...]:
    """The values to which a caption of a split may change an attribute: a caption for training never names a held-out class.

    partner: the value of the other attribute of the class, where the caption names that too.
    """
    others = tuple(other for other in ATTRIBUTES[name] if other != value)
    if split != "train" or partner is None:
        return others

    def class_with(other: str) -> int:
        values = {name: other, _PARTNERS[name]: partner}
        return class_of(*(ATTRIBUTES[each].index(values[each]) for each in ("colour", "shape")))

    return tuple(other for other in others if class_with(other) in SPLIT_CLASSES["train"])
