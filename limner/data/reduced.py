"""A set at a lower resolution than it was prepared for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limner.core.pictures import CaptionedPictures
from limner.data.loader import to_network
from limner.data.wrapped import WrappedPictures


def at_resolution(pictures: CaptionedPictures, resolution: int) -> CaptionedPictures:
    """The same set at `resolution`, at most its own."""
    return pictures if pictures.resolution == resolution else ReducedPictures(pictures, resolution)


class ReducedPictures(WrappedPictures):
    """Another set's pictures without their margin, and so without their layouts, reduced as training reduces them."""

    def __init__(self, pictures: CaptionedPictures, resolution: int) -> None:
        super().__init__(pictures)
        self.resolution = self.stored_resolution = resolution
        self.label_names = ()

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        side, margin = self.pictures.resolution, (self.pictures.stored_resolution - self.pictures.resolution) // 2
        whole = self.pictures.read(indices)[:, margin : margin + side, margin : margin + side]
        reduced = to_network(whole, self.resolution, "cpu").add(1.0).mul(127.5).round().clamp(0, 255)
        return reduced.permute(0, 2, 3, 1).numpy().astype(np.uint8)

    def layouts(self, indices: NDArray[np.int64]) -> None:
        return None
