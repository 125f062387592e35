"""Large files from the network: resumed where they broke off, checked, and under their name only when they are whole."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import limner
from limner.core.errors import DataError
from limner.core.files import cache_folder, sync, write_whole
from limner.core.json_text import parse_json

Progress = Callable[[int, int, str], None]
"""Called with the bytes that are there, all bytes (0 while that is not known), and what is being done."""

_PIECE = 1 << 18
PATIENCE_SECONDS = 60.0
"""How long a server may be silent."""
ATTEMPTS = 5
"""Connections in a row that may bring nothing."""
_PAUSE_SECONDS = 1.0
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
"""Errors that no other connection helps against."""


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file of a known set."""

    name: str
    url: str
    """Its official address; of a file that must be fetched by hand, the page that leads to it."""
    size: int | None = None
    """Bytes, where they are known."""
    sha256: str | None = None
    """Where it is known. Else what comes first is noted, and later downloads of the same address must be the same."""
    by_hand: bool = False
    """Whether a person has to fetch it, from behind a form or a page."""


@dataclass(frozen=True)
class _Known:
    """What a server said of the file that is being fetched."""

    url: str
    tag: str
    """Its ETag, or else the time of its last change."""
    length: int


class _Interrupted(Exception):
    """The connection ended before the file did."""


def fetch(remote: Remote, folder: Path, *, mirror: str | None = None, unchecked: bool = False, progress: Progress | None = None) -> Path:
    """A file of a known set in `folder`, from its address or a mirror; what is there already is checked, and not fetched again.

    mirror: an address or a folder that holds files of the same names. unchecked: take what comes whatever its size and checksum.
    Raises DataError, with what to put where, for what cannot be had, or is not what it should be.
    """
    tell = progress or (lambda done, total, text: None)
    target, part = folder / remote.name, folder / f".{remote.name}.part"
    if target.is_file():
        return _checked(target, target, remote, unchecked, tell)
    folder.mkdir(parents=True, exist_ok=True)
    source = f"{mirror.rstrip('/')}/{remote.name}" if mirror else remote.url
    if mirror and "://" not in mirror:
        _copy(Path(mirror) / remote.name, part, tell)
    else:
        _receive(source, part, remote, unchecked, folder, tell)
    _checked(part, target, remote, unchecked, tell)
    sync(part)
    os.replace(part, target)
    _note(part).unlink(missing_ok=True)
    return target


def _copy(source: Path, part: Path, tell: Progress) -> None:
    if not source.is_file():
        raise DataError(f"there is no {source}: give as --mirror the folder that holds {source.name}")
    tell(0, source.stat().st_size, f"copying {source.name}")
    shutil.copyfile(source, part)


def _receive(url: str, part: Path, remote: Remote, unchecked: bool, folder: Path, tell: Progress) -> None:
    """Bring the part to its full length, in as many connections as it takes."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _connection(url, part, remote, unchecked, tell)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise DataError(f"{url} answers {error.code} ({error.reason}): {_by_hand(remote, folder)}") from None
            reason = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException, _Interrupted) as error:  # URLError and time-outs among them
            if isinstance(error, OSError) and (error.filename or error.errno in _OF_THE_DISK):
                raise
            cause = getattr(error, "reason", error)
            reason = str(getattr(cause, "strerror", None) or cause).split("\n")[0] or type(error).__name__
        except ValueError as error:
            raise DataError(f"{url} is not an address, or its server answers nonsense ({error}): {_by_hand(remote, folder)}") from None
        failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
        if failures >= ATTEMPTS:
            kept = part.stat().st_size if part.exists() else 0
            then = f"what has come ({kept:,} bytes) is kept, and the same command resumes there; or " if kept else ""
            raise DataError(f"{url} cannot be reached ({reason}): {then}{_by_hand(remote, folder)}")
        time.sleep(_PAUSE_SECONDS * failures)


def _by_hand(remote: Remote, folder: Path) -> str:
    size = f" ({remote.size:,} bytes)" if remote.size else ""
    return f"give --mirror, or put {remote.name}{size} into {folder} and run the command again"


def _connection(url: str, part: Path, remote: Remote, unchecked: bool, tell: Progress) -> None:
    """Take what one connection gives; raises _Interrupted where that is not all."""
    known = _known(part, url)
    have = part.stat().st_size if known else 0
    headers = {"User-Agent": f"limner/{limner.__version__}", "Accept-Encoding": "identity"}
    if have and known:
        headers["Range"] = f"bytes={have}-"
        if known.tag:
            headers["If-Range"] = known.tag
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and known and have == known.length:
            return  # nothing is left to be sent
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _Interrupted("the server has another file than before") from None
        raise
    with answer:
        start, length = _extent(answer.status, answer.headers, have)
        if known and start and length != known.length:
            part.unlink(missing_ok=True)
            raise _Interrupted("the server has another file than before")
        if remote.size is not None and length and length != remote.size and not unchecked:
            raise DataError(
                f"{url} has {length:,} bytes, not {remote.size:,}: the set has changed, or the mirror holds another: compare its page, "
                "and pass --unchecked to take it as it is"
            )
        _check_space(part, (length or remote.size or 0) - start)
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        # A weak tag says nothing of bytes; without any, only a checksum tells parts of two files from one.
        if not tag.startswith("W/") and (tag or remote.sha256):
            write_whole(_note(part), json.dumps(asdict(_Known(url, tag, length))))
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            most = None if unchecked else remote.size
            if not _pour(answer, stream, start, length, most, remote.name, tell):
                stream.truncate(0)
                raise DataError(
                    f"{url} sends more than the {most:,} bytes that the file has: the set has changed, or the mirror holds another: "
                    "compare its page, and pass --unchecked to take it as it is"
                )
    if length and part.stat().st_size < length:
        raise _Interrupted(f"the connection ended after {part.stat().st_size:,} of {length:,} bytes")


def _extent(status: int, headers: Mapping[str, str], have: int) -> tuple[int, int]:
    """Where what comes begins, and how long the whole file is; 0 where that is not known."""
    length = int(headers.get("Content-Length") or 0)
    if status != 206:
        return 0, length
    place, _, whole = (headers.get("Content-Range") or "").partition(" ")[2].partition("/")
    start = int(place.partition("-")[0]) if place.partition("-")[0].isdigit() else -1
    if start != have:
        raise _Interrupted("the server sent another part of the file than was asked for")
    return start, int(whole) if whole.isdigit() else start + length


def _pour(answer: http.client.HTTPResponse, stream: BinaryIO, start: int, length: int, most: int | None, name: str, tell: Progress) -> bool:
    """Write what comes. False where that is more than `most` bytes: a server that says no length could fill the disk."""
    done = start
    while True:
        try:
            piece = answer.read1(_PIECE)  # what is there, so that a slow server's bytes are not lost to a time-out
        except http.client.IncompleteRead as error:
            stream.write(error.partial)
            raise
        if not piece:
            return True
        if most is not None and done + len(piece) > most:
            return False
        stream.write(piece)
        done += len(piece)
        tell(done, length, name)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _known(part: Path, url: str) -> _Known | None:
    """What is known of a part that can be resumed: one of the same address."""
    try:
        known = _Known(**parse_json(_note(part).read_text(encoding="utf-8")))
        return known if known.url == url and 0 < part.stat().st_size <= (known.length or part.stat().st_size) else None
    except (OSError, ValueError, TypeError):
        return None


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise DataError(
            f"no space left for {part.parent}: {needed >> 20:,} MiB are still to come, {free >> 20:,} MiB are free: free some, or choose "
            "--out on another disk"
        )


def _checked(path: Path, target: Path, remote: Remote, unchecked: bool, tell: Progress) -> Path:
    """The file, where its size and SHA-256 are what they should be; else DataError, and what came is deleted."""
    size = path.stat().st_size
    found = _digest(path, size, tell)
    noted = _noted().get(remote.url, {})
    wanted_size, wanted = remote.size or noted.get("size"), remote.sha256 or noted.get("sha256")
    wrong = None
    if wanted_size is not None and size != wanted_size:
        wrong = f"has {size:,} bytes, not {wanted_size:,}"
    elif wanted is not None and found != wanted:
        wrong = f"has a SHA-256 that begins {found[:12]}, not {str(wanted)[:12]}"
    if wrong and not unchecked:
        origin = "" if remote.size or remote.sha256 else f", as was noted of an earlier download in {_notes()}"
        if path == target:
            raise DataError(f"{path} {wrong}{origin}: delete it and run the command again, or pass --unchecked to take it as it is")
        path.unlink()
        _note(path).unlink(missing_ok=True)
        raise DataError(
            f"{remote.name} {wrong}{origin}: it was damaged or changed on its way, and is deleted; run the command again, or give another "
            "--mirror, or pass --unchecked to take it as it is"
        )
    if remote.sha256 is None and remote.url not in _noted():
        _write_notes({**_noted(), remote.url: {"size": size, "sha256": found}})
    return path


def _digest(path: Path, size: int, tell: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while piece := stream.read(1 << 22):
            digest.update(piece)
            done += len(piece)
            tell(done, size, f"checking {path.name.removeprefix('.').removesuffix('.part')}")
    return digest.hexdigest()


def _notes() -> Path:
    return cache_folder() / "checksums.json"


def _noted() -> dict[str, dict[str, int | str]]:
    """Size and SHA-256 of files whose set publishes none, as they came first."""
    try:
        noted = parse_json(_notes().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _write_notes(noted: Mapping[str, Mapping[str, int | str]]) -> None:
    """Note checksums for later downloads."""
    _notes().parent.mkdir(parents=True, exist_ok=True)
    write_whole(_notes(), json.dumps(noted, indent=1))
