"""Folders and files that are written whole or not at all, and where what can be made again is kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import FolderInUse, LimnerError
from limner.core.owner import LOCK, PAUSE, owned, owns

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRIES = 10
"""How often a reader looks for a folder that is being replaced, with a pause between."""


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Fill a new folder that takes the place of `folder` once it is complete and on disk; if the block fails, nothing changes.

    A crash at any moment leaves the old folder or the new one under the name, or, between two renames, the old one as `.NAME.old`,
    which the next writing or `recover` puts back. Raises FolderInUse where another process is writing the same folder.
    """
    with nullcontext() if owns(folder) else owned(_lock(folder), f"{folder} is being written by"):
        yield from _written_whole(folder)


def _lock(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _beside(folder: Path) -> tuple[Path, Path]:
    """Where a new folder is filled, and where the old one waits until the new one has its place."""
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


def _written_whole(folder: Path) -> Iterator[Path]:
    fresh, old = _beside(folder)
    recover(folder)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        for path in fresh.rglob("*"):
            sync(path)
        sync(fresh)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        sync(folder.parent)
    except BaseException:
        recover(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Undo what an interrupted writing of `folder` left behind. For whoever may write there: a reader takes `recover_unless_owned`."""
    fresh, old = _beside(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def recover_unless_owned(folder: Path, around: Path) -> None:
    """Undo what an interrupted writing of `folder` left behind, unless another process owns it or the folder `around` it.

    That one is at work on what would be undone. It may be between two renames, so that `folder` is not there: that is waited for.
    """
    for _ in range(TRIES):
        if not any(path.exists() for path in _beside(folder)):
            return
        doing = f"{folder} is being written by"
        with suppress(OSError, FolderInUse), owned(around / LOCK, doing, again=True), owned(_lock(folder), doing):
            recover(folder)
            return
        if folder.exists():
            return
        time.sleep(PAUSE)


def readable(text: str) -> str:
    """Text that can be written whatever names of files are in it: bytes that the system's encoding lacks, Python holds as surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_whole(path: Path, text: str) -> None:
    """Write a file that is complete whenever it is there; of two processes that write it at once, one has the last word."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        fresh.write_text(readable(text), encoding="utf-8")
        sync(fresh)
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Ask the system to put a file or folder on disk now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Hex digest of a file's contents."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cache_folder() -> Path:
    """Where Limner keeps what it can make or fetch again: $LIMNER_CACHE, else `limner` in $XDG_CACHE_HOME or ~/.cache. Not created here."""
    own = os.environ.get("LIMNER_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "limner"


def keep_array(place: Path, values: NDArray[Any]) -> None:
    """Write an array to a .npy file in the cache, whole or not at all; where that cannot be, it is made again next time."""
    import numpy as np

    fresh = place.with_name(f".{place.name}.{os.getpid()}.npy")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(fresh, values, allow_pickle=False)
        fresh.replace(place)
    except OSError:
        fresh.unlink(missing_ok=True)


@contextmanager
def reading_arrays() -> Iterator[None]:
    """Around what reads .npy and .npz files: whatever NumPy stumbles over in a damaged one becomes a ValueError; errors of the system stay.

    Their headers are Python, so that cutting one short raises errors of Python's own parser.
    """
    try:
        yield
    except (OSError, ValueError, LimnerError):
        raise
    except Exception as error:
        raise ValueError(f"a damaged array: {error}") from error
