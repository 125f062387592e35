"""A folder that another process has, without another process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limner.core.owner import LOCK


@contextmanager
def owned_elsewhere(folder: Path) -> Iterator[None]:
    """Within the block, the folder's lock is held, and not by what the test calls."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        (folder / LOCK).unlink()
        os.close(handle)
