"""A folder of pictures with caption files of their names, or with tables such as `metadata.csv`, sub-folders included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from limner.core.errors import DataError
from limner.data.formats import (
    CAPTION_SUFFIXES,
    OTHER_PICTURES,
    PICTURE_SUFFIXES,
    TABLE_SUFFIXES,
    is_note,
    stem_of,
    suffix_of,
    unread_companion,
    unread_file,
    unread_picture,
)
from limner.data.listed import listed_samples
from limner.data.parquet import read_parquet, unread_parquet
from limner.data.shards import read_shard
from limner.data.sources import NO_PICTURE, SPLIT_NAMES, Sample, left_alone
from limner.data.tables import HEADER, header_of, other_layout
from limner.data.tree import Folder, Tree

_TEXT_TABLES = tuple(suffix for suffix in TABLE_SUFFIXES if suffix != ".parquet")
_READ = PICTURE_SUFFIXES.union(CAPTION_SUFFIXES, TABLE_SUFFIXES, OTHER_PICTURES, (".tar", ".cls"))


def read_folder(tree: Tree) -> Iterator[Sample]:
    """Every sample of a folder, by name; tar shards and parquet files found in it are read too.

    A first sub-folder called train, val or test is a split.

    A metadata file speaks for its own folder and those below; pictures that it does not list may still have a caption file.
    Files that look like pictures or captions and cannot be used come as samples with a problem, or as `left_alone`.
    """
    _check_columns(tree)
    for folder in tree.folders.values():
        for name in folder.tables:
            yield from listed_samples(tree, folder.path / name)
        yield from _plain_samples(tree, folder)
        for name in folder.files:
            if name.lower().endswith(".tar"):
                yield from read_shard(folder.path / name)
            elif name.lower().endswith(".parquet") and name not in folder.tables:
                yield from _parquet(tree, folder.path / name)
    yield from tree.unread


def _parquet(tree: Tree, path: Path) -> Iterator[Sample]:
    if reason := unread_parquet(path, tree.reading):
        yield left_alone(tree.name(path), tree.root.name, reason)
        return
    name = os.path.splitext(tree.name(path))[0]
    yield from read_parquet(path, name, tree.root.name, tree.reading, tree.split(path))


def _check_columns(tree: Tree) -> None:
    """Raise DataError where the user has named columns, and no table has them."""
    chosen = tree.reading.columns
    if chosen is None or any(folder.tables or _parquets(folder) for folder in tree.folders.values()):
        return
    found = (
        f"{tree.name(folder.path / name)} has {', '.join(header)[:120]}"
        for folder in tree.folders.values()
        for name in folder.files
        if suffix_of(name) in (".csv", ".tsv", ".txt") and len(header := header_of(folder.path / name)) > 1
    )
    there = next(found, "no table was found")
    raise DataError(f"no table in {tree.root} has the columns '{chosen[0]}' and '{chosen[1]}' ({there}): correct --columns")


def _parquets(folder: Folder) -> bool:
    return any(name.lower().endswith(".parquet") for name in folder.files)


def _plain_samples(tree: Tree, folder: Folder) -> Iterator[Sample]:
    """The samples of one folder that no table lists, and what is left over in it."""
    for name in folder.pictures:
        path = folder.path / name
        if os.path.normpath(path) not in tree.listed:
            yield _plain_sample(tree, path)
    others = {stem_of(name): name for name in folder.files if suffix_of(name) not in PICTURE_SUFFIXES.union(CAPTION_SUFFIXES)}
    unread_stems = {stem_of(name) for name in folder.files if suffix_of(name) in OTHER_PICTURES}
    for name in folder.pairing.lone:
        if name not in folder.tables:
            yield from _lone_text(tree, folder, name, others, unread_stems)
    for name in folder.pairing.second:
        yield left_alone(tree.name(folder.path / name), tree.root.name, "second caption file of a picture")
    for name in folder.files:
        path = folder.path / name
        reason = unread_picture(name)
        if reason and os.path.normpath(path) not in tree.listed:
            if folder.stems[path.stem]:
                yield left_alone(tree.name(path), tree.root.name, reason)  # its JPEG lies next to it
            else:
                yield replace(tree.reject(path, reason), key=tree.name(path))
        elif suffix_of(name) in _TEXT_TABLES and name not in folder.tables and name not in folder.sidecars:
            reason = f"table of another name (to be read, call it metadata{suffix_of(name)}, or pass --columns FILE,TEXT)"
            if stem_of(name).lower() in ("captions", *SPLIT_NAMES):
                reason = f"table without columns file_name and text (a CSV begins with {HEADER})"
            reason = (suffix_of(name) == ".json" and other_layout(path)) or reason
            yield left_alone(tree.name(path), tree.root.name, reason)
        elif unread_file(name):
            yield left_alone(tree.name(path), tree.root.name, str(unread_file(name)))
        elif suffix_of(name) and suffix_of(name) not in _READ and folder.stems[stem_of(name)]:
            yield left_alone(tree.name(path), tree.root.name, unread_companion(name))
    for name in sorted(folder.picture_folders):
        below = tree.folders.get(os.path.normpath(folder.path / name))
        if below is None or not below.files:
            yield tree.reject(folder.path / name, "folder in place of a picture")


def _lone_text(tree: Tree, folder: Folder, name: str, others: dict[str, str], unread_stems: set[str]) -> Iterator[Sample]:
    """What is said of a caption file that no picture has the name of."""
    path = folder.path / name
    stem = stem_of(name)
    if stem in unread_stems or any(stem_of(link) == stem or link == stem for link in folder.picture_folders):
        return  # what is wrong with the picture is said of the picture
    other = others.get(stem)
    if other is not None and suffix_of(other) not in (".json", ""):
        yield replace(tree.reject(path, f"caption of a {suffix_of(other)} file in place of a picture"), key=tree.key(path))
    elif is_note(name):
        yield left_alone(tree.name(path), tree.root.name, "note on the set")
    else:
        yield tree.reject(path, NO_PICTURE)


def _plain_sample(tree: Tree, path: Path) -> Sample:
    picture, unreadable = tree.picture(path)
    captions, labels, problem, where = tree.words(path)
    return Sample(
        key=tree.key(path),
        source=tree.root.name,
        picture=picture,
        captions=() if problem else captions,
        labels=labels,
        problem=unreadable or problem,
        file=tree.name(path),
        where="" if unreadable else where,
    )
