"""What the built-in worlds share: endless sets, of which everything follows from a split, a seed and a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limner.core.errors import SettingsError
from limner.data.garden.attributes import SPLIT_LENGTHS, check_split
from limner.data.garden.painting import check_resolution

Item = TypeVar("Item")


class SeededSet(Sequence[Item]):
    """An endless set of captioned things; nothing is painted before it is asked for. What derives from it says what thing `index` is."""

    thing: ClassVar[str]
    things: ClassVar[str]
    stream: ClassVar[str]
    """The first part of the names of its random streams."""
    keyed: ClassVar[str]
    """The first part of its keys."""

    def __init__(
        self, split: str = "train", seed: int = 0, length: int | None = None, resolution: int = 64, captions_per_picture: int = 5
    ) -> None:
        """Open a set.

        Args:
            split: "train", "val", "test", or "all", where nothing is held out, to train a judge of pictures.
            seed: another seed is another set.
            length: how many things; by default 20,000 (train, all), 2,000 (val) or 4,000 (test).
            resolution: width and height of the pictures in pixels.
            captions_per_picture: captions of each picture.

        Raises:
            SettingsError: an unknown split, or a number out of range.
        """
        self.split, self.seed = check_split(split), seed
        self.length = SPLIT_LENGTHS[split] if length is None else length
        self.resolution, self.captions_per_picture = check_resolution(resolution), captions_per_picture
        self._stream = f"{self.stream}-{split}"
        if self.length < 1:
            raise SettingsError(f"a garden of {self.length} {self.things} is empty: give a length of at least 1")
        if captions_per_picture < 1:
            raise SettingsError(f"captions_per_picture is {captions_per_picture}: every picture needs at least 1")

        self._begin()

    def _begin(self) -> None:
        """Make what a set needs besides."""

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return f"{type(self).__name__}(split='{self.split}', seed={self.seed}, length={self.length}, resolution={self.resolution})"

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(self.length))

    def key(self, index: int) -> str:
        """The name of a thing: split, seed and index."""
        return f"{self.keyed}-{self.split}-{self.seed}-{index:06d}"

    def checked(self, index: int) -> int:
        """An index from the start. Raises IndexError beyond the end."""
        i = int(index) + (self.length if index < 0 else 0)
        if not 0 <= i < self.length:
            raise IndexError(f"{self.thing} {index} of a garden of {self.length}")
        return i


def paired(*parts: ArrayLike) -> list[NDArray[np.int64]]:
    """Numbers and arrays of them, all of one length."""
    return [np.atleast_1d(part) for part in np.broadcast_arrays(*(np.asarray(part, np.int64) for part in parts))]
