"""Which split a sample is in: as it says itself, or made anew by class or by picture."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from limner.core import random
from limner.core.errors import DataError
from limner.data.sources import Sample

SplitBy = Literal["auto", "class", "picture"]
LEAST_CLASSES = 10
"""Fewer classes than this are not parted by themselves: too few would be held out."""


class Splitter:
    """Counts the samples first (`count`), decides (`decide`), then tells each sample's split, in the same order of samples (`split_of`)."""

    def __init__(self, split_by: SplitBy, validation: float, test: float, seed: int) -> None:
        self.split_by, self.shares, self.seed = split_by, (validation, test), seed
        self.made = ""
        self._keys: set[tuple[int, str]] = set()
        self._captioned_keys: set[tuple[int, str]] = set()
        self._given: dict[str, int] = {}
        self._captioned = self._next = 0
        self._classes: dict[tuple[int, str], int] = {}
        self._parts: NDArray[np.str_] = np.zeros(0, "U5")
        self._part_of: dict[tuple[int, str], str] = {}

    @property
    def has_classes(self) -> bool:
        return bool(self._keys)

    @property
    def trains(self) -> bool:
        """Whether there will be captioned training pictures."""
        return self.made != "given" or "train" in self._given

    def count(self, sample: Sample) -> None:
        key = sample.labels.class_key
        if key is not None:
            self._keys.add(key)
        if not sample.captions:
            return
        self._captioned += 1
        if key is not None:
            self._captioned_keys.add(key)
        split = sample.labels.split or ""
        self._given[split] = self._given.get(split, 0) + 1

    def decide(self) -> None:
        self._classes = {key: number for number, key in enumerate(sorted(self._keys))}
        if self.split_by == "auto" and set(self._given) != {""}:
            self.made = "given"
            if "" in self._given:  # who names no split beside others who do is for training
                self._given["train"] = self._given.get("train", 0) + self._given.pop("")
            return
        if self.split_by == "class" and len(self._captioned_keys) < 3:
            raise DataError(f"--split-by class needs at least 3 classes, and there are {len(self._captioned_keys)}: use --split-by picture")
        by_class = self.split_by == "class" or (self.split_by == "auto" and len(self._captioned_keys) >= LEAST_CLASSES)
        self.made = "class" if by_class else "picture"
        count = len(self._captioned_keys) if by_class else self._captioned
        held_out = [round(share * count) for share in self.shares]
        if by_class:
            held_out = [max(1, number) if share else 0 for number, share in zip(held_out, self.shares)]
        names = ["val"] * held_out[0] + ["test"] * held_out[1]
        order = random.permutation(count, self.seed, "split")
        self._parts = np.full(count, "train", "U5")
        self._parts[order[: len(names)]] = names
        if by_class:
            self._part_of = dict(zip(sorted(self._captioned_keys), self._parts.tolist()))

    def split_of(self, sample: Sample) -> str:
        if self.made == "given":
            return sample.labels.split or "train"
        if self.made == "class":
            key = sample.labels.class_key
            return "train" if key is None else self._part_of.get(key, "train")
        if not sample.captions:
            return "train"
        self._next += 1
        if self._next > len(self._parts):
            raise DataError("the sources changed while they were read: start again when nothing writes to them")
        return str(self._parts[self._next - 1])

    def class_id(self, sample: Sample) -> int:
        """The class by number, from 0, in the order of given ids and names."""
        key = sample.labels.class_key
        assert key is not None  # asked only where every sample has a class
        return self._classes[key]

    def class_names(self) -> list[str]:
        return [name or str(number) for number, name in self._classes]
