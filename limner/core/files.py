"""Folders and files that are written whole or not at all, and where what can be made again is kept."""

from __future__ import annotations

import hashlib
import io
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
    from PIL import Image

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


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that is complete whenever it is there; of two processes that write it at once, one has the last word.

    Where writing fails, such as on a full disk, the file that was there stays, and the OSError names it.
    """
    cut = path.name[:50]  # a name may be as long as the system allows, and this one has more to it
    fresh = path.with_name(f".{cut}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        fresh.write_bytes(content if isinstance(content, bytes) else readable(content).encode())
        sync(fresh)
        os.replace(fresh, path)
    except BaseException as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def save_whole(picture: Image.Image, path: Path, **options: Any) -> None:
    """Write a picture as `write_whole` does; the name's ending says the format. options: what Pillow's `save` takes."""
    from PIL import Image

    stream = io.BytesIO()  # in memory first: Pillow hides from its errors that the disk is full
    picture.save(stream, Image.registered_extensions()[path.suffix.lower()], **options)
    write_whole(path, stream.getvalue())


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
