"""A set at a lower resolution than it was prepared for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limner.core.pictures import CaptionedPictures
from limner.data.loader import to_network


def at_resolution(pictures: CaptionedPictures, resolution: int) -> CaptionedPictures:
    """The same set at `resolution`, at most its own."""
    return pictures if pictures.resolution == resolution else ReducedPictures(pictures, resolution)


class ReducedPictures(CaptionedPictures):
    """Another set's pictures without their margin, reduced as training reduces them."""

    def __init__(self, pictures: CaptionedPictures, resolution: int) -> None:
        self.pictures = pictures
        self.resolution = self.stored_resolution = resolution
        self.name, self.split, self.fingerprint = pictures.name, pictures.split, pictures.fingerprint
        self.class_ids, self.class_count = pictures.class_ids, pictures.class_count
        self.stories, self.category_names = pictures.stories, pictures.category_names
        self.may_flip, self.mirrorable = pictures.may_flip, pictures.mirrorable

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        side, margin = self.pictures.resolution, (self.pictures.stored_resolution - self.pictures.resolution) // 2
        whole = self.pictures.read(indices)[:, margin : margin + side, margin : margin + side]
        reduced = to_network(whole, self.resolution, "cpu").add(1.0).mul(127.5).round().clamp(0, 255)
        return reduced.permute(0, 2, 3, 1).numpy().astype(np.uint8)

    def captions(self, index: int) -> list[str]:
        return self.pictures.captions(index)

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return self.pictures.caption_counts

    def wordless(self) -> list[tuple[int, str]]:
        return self.pictures.wordless()

    def key(self, index: int) -> str:
        return self.pictures.key(index)

    def categories(self, indices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        return self.pictures.categories(indices)

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.pictures.counterfactual(index, caption, draw)
