"""Pictures that a set holds more than once, and the split that each of them is in: a test must not ask for what was trained."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


class Equals:
    """Knows every picture by its pixels. together: whether a picture joins the split of the first one equal to it."""

    def __init__(self, together: bool) -> None:
        self.together = together
        self.joined = 0
        """Pictures that were put into another split than the one drawn for them, where one equal to them is."""
        self.across = 0
        """Pictures in another split than the first one equal to them."""
        self.example: tuple[str, str] | None = None
        """The first one of either: its name, and that of the picture that it is equal to."""
        self._first: dict[bytes, tuple[str, str]] = {}

    def split_of(self, key: str, pixels: NDArray[np.uint8], split: str) -> str:
        """The split of a picture as it is stored. key: its name; split: the one that was given to it, or drawn for it."""
        digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()
        other, first = self._first.setdefault(digest, (key, split))
        if first == split:
            return split
        self.example = self.example or (key, other)
        self.joined += self.together
        self.across += not self.together
        return first if self.together else split
