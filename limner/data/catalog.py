"""Data sets by name or folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import DataError, unknown_name
from limner.core.pictures import CaptionedPictures
from limner.core.settings import DataSettings
from limner.data.garden import CLASS_NAMES, Garden
from limner.data.prepared import open_prepared

BUILT_IN = ("garden",)


def open_data(name: str, split: str, resolution: int, settings: DataSettings | None = None, length: int | None = None) -> CaptionedPictures:
    """Open one split of a built-in set by name, or of a prepared set by folder.

    length: how many pictures a built-in set paints; by default `settings.garden_pictures` in the train split, its own number in the others.
    Raises DataError, saying what to do, for a folder that is not prepared, and SettingsError for a name that does not exist.
    """
    settings = settings or DataSettings()
    if name == "garden":
        return GardenPictures(
            Garden(split, length=length or (settings.garden_pictures if split == "train" else None), resolution=resolution)
        )
    check_name(name)
    return open_prepared(Path(name), split, resolution)


def check_name(name: str) -> None:
    """Raise LimnerError for what is neither a built-in set nor a folder that is there."""
    if name in BUILT_IN or Path(name).exists():
        return
    if Path(name).parent == Path("."):
        raise unknown_name("data set or folder", name, BUILT_IN)
    raise DataError(f"there is no folder {name}: give one that `limner data prepare` wrote, or {' or '.join(BUILT_IN)}")


class GardenPictures(CaptionedPictures):
    """A split of the garden, painted whole when a picture is first read, and kept."""

    name = "garden"
    class_names = CLASS_NAMES
    may_flip = False  # its light falls from one side, and a bouquet's captions will speak of left and right

    def __init__(self, garden: Garden) -> None:
        self.garden = garden
        self.split = garden.split
        self.resolution = self.stored_resolution = garden.resolution
        indices = np.arange(len(garden))
        self.class_ids = garden.class_ids(indices)
        self.class_count = len(CLASS_NAMES)
        self._counts = np.full(len(garden), garden.captions_per_picture, dtype=np.int64)
        rows, numbers = (values.ravel() for values in np.meshgrid(indices, np.arange(garden.captions_per_picture), indexing="ij"))
        self._captions = [caption.text for caption in garden.captions(rows, numbers)]
        self._pictures: NDArray[np.uint8] | None = None
        text = "\n".join(self._captions) + repr(garden)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.garden)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        if self._pictures is None:
            self._pictures = self._paint_all()
        return self._pictures[np.asarray(indices)]

    def _paint_all(self, chunk: int = 256) -> NDArray[np.uint8]:
        pictures = np.empty((len(self), self.resolution, self.resolution, 3), np.uint8)

        def paint(start: int) -> None:
            rows = np.arange(start, min(start + chunk, len(self)))
            pictures[rows] = self.garden.pictures(rows)

        with ThreadPoolExecutor(2) as pool:  # NumPy's loops let a second thread work
            list(pool.map(paint, range(0, len(self), chunk)))
        return pictures

    def captions(self, index: int) -> list[str]:
        count = self.garden.captions_per_picture
        return self._captions[index * count : (index + 1) * count]

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return self._counts

    def key(self, index: int) -> str:
        return self.garden.key(index)

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.garden.counterfactual(index, caption, draw).text

    def counterfactuals(self, indices: NDArray[np.int64], captions: NDArray[np.int64], draws: NDArray[np.int64]) -> list[str]:
        return [caption.text for caption in self.garden.counterfactuals(indices, captions, draws)]
