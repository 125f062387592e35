"""Zip archives as sources. Words are unpacked to a temporary folder; pictures stay in the archive until they are decoded."""

from __future__ import annotations

import lzma
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from limner.core.errors import DataError
from limner.data.formats import CAPTION_SUFFIXES, TABLE_SUFFIXES, suffix_of
from limner.data.sources import SPLIT_NAMES, PictureFile, Sample, Unreadable, left_alone, system_reason
from limner.data.tree import is_hidden

MOST_MEMBERS = 3_000_000
LARGEST_TEXT = 1 << 30
"""Bytes that a single member may unpack to."""
LARGEST_TEXTS = 4 << 30
"""Bytes that the words of an archive may unpack to, all together."""
DEEPEST = 100
"""Folders within folders: data sets do not come near."""
MOST_PACKED = 200
"""Times that a member of more than 16 MiB may grow when it is unpacked: text and pictures do not come near."""
_WORDS = {*CAPTION_SUFFIXES, *TABLE_SUFFIXES, ".cls", ".token"} - {".parquet"}
_PACKED = (".zip", ".tar", ".parquet")
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)
"""What Python's zipfile raises where an archive is damaged, encrypted or packed in a way that it does not know."""


def read_zip(path: Path, read_folder: Callable[[Path], Iterator[Sample]]) -> Iterator[Sample]:
    """The samples of a zip archive, read as `read_folder` reads a folder of the same files.

    Raises DataError for an archive that is damaged, encrypted, leads out of its folder or unpacks to more than it may.
    """
    with laid_out(path) as laid:
        for name in laid.packed:
            yield left_alone(name, path.stem, "archive within an archive: unpack it, and give it as a source of its own")
        for sample in _named_as_in(path, laid.root, read_folder(laid.root)):
            inside = sample.picture.path.relative_to(laid.root).as_posix() if sample.picture is not None else ""
            if sample.picture is not None and inside in laid.pictures:
                member = laid.pictures[inside]
                sample = replace(sample, picture=ZippedPicture(path, member.file_size, archive=laid.archive, member=member))
            yield sample


@dataclass(frozen=True)
class Laid:
    """An archive as a folder: words are there, and of all else the names."""

    root: Path
    archive: zipfile.ZipFile
    pictures: dict[str, zipfile.ZipInfo]
    """The members that only their names stand for."""
    packed: list[str]
    """Names of archives within, which are not laid out."""


@contextmanager
def laid_out(path: Path) -> Iterator[Laid]:
    """Lay an archive out in a temporary folder while the block runs. Raises DataError as `read_zip` does."""
    archive = _opened(path)
    members = _members(path, archive)
    with tempfile.TemporaryDirectory(prefix="limner-") as place:
        laid = Laid(Path(place) / (path.stem or "archive"), archive, {}, [])
        laid.root.mkdir()
        left = LARGEST_TEXTS
        for name, member in members.items():
            if suffix_of(name) in _PACKED:
                laid.packed.append(name)
                continue
            target = laid.root / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                if suffix_of(name) in _WORDS:
                    content = _content(path, archive, member, min(left, LARGEST_TEXT))
                    left -= len(content)
                    target.write_bytes(content)
                else:
                    target.touch()
                    laid.pictures[name] = member
            except FileExistsError:
                raise DataError(f"{path} has a file and a folder of one name, {name}: unpack it, and give the folder") from None
            except OSError as error:
                raise DataError(f"{name[:80]} of {path} {system_reason(error)}: unpack the archive, and give the folder") from None
        yield laid


def _named_as_in(path: Path, root: Path, samples: Iterator[Sample]) -> Iterator[Sample]:
    """The samples; what is wrong with the words speaks of the archive, and not of the folder that they were unpacked to."""
    try:
        yield from samples
    except DataError as error:
        raise DataError(str(error).replace(str(root), str(path))) from None


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except BROKEN as error:
        raise DataError(f"{path} is not a whole zip archive ({error}): download or pack it again") from None
    except OSError as error:
        raise DataError(f"{path} {system_reason(error)}: make it readable, or take it out") from None
    if len(archive.infolist()) > MOST_MEMBERS:
        raise DataError(f"{path} has {len(archive.infolist()):,} members, over {MOST_MEMBERS:,}: unpack it, and give the folder")
    return archive


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by name, without a single folder around them all."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = safe_name(member.filename)
        if name is None:
            raise DataError(f"{path} holds {ascii(member.filename[:60])}, which leads out of the archive: do not trust it")
        if member.is_dir() or not name or any(map(is_hidden, name.split("/"))):
            continue
        if name.count("/") > DEEPEST:
            raise DataError(
                f"{path} holds folders over {DEEPEST} deep ({name[:60]}...): unpack it, and give the folder that holds the pictures"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{path} holds a link, {name}: unpack it, and give the folder")
        if member.flag_bits & 1:
            raise DataError(f"{path} is encrypted: unpack it with its password, and give the folder")
        if name in found:
            raise DataError(f"{path} holds {name} twice: unpack it, and give the folder")
        found[name] = member
    tops = {name.partition("/")[0] for name in found}
    only = next(iter(tops), "")
    if len(tops) == 1 and only.lower() not in SPLIT_NAMES and all("/" in name for name in found):
        return {name.partition("/")[2]: member for name, member in found.items()}
    return found


def safe_name(name: str) -> str | None:
    """A member's name as a path below the archive's folder; None where it leads out of it."""
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match("[A-Za-z]:", plain) or "\0" in plain or ".." in PurePosixPath(plain).parts:
        return None
    return str(PurePosixPath(plain)) if plain.strip("/.") else ""


def _content(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """What a member unpacks to; DataError where that is more than `most` bytes, or grows as no honest file does."""
    if member.file_size > most or (member.file_size > 16 << 20 and member.file_size > MOST_PACKED * max(member.compress_size, 1)):
        raise DataError(f"{path} unpacks to more than it may ({member.filename[:80]}: {member.file_size:,} bytes): do not trust it")
    try:
        with archive.open(member) as stream:
            return stream.read()  # zipfile reads no more than the member's size
    except BROKEN as error:
        raise DataError(f"{path} is damaged at {member.filename[:80]} ({str(error)[:80]}): download or pack it again") from None


@dataclass(frozen=True, eq=False, kw_only=True)
class ZippedPicture(PictureFile):
    """A picture that lies in a zip archive."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    def read(self) -> bytes:
        """The bytes of the picture, at most as many as the archive says."""
        try:
            with self.archive.open(self.member) as stream:
                return stream.read(self.member.file_size)
        except BROKEN as error:
            raise Unreadable("damaged picture in a zip archive") from error
