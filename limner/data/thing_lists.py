"""Lists of things in a file of their own, and which pictures of the sources they mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from limner.core.errors import DataError
from limner.data.sources import Sample, Thing

Parts = tuple[str, ...]


class ThingList(ABC):
    """A list of the things in pictures, by the names of their files.

    All pictures are noted first (`note`), then joined to the list's names (`settle`): a picture may only be known once all have been seen.
    """

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        """names: of the pictures that the list speaks of, as it has them."""
        self.path, self.matched = path, 0
        """matched: pictures without things of their own that the list speaks of."""
        self._listed = {name: _parts(name) for name in names}
        self._bare = {parts[-1] for parts in self._listed.values()}
        self._noted: list[tuple[Parts, bool]] = []
        self._name_of: dict[Parts, str] = {}

    def note(self, sample: Sample) -> None:
        """Take up a picture of the sources."""
        parts = _place(sample)
        if parts[-1] in self._bare:
            self._noted.append((parts, sample.labels.things is None))

    def settle(self) -> None:
        """Once all pictures are noted: join them to the list's names by the longest tails that their paths have in common.

        A tail that several share joins none of them. Raises DataError where that leaves open which picture is meant.
        """
        pictures = [parts for parts, _ in self._noted]
        joined: dict[int, str] = {}
        taken: set[str] = set()
        for length in range(max(map(len, pictures), default=0), 0, -1):
            ours, theirs = _by_tail(dict(enumerate(pictures)), length), _by_tail(self._listed, length)
            for tail in ours.keys() & theirs.keys():
                here = [number for number in ours[tail] if number not in joined]
                there = [name for name in theirs[tail] if name not in taken]
                if len(there) < len(theirs[tail]):
                    # Longer tails have told others of this tail apart: another folder is another picture, but a name may have no folder.
                    there = [name for name in there if len(self._listed[name]) == length]
                if len(here) == len(there) == 1:
                    joined[here[0]] = there[0]
                    taken.add(there[0])
                elif here and there:
                    raise self._unclear(there, ["/".join(pictures[number]) for number in here])
        self._name_of = {pictures[number]: name for number, name in joined.items()}
        self.matched = sum(self._noted[number][1] for number in joined)
        self._noted = []

    def _unclear(self, names: Sequence[str], pictures: Sequence[str]) -> DataError:
        listed, held = (" and ".join(f"'{each}'" for each in sorted(some)[:2]) for some in (names, pictures))
        return DataError(
            f"{self.path} does not say which picture is which: it lists {listed}, and there is {held} in the sources: "
            f"write the pictures' folders into its file_name, as in {sorted(pictures)[0]}, or prepare the folders apart"
        )

    def of(self, sample: Sample) -> Sample:
        """The sample with the things that the list has for its picture; what the sample says itself comes first."""
        if not self._name_of or sample.labels.things is not None or (name := self._name_of.get(_place(sample))) is None:
            return sample
        things, size = self.things(name)
        return replace(sample, labels=replace(sample.labels, things=things, things_size=size))

    @abstractmethod
    def things(self, name: str) -> tuple[tuple[Thing, ...], tuple[int, int] | None]:
        """The things of one of the list's pictures, and the width and height in whose pixels they are given, where they are known."""


def listed_name(image: Mapping[str, Any]) -> str:
    """The file name that a list in COCO's form has for a picture."""
    return PurePosixPath(image["file_name"].replace("\\", "/")).as_posix()


def files_by_id(images: Iterable[Mapping[str, Any]]) -> dict[Any, str]:
    """The file name of each picture of a list in COCO's form. ValueError for an id or a name that two have: one would take what the other's
    annotations say."""
    files: dict[Any, str] = {}
    ids: dict[str, Any] = {}
    for image in images:
        number, name = image["id"], listed_name(image)
        if files.setdefault(number, name) != name:
            raise ValueError(f"it has the image {number} twice, as '{files[number]}' and '{name}'")
        if ids.setdefault(name, number) != number:
            raise ValueError(f"it has '{name}' twice, as the images {ids[name]} and {number}")
    return files


def _parts(name: str) -> Parts:
    return PurePosixPath(name).parts or ("",)


def _place(sample: Sample) -> Parts:
    """Where a picture is, the source included: of `cats` and `dogs`, each given as a source, a list may have the names."""
    return sample.source, *_parts(sample.file)


def _by_tail(paths: Mapping[Any, Parts], length: int) -> dict[Parts, list[Any]]:
    """Paths by so many of their last parts; shorter ones have no such tail."""
    found: dict[Parts, list[Any]] = defaultdict(list)
    for key, parts in paths.items():
        if len(parts) >= length:
            found[parts[-length:]].append(key)
    return found
