"""Webdataset-style tar shards: the members of a sample stand together and share a key, the name up to its first dot."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limner.core.errors import DataError
from limner.data.sources import NO_PICTURE, PICTURE_SUFFIXES, Labels, PictureFile, Sample, captions_of_field, decode_captions, read_labels

_LARGEST_TEXT = 1 << 24


def read_shard(path: Path) -> Iterator[Sample]:
    """Every sample of an uncompressed tar, in its order.

    `KEY.txt` holds captions, one a line; `KEY.json` may hold split, class_id, class_name or class, and, where there is no
    text file, captions under text, caption or captions. Other members are left alone. Raises DataError for a file that is no whole tar.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            yield from _samples(path, tar)
            tar.fileobj.seek(tar.offset)
            # tarfile takes a damaged header for the end; at a true end there are zeros, or nothing.
            if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"damaged after byte {tar.offset:,}")
    except (tarfile.TarError, EOFError) as error:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        fix = "unpack it with gunzip first" if packed else "download or pack it again"
        raise DataError(f"cannot read {path} as an uncompressed tar ({' '.join(str(error).split())}): {fix}") from None


def _samples(path: Path, tar: tarfile.TarFile) -> Iterator[Sample]:
    key, members = "", dict[str, tarfile.TarInfo]()
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # else the whole table of contents stays in memory
        folder, _, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        if not member.isreg() or not stem or "__MACOSX" in folder:
            continue
        own_key = f"{folder}/{stem}".lstrip("./")
        if own_key != key and members:
            yield from _sample(path, tar, key, members)
            members = {}
        key = own_key
        members.setdefault(suffix.lower(), member)
    if members:
        yield from _sample(path, tar, key, members)


def _sample(path: Path, tar: tarfile.TarFile, key: str, members: dict[str, tarfile.TarInfo]) -> Iterator[Sample]:
    picture = next((PictureFile(path, members[s].size, members[s].offset_data) for s in members if f".{s}" in PICTURE_SUFFIXES), None)
    if picture is None and "txt" not in members:
        return  # a note, or a list of the shard's contents
    fields, problem = _fields(tar, members.get("json"))
    if problem is None and "txt" in members:
        captions, problem = decode_captions(_content(tar, members["txt"]))
    else:
        value = next((fields[name] for name in ("text", "captions", "caption") if fields.get(name) is not None), None)
        captions, problem = ((), problem) if problem else captions_of_field(value)
    labels = read_labels(fields) if fields else Labels()
    problem = (NO_PICTURE + " next to it") if picture is None else problem or labels.problem
    yield Sample(key=key, source=path.name, picture=picture, captions=() if problem else captions, labels=labels, problem=problem)


def _fields(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> tuple[dict[str, Any], str | None]:
    if member is None:
        return {}, None
    try:
        fields = json.loads(_content(tar, member))
    except ValueError:
        return {}, "JSON that cannot be read"
    return (fields, None) if isinstance(fields, dict) else ({}, "JSON that is no object")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > _LARGEST_TEXT:
        raise tarfile.ReadError(f"{member.name} is too large for text")
    stream = tar.extractfile(member)
    assert stream is not None  # the member is a regular file
    return stream.read()
