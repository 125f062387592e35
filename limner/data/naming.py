"""What the pictures of a prepared set are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from limner.data.sources import Sample


class Namer:
    """The names of pictures in a set: their keys, or SOURCE/NAME.SUFFIX where the sources have a key more than once."""

    def __init__(self, shared: Set[str]) -> None:
        self._shared, self._given = shared, Counter[str]()

    def __call__(self, sample: Sample) -> str:
        if sample.key not in self._shared:
            return sample.key
        name = f"{sample.source}/{sample.file or sample.key}"
        self._given[name] += 1
        return name if self._given[name] == 1 else f"{name}#{self._given[name]}"

    @property
    def renamed(self) -> int:
        """How many pictures have not got their key for a name."""
        return self._given.total()
