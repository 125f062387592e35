"""Folders and tar shards of captioned pictures, read as one stream of samples.

Reading a source reads its words only; a sample's picture stays where it is until `PictureFile.read` is called, so a stream of any
length costs little memory and may be read twice.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from limner.core.errors import DataError
from limner.data.folders import read_folder
from limner.data.formats import CAPTION_SUFFIXES, OTHER_PICTURES, PICTURE_SUFFIXES, TABLE_SUFFIXES, suffix_of
from limner.data.shards import read_shard
from limner.data.sources import Sample


def read_sources(sources: Sequence[Path]) -> Iterator[Sample]:
    """Every sample of folders and tar shards, in an order that depends on their names alone; raises DataError for what is neither.

    Files that are not read, and may have been meant to be, come as samples that do not count (`Sample.counts`).
    """
    for source in sources:
        if source.is_dir():
            yield from read_folder(source)
        elif source.is_file():
            if suffix_of(source) in PICTURE_SUFFIXES | OTHER_PICTURES:
                raise DataError(f"{source} is one picture: give the folder that holds it")
            if suffix_of(source) in (*TABLE_SUFFIXES, *CAPTION_SUFFIXES):
                raise DataError(f"{source} holds no pictures: give the folder that holds it and the pictures")
            yield from read_shard(source)
        else:
            raise _missing(source)


def _missing(source: Path) -> DataError:
    here = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
    nearest = difflib.get_close_matches(source.name, here, n=1, cutoff=0.6)
    hint = f"did you mean {source.parent / nearest[0]}?" if nearest else "give a folder of captioned pictures or a tar shard"
    return DataError(f"there is nothing at {source}: {hint}")
