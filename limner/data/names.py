"""File names that a person takes for equal, though a computer does not: which picture a caption file, or a row of a table, means."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from limner.data.formats import CAPTION_SUFFIXES, OTHER_PICTURES, PICTURE_SUFFIXES, stem_of, suffix_of


def plain(name: str) -> str:
    """A name without what operating systems and programs write in unlike ways: composed accents, capitals and backslashes."""
    return unicodedata.normalize("NFC", name).casefold().replace("\\", "/")


def without_suffix(name: str) -> str:
    """The name without its last suffix, where that is a picture's."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in PICTURE_SUFFIXES or suffix.lower() in OTHER_PICTURES else name


@dataclass
class Pairing:
    """Which captions belong to which picture of one folder."""

    texts: dict[str, str] = field(default_factory=dict)
    """picture -> its caption file"""
    shared: set[str] = field(default_factory=set)
    """Pictures of one name with one caption file for them all, which may be of any of them."""
    second: list[str] = field(default_factory=list)
    """Caption files of pictures that have one before."""
    lone: list[str] = field(default_factory=list)
    """Caption files that no picture has the name of."""


def pair(pictures: Sequence[str], files: Iterable[str]) -> Pairing:
    """Pair the pictures and caption files of one folder: `a.jpg` with `a.txt`, else with `a.jpg.txt`.

    Names that are not equal to the letter count as equal where they differ in capitals or composed accents alone, and one picture
    and one caption file have them.
    """
    pairing, rest = Pairing(), sorted((name for name in files if suffix_of(name) in CAPTION_SUFFIXES), key=_rank)
    for spelt in (str, plain):
        names: dict[str, list[str]] = defaultdict(list)
        stems: dict[str, list[str]] = defaultdict(list)
        for picture in pictures:
            if spelt is str or picture not in pairing.texts:
                names[spelt(picture)].append(picture)
                stems[spelt(stem_of(picture))].append(picture)
        # Whose name is a caption file's to the suffix has a file of its own, though others have the same stem.
        own = {picture for text in rest for picture in names.get(spelt(stem_of(text)), ())}
        lone = []
        for text in rest:
            stem = spelt(stem_of(text))
            fits = stems.get(stem) or names.get(stem) or []
            if len(fits) > 1:
                fits = [picture for picture in fits if picture not in own]
            if spelt is plain and len(fits) > 1:
                fits = []  # A.jpg, a.JPG and one A.TXT: nobody can know
            if len(fits) > 1:
                pairing.shared.update(fits)
            elif fits and fits[0] in pairing.texts:
                pairing.second.append(text)
            elif fits:
                pairing.texts[fits[0]] = text
            else:
                lone.append(text)
        rest = lone
    pairing.lone = sorted(rest)
    return pairing


def _rank(text: str) -> tuple[int, bool, bool, str]:
    """What goes first of several caption files of one picture: a.txt, a.TXT, a.jpg.txt, a.caption."""
    stem = stem_of(text)
    return CAPTION_SUFFIXES.index(suffix_of(text)), without_suffix(stem) != stem, text != text.lower(), text


class Index:
    """The files of a folder and those below it, looked up by the names that tables give them."""

    def __init__(self, files: Iterable[str]) -> None:
        """files: paths relative to the folder, with slashes."""
        self._files = list(files)

    @cached_property
    def _found(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for file in self._files:
            whole = plain(file)
            for name in (whole, whole.rpartition("/")[2]):
                found[name].add(file)
                found[without_suffix(name)].add(file)
        return found

    def find(self, name: str) -> tuple[str | None, str | None]:
        """The file that a table calls `name`, or what is wrong; both None where there is none.

        Capitals, accents, backslashes and a missing suffix make no difference where only one file fits. A bare name is looked for
        below the folder too. Of a path from the root of a disk, the end counts that leads to a file of the folder; of another path
        that leads nowhere, the end that leads to a file from here, for it may be seen from a folder above.
        """
        tidy = plain(name).removeprefix("./")
        absolute = tidy.startswith("/") or re.match(r"[a-z]:/", tidy)
        parts = tidy.split("/")
        for start in range(1 if absolute else 0, len(parts)):
            fits = self._fits("/".join(parts[start:]), below=bool(absolute) or start == 0)
            if len(fits) > 1:
                return None, f"file_name fits {len(fits)} files"
            if fits:
                return fits[0], None
        return None, None

    def _fits(self, name: str, below: bool) -> list[str]:
        found = sorted(self._found.get(name, ()))
        # A name that leads on from the folder goes before the same name further below.
        near = [file for file in found if plain(file) == name] or [file for file in found if without_suffix(plain(file)) == name]
        return near or (found if below else [])
