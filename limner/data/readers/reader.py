"""What a reader of a known layout is, and what all of them share: every file of a source is used, or named with a reason."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from limner.data.formats import CAPTION_SUFFIXES, OTHER_PICTURES, PICTURE_SUFFIXES, TABLE_SUFFIXES, suffix_of, unread_file, unread_picture
from limner.data.sources import NO_PICTURE, Labels, Sample, clean_captions, left_alone
from limner.data.tree import Folder, Tree

Marks = Mapping[str, bool]
"""What a layout is known by, in words, and whether it is there."""


class Reader(ABC):
    """Reads one known layout."""

    name: str
    """Of the data set, or of the form."""

    @abstractmethod
    def marks(self, tree: Tree) -> Marks:
        """What the layout is known by, and whether the folder has it."""

    @abstractmethod
    def read(self, tree: Tree) -> Iterator[Sample]:
        """Every sample of a folder that has all marks."""


def recognises(reader: Reader, tree: Tree) -> bool:
    """Whether a folder has all that a reader's layout is known by."""
    return all(reader.marks(tree).values())


@dataclass
class Said:
    """What a layout says of one picture."""

    captions: tuple[str, ...] = ()
    labels: Labels = Labels()
    problem: str | None = None
    where: str = ""


Lost = tuple[str, str, str]
"""Captions that no picture takes: the picture's name, the problem, and the line or file that speaks of it."""


@dataclass
class Account:
    """What a reader makes of a folder's files."""

    said: dict[Path, Said] = field(default_factory=dict)
    """Of pictures that are there, by their path."""
    lost: list[Lost] = field(default_factory=list)
    """Captions that no picture takes."""
    read: set[Path] = field(default_factory=set)
    """Files that words were taken from."""
    homes: set[Path] = field(default_factory=set)
    """Folders all of whose pictures belong to the set."""
    labels_of: Callable[[Path], Labels] = lambda path: Labels()
    """What is known of a picture without captions: it must not be trained on where its class or its list is held out."""

    def say(self, path: Path, said: Said, second: Lost) -> None:
        """Note what is said of a picture; its folder becomes a home. second: what is lost where the picture has been spoken of before."""
        if path in self.said:
            self.lost.append(second)
            return
        self.said[path] = said
        self.homes.add(path.parent)

    def unsaid(self, path: Path) -> Said:
        """What is said of a picture without captions: its split is that of its folder, where nothing else is known of it."""
        labels = self.labels_of(path)
        if labels.split is None and len(splits := self._splits.get(path.parent, set())) == 1:
            labels = replace(labels, split=next(iter(splits)))
        return Said(labels=labels)

    @cached_property
    def _splits(self) -> dict[Path, set[str | None]]:
        """The splits of each folder's pictures that are spoken of. Asked for once all of them are."""
        found: dict[Path, set[str | None]] = defaultdict(set)
        for path, said in self.said.items():
            found[path.parent].add(said.labels.split)
        return found


def samples_of(tree: Tree, account: Account, name: str) -> Iterator[Sample]:
    """The samples of an account. What belongs to no caption, and to no picture, comes with its reason; name: the layout's."""
    source = tree.root.name
    for folder in tree.folders.values():
        for file in folder.files:
            path = folder.path / file
            if suffix_of(file) in PICTURE_SUFFIXES:
                if path in account.said:
                    yield _sample(tree, path, account.said[path])
                elif folder.path in account.homes:
                    yield _sample(tree, path, account.unsaid(path))
                else:
                    yield left_alone(tree.name(path), source, f"picture outside the pictures of {name}")
            elif suffix_of(file) in OTHER_PICTURES and folder.path in account.homes:
                yield tree.reject(path, str(unread_picture(file)))
            elif suffix_of(file) in {*CAPTION_SUFFIXES, *TABLE_SUFFIXES, *OTHER_PICTURES} and path not in account.read:
                yield left_alone(tree.name(path), source, f"file of {name} that no captions are taken from")
            elif suffix_of(file) == ".tar" or unread_file(file):
                yield left_alone(tree.name(path), source, f"archive or file that is not read with {name}: give it as a source of its own")
    for picture, problem, where in account.lost:
        yield Sample(
            key=os.path.splitext(picture)[0],
            source=source,
            picture=None,
            captions=(),
            labels=Labels(),
            problem=problem,
            file=picture,
            where=where,
        )
    yield from tree.unread


def _sample(tree: Tree, path: Path, said: Said) -> Sample:
    picture, unreadable = tree.picture(path)
    problem = unreadable or said.problem
    return Sample(
        key=tree.key(path),
        source=tree.root.name,
        picture=picture,
        captions=() if problem else said.captions,
        labels=said.labels,
        problem=problem,
        file=tree.name(path),
        where=said.where,
    )


def said_lines(lines: Sequence[str], labels: Labels, where: str = "") -> Said:
    """What some lines of captions say."""
    captions, problem = clean_captions(lines)
    return Said(captions, labels, problem, where if problem else "")


def pictures_by_stem(tree: Tree, folders: Sequence[Folder] | None = None) -> dict[str, list[Path]]:
    """Paths of pictures by their names without suffix."""
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in tree.folders.values() if folders is None else folders:
        for file in folder.pictures:
            found[os.path.splitext(file)[0]].append(folder.path / file)
    return found


def files_called(tree: Tree, names: Set[str]) -> list[Path]:
    """The files of these names, given in small letters."""
    return [folder.path / file for folder in tree.folders.values() for file in folder.files if file.lower() in names]


def lines_of(path: Path) -> list[str]:
    """The names of a list, one a line; they may hold blanks."""
    return [name for line in path.read_text("utf-8-sig", errors="replace").splitlines() if (name := line.strip())]


def below(path: Path, root: Path) -> tuple[str, ...]:
    """The parts of a path below a folder."""
    return Path(os.path.relpath(path, root)).parts


def missing(picture: str, where: str) -> Lost:
    """What `Account.lost` holds of captions without a picture."""
    return picture, NO_PICTURE, where


def twice(picture: str, where: str) -> Lost:
    """What `Account.lost` holds of a line of a list about a picture that an earlier line is about."""
    return picture, "picture that is listed twice", where
