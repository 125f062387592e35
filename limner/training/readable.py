"""Captioned pictures without the captions that an encoder cannot read, such as "..." where words are read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limner.core.pictures import CaptionedPictures
from limner.data.wrapped import WrappedPictures
from limner.text.encoder import TextEncoder


def readable(pictures: CaptionedPictures, encoder: TextEncoder) -> tuple[CaptionedPictures, list[str]]:
    """The pictures with the captions that the encoder reads, and those that it does not. Where it reads all, the pictures themselves."""
    kept: dict[int, list[int]] = {}
    left_out: list[str] = []
    for index in np.flatnonzero(pictures.caption_counts).tolist() if encoder.reads else ():
        captions = pictures.captions(index)
        numbers = [number for number, caption in enumerate(captions) if encoder.words(caption)]
        if len(numbers) < len(captions):
            kept[index] = numbers
            left_out += [caption for number, caption in enumerate(captions) if number not in numbers]
    return (ReadablePictures(pictures, kept) if kept else pictures), left_out


class ReadablePictures(WrappedPictures):
    """Another set's pictures, all of them, with a part of their captions.

    kept: of the pictures that lose captions, the numbers of those that stay.
    """

    def __init__(self, pictures: CaptionedPictures, kept: dict[int, list[int]]) -> None:
        super().__init__(pictures)
        self.kept = kept
        self._counts = pictures.caption_counts.copy()
        for index, numbers in kept.items():
            self._counts[index] = len(numbers)

    def captions(self, index: int) -> list[str]:
        captions = self.pictures.captions(index)
        return [captions[number] for number in self.kept[index]] if index in self.kept else captions

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return self._counts

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.pictures.counterfactual(index, self.kept[index][caption] if index in self.kept else caption, draw)
