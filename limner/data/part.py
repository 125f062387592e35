"""A part of a split: what a learning curve is taken over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from limner.core import random
from limner.core.pictures import CaptionedPictures
from limner.data.wrapped import WrappedPictures

if TYPE_CHECKING:
    from limner.core.layout import Layout


class PartOfPictures(WrappedPictures):
    """A share of another set's pictures, at least two, the same for every training seed; a smaller share lies within a larger one.

    Of stories, whole ones are taken.
    """

    def __init__(self, pictures: CaptionedPictures, share: float) -> None:
        super().__init__(pictures)
        told = pictures.stories
        groups = np.arange(len(pictures))[:, None] if told is None else told
        count = min(max(math.ceil(share * len(groups)), 2), len(groups))
        chosen = np.sort(random.permutation(len(groups), 0, "part")[:count])
        self.places = np.unique(groups[chosen])  # [n], of this part's pictures in the whole
        self.stories = None if told is None else np.searchsorted(self.places, told[chosen])
        self.fingerprint = f"{pictures.fingerprint}/{len(self.places)}"
        self.class_ids = None if pictures.class_ids is None else pictures.class_ids[self.places]
        self.mirrorable = None if pictures.mirrorable is None else pictures.mirrorable[self.places]

    def __len__(self) -> int:
        return len(self.places)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pictures.read(self.places[np.asarray(indices, dtype=np.int64)])

    def expect(self, indices: NDArray[np.int64]) -> None:
        self.pictures.expect(self.places[indices])

    def captions(self, index: int) -> list[str]:
        return self.pictures.captions(int(self.places[index]))

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return self.pictures.caption_counts[self.places]

    def wordless(self) -> list[tuple[int, str]]:
        own = {int(place): number for number, place in enumerate(self.places)}
        return [(own[place], text) for place, text in self.pictures.wordless() if place in own]

    def key(self, index: int) -> str:
        return self.pictures.key(int(self.places[index]))

    def layouts(self, indices: NDArray[np.int64]) -> Layout | None:
        return self.pictures.layouts(self.places[indices])

    def categories(self, indices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        return self.pictures.categories(self.places[indices])

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.pictures.counterfactual(int(self.places[index]), caption, draw)

    def counterfactuals(self, indices: NDArray[np.int64], captions: NDArray[np.int64], draws: NDArray[np.int64]) -> list[str]:
        return self.pictures.counterfactuals(self.places[indices], captions, draws)
