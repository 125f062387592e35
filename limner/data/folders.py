"""A folder of pictures with same-name `.txt` captions, or with `metadata.jsonl` or `metadata.csv`, sub-folders included."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.core.errors import DataError
from limner.data.shards import read_shard
from limner.data.sources import (
    NO_PICTURE,
    PICTURE_SUFFIXES,
    SPLIT_NAMES,
    Labels,
    PictureFile,
    Sample,
    captions_of_field,
    clean_captions,
    decode_captions,
    read_labels,
)

_NOT_CAPTIONS = ("readme", "licence", "license", "copying")


@dataclass
class _Row:
    """What a metadata file says of one picture, gathered over its rows."""

    lines: list[str] = field(default_factory=list)
    labels: Labels = Labels()
    spoken_for: bool = False
    problem: str | None = None


def read_folder(root: Path) -> Iterator[Sample]:
    """Every sample of a folder, by name; tar shards found in it are read too. A first sub-folder called train, val or test is a split.

    A metadata file speaks for its own folder and those below; pictures that it does not list may still have a `.txt`.
    """
    listed: set[str] = set()
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        folder, files = Path(place), sorted(name for name in files if not _is_hidden(name))
        for name in files:
            if name.lower() in ("metadata.jsonl", "metadata.csv"):
                yield from _listed_samples(root, folder / name, listed)
        pictures = [name for name in files if Path(name).suffix.lower() in PICTURE_SUFFIXES]
        texts = {Path(name).stem: name for name in files if name.lower().endswith(".txt")}
        for name in pictures:
            if os.path.normpath(folder / name) not in listed:
                yield _plain_sample(root, folder / name, texts.get(Path(name).stem))
        for stem in sorted(texts.keys() - {Path(name).stem for name in pictures}):
            if not stem.lower().startswith(_NOT_CAPTIONS):
                yield Sample(
                    key=_key(root, folder / texts[stem]), source=root.name, picture=None, captions=(), labels=Labels(), problem=NO_PICTURE
                )
        for name in files:
            if name.lower().endswith(".tar"):
                yield from read_shard(folder / name)


def _plain_sample(root: Path, path: Path, text: str | None) -> Sample:
    captions, problem = decode_captions((path.parent / text).read_bytes()) if text else ((), None)
    labels = Labels(split=_folder_split(root, path))
    return Sample(
        key=_key(root, path),
        source=root.name,
        picture=PictureFile(path, path.stat().st_size),
        captions=captions,
        labels=labels,
        problem=problem,
    )


def _listed_samples(root: Path, metadata: Path, listed: set[str]) -> Iterator[Sample]:
    rows: dict[str, _Row] = {}
    read = _json_rows if metadata.suffix.lower() == ".jsonl" else _table_rows
    for fields in read(metadata):
        row = rows.setdefault(str(fields["file_name"]).strip(), _Row())
        row.labels = read_labels(fields, _folder_split(root, metadata.parent / str(fields["file_name"])))
        value = fields.get("text")
        if value is not None:
            captions, problem = captions_of_field(value)
            row.spoken_for = True
            row.lines.extend(captions)
            # An empty cell beside full ones is no loss: it is judged when all rows of the picture are together.
            row.problem = row.problem or (problem if captions or value not in ("", []) else None)
    for name, row in rows.items():
        path = Path(os.path.normpath(metadata.parent / name))
        captions, problem = clean_captions(row.lines) if row.spoken_for else ((), None)
        problem = row.problem or row.labels.problem or problem
        picture = None
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            problem = problem or f"file_name is no picture ({', '.join(PICTURE_SUFFIXES)})"
        elif not path.is_relative_to(os.path.normpath(root)):
            problem = "file_name leads out of the folder"
        elif not path.is_file():
            problem = NO_PICTURE
        elif str(path) in listed:
            continue  # metadata.csv and metadata.jsonl of one set, side by side
        else:
            listed.add(str(path))
            picture = PictureFile(path, path.stat().st_size)
        yield Sample(
            key=_key(root, path),
            source=root.name,
            picture=picture,
            captions=() if problem else captions,
            labels=row.labels,
            problem=problem,
        )


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line.decode("utf-8-sig"))
            except ValueError as error:
                raise DataError(f"{path}, line {number} is not JSON in UTF-8 ({error}): mend or remove the line") from None
            if not isinstance(fields, dict) or not fields.get("file_name"):
                raise DataError(f'{path}, line {number} has no file_name: write {{"file_name": "a.jpg", "text": "a caption"}}')
            yield fields


def _table_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            for wanted in ("file_name", "text"):
                if wanted not in (reader.fieldnames or ()):
                    raise DataError(f"{path} has no column '{wanted}': begin it with file_name,text[,class,split]")
            for fields in reader:
                if not fields["file_name"]:
                    raise DataError(f"{path}, line {reader.line_num} has no file_name: name the picture, or remove the line")
                yield fields
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it again as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path} is not a table that can be read ({error}): quote texts that hold commas or line ends") from None


def _folder_split(root: Path, path: Path) -> str | None:
    """The split that a first sub-folder names."""
    parts = Path(os.path.relpath(path, root)).parts
    return SPLIT_NAMES.get(parts[0].lower()) if len(parts) > 1 else None


def _key(root: Path, path: Path) -> str:
    return Path(os.path.relpath(path, root)).with_suffix("").as_posix()


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
