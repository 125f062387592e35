"""The folders of a source: their files by what they are, each folder once, links to folders followed."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from limner.data.columns import read_class, read_object
from limner.data.formats import OTHER_PICTURES, PICTURE_SUFFIXES, TABLE_SUFFIXES, stem_of, suffix_of
from limner.data.names import Index, Pairing, pair
from limner.data.sources import (
    NO_PICTURE,
    SHARED,
    SPLIT_NAMES,
    Labels,
    PictureFile,
    Reading,
    Sample,
    decode_captions,
    left_alone,
    system_reason,
)
from limner.data.tables import is_table


class Words(NamedTuple):
    """What is said of a picture: its captions and labels, what is wrong with them, and the file that it is wrong in."""

    captions: tuple[str, ...] = ()
    labels: Labels = Labels()
    problem: str | None = None
    where: str = ""


@dataclass
class Folder:
    """One folder of the tree: its files by name, and what they are."""

    path: Path
    files: list[str]
    reading: Reading = Reading()
    picture_folders: set[str] = field(default_factory=set)
    """Names of its sub-folders that have a picture's suffix."""

    @cached_property
    def names(self) -> frozenset[str]:
        """Its files, to be looked up."""
        return frozenset(self.files)

    @cached_property
    def pictures(self) -> list[str]:
        """Names of pictures that are read."""
        return [name for name in self.files if suffix_of(name) in PICTURE_SUFFIXES]

    @cached_property
    def tables(self) -> list[str]:
        """Names of the tables that are read: metadata.csv and its kin, or else captions.csv, train.jsonl and the like.

        Where the user has named the columns, every table that has them.
        """
        if self.reading.columns:
            lone = [name for name in self.pairing.lone if suffix_of(name) == ".txt"]
            named = [name for name in self.files if suffix_of(name) in TABLE_SUFFIXES and name not in self.sidecars]
            return [name for name in [*named, *lone] if is_table(self.path / name, self.reading.columns)]
        tables = [name for name in self.files if suffix_of(name) in TABLE_SUFFIXES and name not in self.sidecars]
        named = [name for name in tables if stem_of(name).lower() == "metadata"]
        if named:
            return named
        others = [name for name in tables if stem_of(name).lower() in ("captions", *SPLIT_NAMES)]
        others += [name for name in self.files if name.lower() == "captions.txt" and name not in self.pairing.texts.values()]
        return [name for name in others if is_table(self.path / name)]

    @cached_property
    def sidecars(self) -> set[str]:
        """JSON files about one picture each, whose name they have."""
        stems = {stem_of(name) for name in self.files if suffix_of(name) in PICTURE_SUFFIXES | OTHER_PICTURES}
        return {name for name in self.files if suffix_of(name) == ".json" and stem_of(name) in stems}

    @cached_property
    def pairing(self) -> Pairing:
        """Which caption file belongs to which picture."""
        return pair(self.pictures, self.files)

    @cached_property
    def stems(self) -> Counter[str]:
        """How many pictures have a name up to the suffix."""
        return Counter(stem_of(name) for name in self.pictures)

    @cached_property
    def untold(self) -> Counter[str]:
        """How many pictures without a caption file have a name up to the suffix."""
        return Counter(stem_of(name) for name in self.pictures if name not in self.pairing.texts)


class Tree:
    """The folders of a source, and what has been said of its pictures."""

    def __init__(self, root: Path, reading: Reading | None = None) -> None:
        self.root, self.reading = root, reading or Reading()
        self._start = os.path.join(str(root), "")
        self.folders: dict[str, Folder] = {}
        self.unread: list[Sample] = []
        """What cannot be opened, and links that lead nowhere new."""
        self.listed: dict[str, tuple[str, object]] = {}
        """Pictures that a table lists, by path: the table, and what it says of them."""
        self._walk()

    def _walk(self) -> None:
        real_root = os.path.realpath(self.root)
        seen: set[tuple[int, int]] = set()

        def unreadable(error: OSError) -> None:
            self.unread.append(self.reject(Path(error.filename), f"folder that {system_reason(error)}"))

        for place, folders, files in os.walk(self.root, onerror=unreadable, followlinks=True):
            inner = []
            for name in sorted(name for name in folders if not is_hidden(name)):
                path = Path(place, name)
                try:
                    status = path.stat()
                except OSError as error:
                    unreadable(error)
                    continue
                if path.is_symlink():
                    real = os.path.realpath(path)
                    common = os.path.commonpath([real, real_root])
                    # What lies in a hidden folder of the source is read by its link alone.
                    hidden = common == real_root and any(map(is_hidden, Path(os.path.relpath(real, real_root)).parts))
                    inside = common in (real, real_root) and not hidden
                    if inside or (status.st_dev, status.st_ino) in seen:
                        self.unread.append(left_alone(self.name(path), self.root.name, "link to a folder that is read already"))
                        continue
                elif (status.st_dev, status.st_ino) in seen:
                    continue  # within a folder that a link has led to before
                seen.add((status.st_dev, status.st_ino))
                inner.append(name)
            folders[:] = inner
            files = sorted(name for name in files if not is_hidden(name))
            named_so = {name for name in inner if suffix_of(name) in PICTURE_SUFFIXES}
            self.folders[os.path.normpath(place)] = Folder(Path(place), files, self.reading, named_so)

    def has(self, path: Path) -> bool:
        """Whether a path leads to a file, or to what has a picture's name."""
        folder = self.folders.get(os.path.normpath(path.parent))
        return folder is not None and (path.name in folder.names or path.name in folder.picture_folders)

    def name(self, path: Path) -> str:
        """A path as it is called within the source."""
        whole = str(path)
        inside = whole.startswith(self._start) and ".." not in path.parts
        return (whole[len(self._start) :] if inside else os.path.relpath(path, self.root)).replace(os.sep, "/")

    def reject(self, path: Path, problem: str, where: str = "") -> Sample:
        """A sample that cannot be used."""
        return Sample(
            key=self.key(path),
            source=self.root.name,
            picture=None,
            captions=(),
            labels=Labels(),
            problem=problem,
            file=self.name(path),
            where=where,
        )

    def key(self, path: Path) -> str:
        """A picture's name without its suffix, unless others of its folder have the same."""
        folder = self.folders.get(os.path.normpath(path.parent))
        name = self.name(path)
        if folder is not None and folder.stems[stem_of(path.name)] > 1:
            return name
        return os.path.splitext(name)[0]

    def split(self, path: Path) -> str | None:
        """The split that a first sub-folder names."""
        first, slash, _ = self.name(path).partition("/")
        return SPLIT_NAMES.get(first.lower()) if slash else None

    def index(self, below: Path) -> Index:
        """The files of a folder and those below it that look like pictures."""
        start = os.path.normpath(below)
        return Index(
            Path(os.path.relpath(Path(place) / name, start)).as_posix()
            for place, folder in self.folders.items()
            if place == start or place.startswith(start.rstrip(os.sep) + os.sep) or start == "."
            for name in folder.files
            if suffix_of(name) in PICTURE_SUFFIXES | OTHER_PICTURES
        )

    def picture(self, path: Path) -> tuple[PictureFile | None, str | None]:
        """The picture at a path, or why it cannot be read."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return None, "link that leads to nothing" if path.is_symlink() else NO_PICTURE
        except OSError as error:
            return None, f"picture that {system_reason(error)}"
        except ValueError:  # a NUL in the name
            return None, NO_PICTURE
        if not stat.S_ISREG(status.st_mode):
            return None, "folder in place of a picture" if stat.S_ISDIR(status.st_mode) else "device or pipe in place of a picture"
        return PictureFile(path, status.st_size), None

    def words(self, path: Path) -> Words:
        """What the files of a picture's name say of it."""
        folder = self.folders.get(os.path.normpath(path.parent))
        labels = Labels(split=self.split(path))
        if folder is None:
            return Words(labels=labels)
        text, sidecar = folder.pairing.texts.get(path.name), f"{path.stem}.json"
        captions: tuple[str, ...] = ()
        shared = path.name in folder.pairing.shared
        problem, where = None, "" if text == f"{path.stem}.txt" else text or ""
        try:
            if text:
                captions, problem = decode_captions((folder.path / text).read_bytes())
            if sidecar in folder.sidecars:
                found, labels, wrong = read_object((folder.path / sidecar).read_bytes(), labels.split, captioned=bool(text))
                captions, problem, where = captions if text else found, problem or wrong, where if problem else sidecar
                shared = shared or (bool(found) and folder.untold[path.stem] > 1)
            if (numbered := f"{path.stem}.cls") in folder.names:
                labels = read_class((folder.path / numbered).read_bytes(), labels)
                problem, where = problem or labels.problem, where if problem else numbered
        except OSError as error:
            problem = f"caption file that {system_reason(error)}"
        if shared:
            return Words((), labels, SHARED)
        return Words(() if problem else captions, labels, problem, where if problem else "")


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the set's: hidden, or what macOS leaves behind."""
    return name.startswith(".") or name == "__MACOSX"
