"""Which split a sample is in: as it says itself, or made anew by class or by picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from limner.core import random
from limner.core.errors import DataError
from limner.data.sources import Sample

SplitBy = Literal["auto", "class", "picture"]
LEAST_CLASSES = 10
"""Fewer classes than this are not parted by themselves: too few would be held out."""


@dataclass
class _Group:
    """What is known of some of the samples: their number, their classes, and how many name each split ("" for none)."""

    count: int = 0
    keys: set[tuple[int, str]] = field(default_factory=set)
    given: dict[str, int] = field(default_factory=dict)
    stories: dict[str, int] = field(default_factory=dict)
    """Each story with its place among all that is parted as one: stories, and single pictures."""


class Splitter:
    """Counts the samples first (`count`), decides (`decide`), then tells each sample's split, in the same order of samples (`split_of`).

    Samples with captions are parted, and those without join the training; where none has a caption, all are parted. A story is parted as
    one, frames without captions included.
    """

    def __init__(self, split_by: SplitBy, validation: float, test: float, seed: int) -> None:
        self.split_by, self.shares, self.seed = split_by, (validation, test), seed
        self.made = ""
        self._captioned, self._bare = _Group(), _Group()
        self._next = 0
        self._classes: dict[tuple[int, str], int] = {}
        self._parts: NDArray[np.str_] = np.zeros(0, "U5")
        self._part_of: dict[tuple[int, str], str] = {}
        self._whole: dict[tuple[int, str], tuple[int, str]] = {}
        """Classes of which some samples say the id or the name alone, with both."""

    @property
    def has_classes(self) -> bool:
        """Whether any of the samples counted has a class."""
        return bool(self._captioned.keys or self._bare.keys)

    @property
    def trains(self) -> bool:
        """Whether there will be training pictures, with captions where any sample has one."""
        return self.made != "given" or "train" in self._parted.given

    @property
    def _parted(self) -> _Group:
        return self._captioned if self._captioned.count else self._bare

    def count(self, sample: Sample) -> None:
        """Note a sample, its class and the split that it names."""
        group = self._captioned if sample.captions else self._bare
        story = sample.labels.story
        if story is not None:
            group.stories.setdefault(story, group.count)
        group.count += story is None or group.stories[story] == group.count
        if sample.labels.class_key is not None:
            group.keys.add(sample.labels.class_key)
        split = sample.labels.split or ""
        group.given[split] = group.given.get(split, 0) + 1

    def decide(self) -> None:
        """Once all samples are counted: settle which of them, or which classes, belong to which split."""
        self._whole = _whole_keys(self._captioned.keys | self._bare.keys)
        for group in (self._captioned, self._bare):
            group.keys = {self._whole.get(key, key) for key in group.keys}
        self._classes = {key: number for number, key in enumerate(sorted(self._captioned.keys | self._bare.keys))}
        given, keys = self._parted.given, self._parted.keys
        if self.split_by == "auto" and set(given) != {""}:
            self.made = "given"
            if "" in given:  # a sample that names no split where others do is for training
                given["train"] = given.get("train", 0) + given.pop("")
            return
        if self.split_by == "class" and len(keys) < 3:
            raise DataError(f"--split-by class needs at least 3 classes, and there are {len(keys)}: use --split-by picture")
        told = bool(self._parted.stories)
        if self.split_by == "class" and told:
            raise DataError("--split-by class would part the frames of stories: leave it out, and stories are kept whole")
        by_class = self.split_by == "class" or (self.split_by == "auto" and len(keys) >= LEAST_CLASSES and not told)
        self.made = "class" if by_class else "story" if told else "picture"
        count = len(keys) if by_class else self._parted.count
        held_out = [round(share * count) for share in self.shares]
        if by_class:
            held_out = [max(1, number) if share else 0 for number, share in zip(held_out, self.shares)]
        if sum(held_out) >= count > 0:
            what = "classes" if by_class else "stories" if told else "pictures"
            raise DataError(
                f"--validation {self.shares[0]:g} and --test {self.shares[1]:g} hold out {held_out[0]} and {held_out[1]} of {count} "
                f"{what}, and nothing is left to train on: give a smaller share of one, or 0"
            )
        names = ["val"] * held_out[0] + ["test"] * held_out[1]
        order = random.permutation(count, self.seed, "split")
        self._parts = np.full(count, "train", "U5")
        self._parts[order[: len(names)]] = names
        if by_class:
            self._part_of = dict(zip(sorted(keys), self._parts.tolist()))

    def split_of(self, sample: Sample) -> str:
        """The split of a sample: "train", "val" or "test". Samples come in the order in which they were counted."""
        if self.made == "given":
            return sample.labels.split or "train"
        if self.made == "class":
            key = sample.labels.class_key
            return "train" if key is None else self._part_of.get(self._whole.get(key, key), "train")
        story = sample.labels.story
        place = self._next if story is None else self._parted.stories.get(story, self._next)
        if not sample.captions and self._captioned.count:  # joins its story, or else the training
            return str(self._parts[place]) if story in self._parted.stories else "train"
        if place >= len(self._parts):
            raise DataError("the sources changed while they were read: start again when nothing writes to them")
        self._next += place == self._next
        return str(self._parts[place])

    def class_id(self, sample: Sample) -> int:
        """The class by number, from 0, in the order of given ids and names."""
        key = sample.labels.class_key
        assert key is not None  # asked only where every sample has a class
        return self._classes[self._whole.get(key, key)]

    def class_names(self) -> list[str]:
        """The names of all classes, in the order of their ids."""
        return [name or str(number) for number, name in self._classes]


def _whole_keys(keys: set[tuple[int, str]]) -> dict[tuple[int, str], tuple[int, str]]:
    """Ids without a name, and names without an id, with the class that has both, where there is one such class only."""
    both = [key for key in keys if key[0] >= 0 and key[1]]
    found = {}
    for number, name in keys:
        fits = [key for key in both if key[0] == number] if not name else [key for key in both if key[1] == name] if number < 0 else []
        if len(fits) == 1:
            found[number, name] = fits[0]
    return found
