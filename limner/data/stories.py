"""Stories for methods that paint single pictures: each frame's caption is all that was said so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from limner.core.pictures import CaptionedPictures

if TYPE_CHECKING:
    from limner.core.layout import Layout


def so_far(sentences: Sequence[str]) -> list[str]:
    """For each frame the sentences up to its own in one caption: ["a", "b"] -> ["a", "a. b"]."""
    return [". ".join(sentences[: place + 1]) for place in range(len(sentences))]


def told_alone(pictures: CaptionedPictures) -> CaptionedPictures:
    """The set as a method meets it that paints single pictures: with all sentences so far in the captions of stories' frames."""
    return pictures if pictures.stories is None else ToldSoFar(pictures)


class ToldSoFar(CaptionedPictures):
    """Another set's pictures; the caption of a story's frame has the sentences of the frames before it, too. Other pictures keep theirs.

    Caption k of a frame is made of every frame's caption k, or of its last where it has fewer.
    """

    def __init__(self, pictures: CaptionedPictures) -> None:
        assert pictures.stories is not None
        self.pictures, self.stories = pictures, pictures.stories
        self.name, self.split, self.fingerprint = pictures.name, pictures.split, pictures.fingerprint
        self.resolution, self.stored_resolution = pictures.resolution, pictures.stored_resolution
        self.class_ids, self.class_count = pictures.class_ids, pictures.class_count
        self.category_names, self.label_names = pictures.category_names, pictures.label_names
        self.may_flip, self.mirrorable, self.mirrored = pictures.may_flip, pictures.mirrorable, pictures.mirrored
        before: dict[int, NDArray[np.int64]] = {}
        for story in self.stories:
            before.update((index, story[:place]) for place, index in enumerate(story.tolist()))
        self._before = before

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pictures.read(indices)

    def captions(self, index: int) -> list[str]:
        return [self._told(index, number, caption) for number, caption in enumerate(self.pictures.captions(index))]

    def _told(self, index: int, number: int, caption: str) -> str:
        """A caption of a frame, with what was said before it."""
        earlier = [self.pictures.captions(int(frame)) for frame in self._before.get(range(len(self))[index], ())]
        return so_far([*(said[min(number, len(said) - 1)] for said in earlier if said), caption])[-1]

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return self.pictures.caption_counts

    def wordless(self) -> list[tuple[int, str]]:
        return self.pictures.wordless()

    def key(self, index: int) -> str:
        return self.pictures.key(index)

    def categories(self, indices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        return self.pictures.categories(indices)

    def layouts(self, indices: NDArray[np.int64]) -> Layout | None:
        return self.pictures.layouts(indices)

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self._told(index, caption, self.pictures.counterfactual(index, caption, draw))
