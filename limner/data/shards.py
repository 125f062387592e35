"""Webdataset-style tar shards: the members of a sample stand together and share a key, the name up to its first dot."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping

from limner.core.errors import DataError
from limner.data.columns import read_class, read_object
from limner.data.formats import (
    CAPTION_SUFFIXES,
    PICTURE_SUFFIXES,
    TABLE_SUFFIXES,
    is_note,
    suffix_of,
    unread_companion,
    unread_file,
    unread_picture,
)
from limner.data.remote import RemoteFile, RemotePicture, Source
from limner.data.sources import NO_PICTURE, Labels, PictureFile, Sample, decode_captions, left_alone, system_reason
from limner.data.tree import is_hidden

_LARGEST_TEXT = 1 << 24
_PACKED = {
    b"\x1f\x8b": "unpack it with gunzip first",
    b"BZh": "unpack it with bunzip2 first",
    b"\xfd7zXZ": "unpack it with unxz first",
    b"\x28\xb5\x2f\xfd": "unpack it with unzstd first",
    b"PK\x03\x04": "it is a zip file: unpack it, and give the folder",
    b"Rar!": "it is a rar file: unpack it, and give the folder",
    b"7z\xbc\xaf": "it is a 7z file: unpack it, and give the folder",
    b"PAR1": "it is a parquet file: write its pictures into a folder with a metadata.jsonl",
}
"""How packed files begin, and what to do."""


def read_shard(path: Source) -> Iterator[Sample]:
    """Every sample of an uncompressed tar, in its order.

    `KEY.txt` or `KEY.caption` holds captions, one a line; `KEY.json` may hold split, class_id, class_name or class, and, where there is no
    text file, captions (`limner.data.columns.COLUMNS`); `KEY.cls` holds a class. Pictures and captions of other names come as samples with
    a problem, or as `left_alone`. Raises DataError for a file that is not a whole tar.
    """
    try:
        with path.open("rb") as opened, tarfile.open(fileobj=opened, mode="r:") as tar:
            yield from _samples(path, tar)
            tar.fileobj.seek(tar.offset)
            # tarfile takes a damaged header for the end; at a true end there are zeros, or nothing.
            if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"damaged after byte {tar.offset:,}")
    except (tarfile.TarError, EOFError) as error:
        with path.open("rb") as stream:
            start = stream.read(8)
        fix = next((fix for packed, fix in _PACKED.items() if start.startswith(packed)), "download or pack it again")
        raise DataError(f"cannot read {path} as an uncompressed tar ({' '.join(str(error).split())}): {fix}") from None
    except OSError as error:
        if isinstance(path, RemoteFile):
            raise DataError(f"{path} cannot be read: {error}") from None
        raise DataError(f"{path} {system_reason(error)}: make it readable, or take it out") from None


def _samples(path: Source, tar: tarfile.TarFile) -> Iterator[Sample]:
    key, members = "", dict[str, tarfile.TarInfo]()
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # else the whole table of contents stays in memory
        folder, _, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        parts = [part for part in folder.split("/") if part not in ("", ".")]
        if member.isdir() or not stem or any(is_hidden(part) and part != ".." for part in parts):
            continue
        own_key = "/".join([*parts, stem])
        if own_key != key and members:
            yield from _sample(path, tar, key, members)
            members = {}
        key = own_key
        if suffix.lower() in members:
            yield left_alone(member.name, path.name, "second file of one name in a shard")
        members.setdefault(suffix.lower(), member)
    if members:
        yield from _sample(path, tar, key, members)


def _sample(path: Source, tar: tarfile.TarFile, key: str, members: Mapping[str, tarfile.TarInfo]) -> Iterator[Sample]:
    pictures = [suffix for suffix in members if f".{suffix}" in PICTURE_SUFFIXES]
    picture = members[pictures[0]] if pictures else None
    # a.jpg.txt is taken for a.txt, as in a folder
    endings = [suffix[1:] for suffix in CAPTION_SUFFIXES] + [f"{own}{suffix}" for own in pictures for suffix in CAPTION_SUFFIXES]
    texts = [members[ending] for ending in endings if ending in members]
    described = members.get("json")
    for suffix, member in members.items():
        if member is not described and suffix != "cls" and member not in texts and suffix not in pictures:
            yield from _surplus(path, suffix, member, bool(pictures))
    for member in texts[1:]:
        yield left_alone(member.name, path.name, "second caption file of a picture")
    captions: tuple[str, ...] = ()
    problem, labels = None, Labels()
    if described is not None:
        captions, labels, problem = read_object(_content(tar, described), None, captioned=bool(texts))
    numbered = members.get("cls")
    if numbered is not None:
        labels = read_class(_content(tar, numbered), labels)
        problem = problem or labels.problem
    if texts and problem is None:
        captions, problem = decode_captions(_content(tar, texts[0]))
    if picture is None:
        if any(unread_picture(f"a.{suffix}") for suffix in members):
            return  # what is wrong with the picture has been said
        if not texts and not captions:
            if described is not None:
                yield left_alone(described.name, path.name, "JSON without a picture or a caption")
            return
        if is_note((texts[0] if texts else members["json"]).name):
            yield left_alone((texts[0] if texts else members["json"]).name, path.name, "note on the set")
            return
        problem = NO_PICTURE + " next to it"
    elif len(pictures) > 1:
        problem = "several pictures under one name"
    elif not picture.isreg():
        problem = "link or device in a shard in place of a picture"
    yield Sample(
        key=key,
        source=path.name,
        picture=None if picture is None or not picture.isreg() else _stretch(path, picture),
        captions=() if problem else captions,
        labels=labels,
        problem=problem,
        file="" if picture is None else picture.name,
    )


def _stretch(path: Source, member: tarfile.TarInfo) -> PictureFile:
    """Where a member's bytes lie."""
    if isinstance(path, RemoteFile):
        return RemotePicture.of(path, member.size, member.offset_data)
    return PictureFile(path, member.size, member.offset_data)


def _surplus(path: Source, suffix: str, member: tarfile.TarInfo, pictured: bool) -> Iterator[Sample]:
    """What is said of a member that is neither a sample's picture nor its captions."""
    last = suffix_of(member.name)
    reason = unread_picture(member.name) or unread_file(member.name)
    if reason is None and "." in suffix and (last in PICTURE_SUFFIXES or last in CAPTION_SUFFIXES):
        reason = "name with a dot before its suffix (a key ends at the first dot: rename it)"
    elif reason is None and last in TABLE_SUFFIXES:
        reason = "table within a shard that is not read (unpack the shard and give the folder)"
    if reason is None and pictured and "." not in suffix:
        reason = unread_companion(member.name)
    if reason is None:
        return
    lost = not pictured and (last in PICTURE_SUFFIXES or unread_picture(member.name) is not None)
    yield Sample(
        key=member.name,
        source=path.name,
        picture=None,
        captions=(),
        labels=Labels(),
        problem=reason,
        file=member.name,
        counts=lost,
    )


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > _LARGEST_TEXT:
        raise tarfile.ReadError(f"{member.name} is too large for text")
    stream = tar.extractfile(member)
    return stream.read() if stream is not None and member.isreg() else b""
