"""Folders, zip archives, parquet files and tar shards of captioned pictures, read as one stream of samples.

Reading a source reads its words only; a sample's picture stays where it is until `PictureFile.read` is called, so a stream of any
length costs little memory and may be read twice.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from limner.core.errors import DataError
from limner.data.folders import read_folder
from limner.data.formats import CAPTION_SUFFIXES, OTHER_PICTURES, PICTURE_SUFFIXES, TABLE_SUFFIXES, stem_of, suffix_of
from limner.data.parquet import read_parquet
from limner.data.readers.known import reader_for
from limner.data.remote import RemoteFile, Source
from limner.data.shards import read_shard
from limner.data.sources import Reading, Sample
from limner.data.tags import with_tags
from limner.data.tree import Tree
from limner.data.zipped import read_zip


def read_sources(sources: Sequence[Source], reading: Reading | None = None) -> Iterator[Sample]:
    """Every sample of some sources, in an order that depends on their names alone; raises DataError for what is no source.

    Files that are not read, and may have been meant to be, come as samples that do not count (`Sample.counts`).
    """
    reading = reading or Reading()
    for source in sources:
        samples = _read(source, reading)
        yield from map(with_tags, samples) if reading.tags else samples


def _read(source: Source, reading: Reading) -> Iterator[Sample]:
    if isinstance(source, RemoteFile):
        if suffix_of(source.name) != ".tar":
            raise DataError(f"{source} is not a tar shard, and nothing else is read from an address: download it, and give the file")
        yield from read_shard(source)
    elif source.is_dir():
        yield from read_any_folder(source, reading)
    elif source.is_file():
        suffix = suffix_of(source)
        if not source.stat().st_size:
            raise DataError(f"{source} is empty: download or pack it again")
        if suffix in PICTURE_SUFFIXES | OTHER_PICTURES:
            raise DataError(f"{source} is one picture: give the folder that holds it")
        if _begins(source, b"PK"):
            yield from read_zip(source, lambda folder: read_any_folder(folder, reading))
        elif _begins(source, b"PAR1"):
            yield from read_parquet(source, stem_of(source), source.name, reading)
        elif suffix in (*TABLE_SUFFIXES, *CAPTION_SUFFIXES):
            raise DataError(f"{source} holds no pictures: give the folder that holds it and the pictures")
        else:
            yield from read_shard(source)
    else:
        raise _missing(source)


def read_any_folder(root: Path, reading: Reading) -> Iterator[Sample]:
    """The samples of a folder, by the reader that recognises it, or else as a folder of pictures with captions of their names."""
    tree = Tree(root, reading)
    reader = None if reading.columns else reader_for(tree)
    if reader is not None:
        reading.recognised[reader.name] = None
    yield from reader.read(tree) if reader else read_folder(tree)


def _begins(path: Path, sign: bytes) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(sign)) == sign
    except OSError:
        return False


def _missing(source: Path) -> DataError:
    if source.exists():
        return DataError(f"{source} is a device or a pipe: give a folder of captioned pictures, a zip archive or a shard")
    here = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
    nearest = difflib.get_close_matches(source.name, here, n=1, cutoff=0.6)
    hint = f"did you mean {source.parent / nearest[0]}?" if nearest else "give a folder of captioned pictures, a zip archive or a shard"
    return DataError(f"there is nothing at {source}: {hint}")
