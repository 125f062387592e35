"""Captioned pictures as people keep them: folders and tar shards, read as one stream of `Sample`s.

Reading a source reads its words only; a sample's picture stays where it is until `PictureFile.read` is called, so a stream of any
length costs little memory and may be read twice.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.core.errors import DataError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
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
EMPTY_CAPTION = "empty caption"
LONG_CAPTION = f"caption over {LONGEST_CAPTION:,} characters"
NOT_TEXT = "caption is not UTF-8 text"


@dataclass(frozen=True)
class PictureFile:
    """Where a picture's bytes lie: a whole file, or a stretch of a tar."""

    path: Path
    size: int
    offset: int = 0

    def read(self) -> bytes:
        """The bytes of the picture file, as they lie on the disk."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is said of a sample beside its captions."""

    split: str | None = None
    class_id: int | None = None
    class_name: str | None = None
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


def read_sources(sources: Sequence[Path]) -> Iterator[Sample]:
    """Every sample of folders and tar shards, in an order that depends on their names alone; raises DataError for what is neither."""
    from limner.data.folders import read_folder
    from limner.data.shards import read_shard

    for source in sources:
        if source.is_dir():
            yield from read_folder(source)
        elif source.is_file():
            if source.suffix.lower() in PICTURE_SUFFIXES:
                raise DataError(f"{source} is one picture: give the folder that holds it")
            yield from read_shard(source)
        else:
            raise _missing(source)


def _missing(source: Path) -> DataError:
    here = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
    nearest = difflib.get_close_matches(source.name, here, n=1, cutoff=0.6)
    hint = f"did you mean {source.parent / nearest[0]}?" if nearest else "give a folder of captioned pictures or a tar shard"
    return DataError(f"there is nothing at {source}: {hint}")


def clean_captions(lines: Iterable[str]) -> tuple[tuple[str, ...], str | None]:
    """The captions among the lines, with single spaces and composed accents, and what is wrong with them, if anything."""
    captions = tuple(caption for line in lines if (caption := unicodedata.normalize("NFC", " ".join(line.split()))))
    if not captions:
        return (), EMPTY_CAPTION
    if max(map(len, captions)) > LONGEST_CAPTION:
        return (), LONG_CAPTION
    try:
        "".join(captions).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return (), NOT_TEXT
    return captions, None


def decode_captions(content: bytes) -> tuple[tuple[str, ...], str | None]:
    """The captions of a text file, one a line."""
    try:
        return clean_captions(content.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError:
        return (), NOT_TEXT


def captions_of_field(value: Any) -> tuple[tuple[str, ...], str | None]:
    """The captions of a JSON value: a string, a list of strings, or nothing."""
    if value is None:
        return (), None
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return (), "text is neither a string nor a list of strings"
    return clean_captions(lines)


def read_labels(fields: Mapping[str, Any], split: str | None = None) -> Labels:
    """Split and class among the fields of a JSON object or a table's row; `split` holds where they name none."""
    given = str(fields.get("split") or "").strip()
    problem = None
    if given:
        split = SPLIT_NAMES.get(given.lower())
        problem = None if split else f"unknown split '{given[:40]}' (known: train, val, test)"
    class_id, class_name = _whole_number(fields.get("class_id")), _name(fields.get("class_name"))
    other = fields.get("class")
    if class_id is None and _whole_number(other) is not None:
        class_id = _whole_number(other)
    elif class_name is None:
        class_name = _name(other)
    return Labels(split=split, class_id=class_id, class_name=class_name, problem=problem)


def _whole_number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else None


def _name(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
