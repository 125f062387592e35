"""Stories for methods that paint single pictures: each frame's caption is all that was said so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limner.core.pictures import CaptionedPictures
from limner.data.wrapped import WrappedPictures


def so_far(sentences: Sequence[str]) -> list[str]:
    """For each frame the sentences up to its own in one caption: ["a", "b"] -> ["a", "a. b"]."""
    return [". ".join(sentences[: place + 1]) for place in range(len(sentences))]


def told_alone(pictures: CaptionedPictures) -> CaptionedPictures:
    """The set as a method meets it that paints single pictures: with all sentences so far in the captions of stories' frames."""
    return pictures if pictures.stories is None else ToldSoFar(pictures)


class ToldSoFar(WrappedPictures):
    """Another set's pictures; the caption of a story's frame has the sentences of the frames before it, too. Other pictures keep theirs.

    Caption k of a frame is made of every frame's caption k, or of its last where it has fewer.
    """

    def __init__(self, pictures: CaptionedPictures) -> None:
        super().__init__(pictures)
        assert self.stories is not None
        before: dict[int, NDArray[np.int64]] = {}
        for story in self.stories:
            before.update((index, story[:place]) for place, index in enumerate(story.tolist()))
        self._before = before
        if self.mirrorable is not None:
            # What an earlier frame says of left and right is in the captions of all after it.
            self.mirrorable = self.mirrorable.copy()
            self.mirrorable[self.stories] = np.logical_and.accumulate(self.mirrorable[self.stories], axis=1)

    def captions(self, index: int) -> list[str]:
        return [self._told(index, number, caption) for number, caption in enumerate(self.pictures.captions(index))]

    def _told(self, index: int, number: int, caption: str) -> str:
        """A caption of a frame, with what was said before it."""
        earlier = [self.pictures.captions(int(frame)) for frame in self._before.get(range(len(self))[index], ())]
        return so_far([*(said[min(number, len(said) - 1)] for said in earlier if said), caption])[-1]

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self._told(index, caption, self.pictures.counterfactual(index, caption, draw))
