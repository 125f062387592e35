"""What a source of captioned pictures gives: `Sample`s. `limner.data.reading` reads them from folders and tar shards."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LONGEST_CAPTION = 2_000
"""Characters; longer texts are articles, not captions."""

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names under which splits are met, and Limner's."""

NO_PICTURE = "caption without a picture"
NO_CAPTION = "no caption"
SHARED = "picture that shares its name and its caption file with another"
EMPTY_CAPTION = "empty caption"
LONG_CAPTION = f"caption over {LONGEST_CAPTION:,} characters"
BARE_TABLE = "table without captions,"
NOT_TEXT = "caption is not UTF-8 text"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How sources are to be read, where their user says so."""

    columns: tuple[str, str] | None = None
    """What tables call a picture's file and its captions; None for the usual names."""
    tags: bool = False
    """Whether captions are lists of tags."""
    recognised: dict[str, None] = field(default_factory=dict, compare=False)
    """The known layouts that were met, noted while sources are read."""


class Unreadable(Exception):
    """A picture whose bytes cannot be had; its text is the reason."""


@dataclass(frozen=True)
class PictureFile:
    """Where a picture's bytes lie: a whole file, or a stretch of a tar."""

    path: Path
    size: int
    offset: int = 0

    @property
    def start(self) -> tuple[int, ...]:
        """What tells it from other pictures of the same file."""
        return (self.offset,)

    def read(self) -> bytes:
        """The bytes of the picture file, as they lie on the disk."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing in a picture, as its source places it."""

    label: str
    box: tuple[float, float, float, float]
    """Left, top, width and height in pixels of the upright picture."""
    mask: Any = None
    """Polygons, or runs of pixels column by column, as COCO writes them; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is said of a sample besides its captions."""

    split: str | None = None
    class_id: int | None = None
    class_name: str | None = None
    story: str | None = None
    """The story that it is a frame of."""
    frame: int | None = None
    """Its number among the story's frames."""
    attributes: tuple[float, ...] | None = None
    """Numbers that describe it."""
    categories: tuple[str, ...] | None = None
    """Names of what it shows, of which there may be several; None where nothing is said of that."""
    things: tuple[Thing, ...] | None = None
    """What stands where; None where nothing is said of that."""
    things_size: tuple[int, int] | None = None
    """Width and height of the picture in whose pixels `things` are given, where it may have been stored in another size since."""
    problem: str | None = None

    @property
    def class_key(self) -> tuple[int, str] | None:
        """What tells classes apart and puts them in order: the id, then the name; None without a class."""
        if self.class_id is None and self.class_name is None:
            return None
        return (-1 if self.class_id is None else self.class_id, self.class_name or "")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture with its captions, or what is left of one."""

    key: str
    """Its name in the source, without the suffix."""
    source: str
    """The last part of the source's path."""
    picture: PictureFile | None
    captions: tuple[str, ...]
    """Cleaned captions: none where there is no caption file, or where `problem` says what is wrong with them."""
    labels: Labels
    problem: str | None = None
    """Why the sample cannot be used, as far as its words tell."""
    file: str = ""
    """The name of the picture's file in the source, with its suffix."""
    where: str = ""
    """The line that speaks of it, such as "metadata.csv, line 3", where a table does."""
    counts: bool = True
    """Whether it is one of the set's samples. False for a file that was left alone: `key` is its name, and `problem` the reason."""


def left_alone(key: str, source: str, reason: str) -> Sample:
    """A file, or a part of one, that is not read: by all that can be seen, it is neither a picture nor a caption of the set."""
    return Sample(key=key, source=source, picture=None, captions=(), labels=Labels(), problem=reason, counts=False)


def system_reason(error: OSError) -> str:
    """What the system says of a file that cannot be opened."""
    return f"cannot be opened ({error.strerror or error})"


def clean_captions(lines: Iterable[str]) -> tuple[tuple[str, ...], str | None]:
    """The captions among the lines, with single spaces and composed accents, and what is wrong with them, if anything."""
    captions = tuple(caption for line in lines if (caption := unicodedata.normalize("NFC", " ".join(line.split()))))
    if not captions:
        return (), EMPTY_CAPTION
    if max(map(len, captions)) > LONGEST_CAPTION:
        return (), LONG_CAPTION
    return (captions, None) if is_text("".join(captions)) else ((), NOT_TEXT)


def is_text(value: str) -> bool:
    """Whether UTF-8 can hold it: not half of a surrogate pair, which JSON can."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def quoted(value: str) -> str:
    """The first 40 characters in quotes, for a message; what UTF-8 cannot hold is escaped."""
    return f"'{value[:40]}'".encode(errors="backslashreplace").decode()


def decode_captions(content: bytes) -> tuple[tuple[str, ...], str | None]:
    """The captions of a text file, one a line."""
    try:
        return clean_captions(content.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError:
        return (), NOT_TEXT
