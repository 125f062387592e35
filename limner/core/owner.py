"""One process at a time in a folder: a lock file that names its owner, and that is free as soon as the owner is gone."""

from __future__ import annotations

import datetime
import errno
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from limner.core.errors import FolderInUse

try:
    import fcntl
except ImportError:  # no such locks on this system: the file itself is one then
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""The lock file's name inside a folder that has an owner as a whole."""
NO_LOCKS_HERE = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
"""What systems answer whose files cannot be locked."""
PAUSE = 0.02
"""Seconds between two attempts."""
GONE = 50
"""Attempts that find no folder, although it was just made, before that counts as an error: in some places none can be made."""

_held: set[tuple[Path, int]] = set()


@contextmanager
def owned(lock: Path, doing: str, *, wait: float = 0.0, again: bool = False) -> Iterator[None]:
    """Hold `lock` for this process while the block runs.

    The file says which process has it, on which host, since when. It goes with the block, and so do the folders that had to be made for
    it and hold nothing. Where the process is killed, the system frees the lock, and the file that stays is taken over.

    doing: what the owner does, for the error: "runs/a is being trained by". wait: seconds to wait for the owner to be done.
    again: whether the thread that holds the lock may take it another time, within its own block.
    Raises FolderInUse where somebody else has it, OSError where no file can be made there.
    """
    lock = lock.resolve()
    key = (lock, threading.get_ident())
    if again and key in _held:
        yield
        return
    made = [folder for folder in (lock.parent, *lock.parent.parents) if not folder.exists()]
    try:
        handle = _take(lock, doing, time.monotonic() + wait)
        _held.add(key)
        try:
            yield
        finally:
            _held.discard(key)
            with suppress(OSError):
                lock.unlink()  # before it is free: whoever gets hold of a file that is gone looks for the new one
            if handle is not None:
                os.close(handle)
    finally:
        with suppress(OSError):  # not empty: then it stays
            for folder in made:
                folder.rmdir()


def owns(folder: Path) -> bool:
    """Whether this thread holds the lock of the folder as a whole, or of one around it."""
    folder, thread = folder.resolve(), threading.get_ident()
    return any((place / LOCK, thread) in _held for place in (folder, *folder.parents))


def holder(lock: Path) -> dict[str, Any] | None:
    """Who has a lock, by what its file says: `process`, `host` and `since`. None where nobody has it, or nobody says so."""
    owner = _owner(lock)
    return None if owner is None or (owner["host"] == platform.node() and not _is_alive(owner["process"], lock.resolve())) else owner


def _take(lock: Path, doing: str, deadline: float) -> int | None:
    """The open lock file, or None where the file itself is the lock."""
    gone = 0
    while True:
        handle: int | None = None
        taken = False
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
            taken = _locked(handle)
        except FileNotFoundError:  # the folder went with the owner before, or none can be made here
            gone += 1
            if gone >= GONE:
                raise
            time.sleep(PAUSE)
            continue
        except OSError as error:
            if handle is None or error.errno not in NO_LOCKS_HERE:
                if handle is not None:
                    os.close(handle)
                raise
            os.close(handle)
            handle, taken = None, _created(lock)
        if taken and (handle is None or _is_at(handle, lock)):
            if handle is not None:
                _sign(handle)
            return handle
        if handle is not None:
            os.close(handle)
        if taken:  # the file has gone with its owner since it was opened
            continue
        if time.monotonic() >= deadline:
            raise FolderInUse(f"{doing} {_owner_in_words(lock)}: wait for it, stop it, or choose another --out")
        time.sleep(PAUSE)


def _locked(handle: int) -> bool:
    """Whether the open file could be locked. Raises OSError where files cannot be."""
    if fcntl is None:
        raise OSError(errno.ENOSYS, "no file locks")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(handle: int, lock: Path) -> bool:
    try:
        there = lock.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _created(lock: Path) -> bool:
    """Take a lock whose existence says it all; one that a dead process of this host has left, or nobody has signed, is put away first."""
    owner = _owner(lock)
    if owner is None or (owner["host"] == platform.node() and not _is_alive(owner["process"], lock)):
        with suppress(FileNotFoundError):
            lock.unlink()
    mine = lock.with_name(f"{lock.name}.{os.getpid()}.{threading.get_ident()}")
    handle = os.open(mine, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        _sign(handle)
        os.link(mine, lock)  # signed from the first moment, and for one alone
    except FileExistsError:
        return False
    finally:
        os.close(handle)
        mine.unlink()
    return True


def _is_alive(process: int, lock: Path) -> bool:
    if process == os.getpid():  # unless another life had this number
        return any(place == lock for place, _ in _held)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sign(handle: int) -> None:
    owner = {"process": os.getpid(), "host": platform.node(), "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}
    with suppress(OSError):  # a full disk: the lock holds, its owner stays unnamed
        os.ftruncate(handle, 0)
        os.pwrite(handle, (json.dumps(owner) + "\n").encode(), 0)


def _owner(lock: Path) -> dict[str, Any] | None:
    """What the lock file says of its owner, if it says anything."""
    try:
        found = json.loads(lock.read_text(encoding="utf-8"))
        return {"process": int(found["process"]), "host": str(found["host"]), "since": datetime.datetime.fromisoformat(found["since"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _owner_in_words(lock: Path) -> str:
    for _ in range(10):  # whoever has only just taken it is about to sign
        owner = _owner(lock)
        if owner and (owner["host"] != platform.node() or _is_alive(owner["process"], lock)):
            break
        time.sleep(PAUSE)
    if not owner:
        return "another process"
    since = owner["since"].astimezone()
    day = "" if since.date() == datetime.date.today() else f"{since:%Y-%m-%d} "
    return f"process {owner['process']} on host {owner['host']} since {day}{since:%H:%M}"
