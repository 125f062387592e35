"""Another set's pictures, as they are: the base of sets that change one thing of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from limner.core.pictures import CaptionedPictures

if TYPE_CHECKING:
    from limner.core.layout import Layout


class WrappedPictures(CaptionedPictures):
    """All pictures of another set, with all that is known of them. What derives from it overrides what it changes."""

    def __init__(self, pictures: CaptionedPictures) -> None:
        self.pictures = pictures
        self.name, self.split, self.holds, self.fingerprint = pictures.name, pictures.split, pictures.holds, pictures.fingerprint
        self.resolution, self.stored_resolution = pictures.resolution, pictures.stored_resolution
        self.class_ids, self.class_count, self.class_names = pictures.class_ids, pictures.class_count, pictures.class_names
        self.stories, self.category_names, self.label_names = pictures.stories, pictures.category_names, pictures.label_names
        self.may_flip, self.mirrorable, self.mirrored = pictures.may_flip, pictures.mirrorable, pictures.mirrored

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pictures.read(indices)

    @property
    def ahead(self) -> bool:
        return self.pictures.ahead

    def expect(self, indices: NDArray[np.int64]) -> None:
        self.pictures.expect(indices)

    def captions(self, index: int) -> list[str]:
        return self.pictures.captions(index)

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return self.pictures.caption_counts

    def wordless(self) -> list[tuple[int, str]]:
        return self.pictures.wordless()

    def key(self, index: int) -> str:
        return self.pictures.key(index)

    def layouts(self, indices: NDArray[np.int64]) -> Layout | None:
        return self.pictures.layouts(indices)

    def categories(self, indices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        return self.pictures.categories(indices)

    def check_counterfactuals(self) -> None:
        self.pictures.check_counterfactuals()

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.pictures.counterfactual(index, caption, draw)
