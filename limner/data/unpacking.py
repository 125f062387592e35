"""Archives to folders, for files that may come from anywhere: nothing is written outside, and nothing without end."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from limner.core.errors import DataError
from limner.data.zipped import BROKEN, safe_name

_MOST_TIMES = 50
_ALWAYS = 1 << 30
"""An archive may unpack to this many bytes and `_MOST_TIMES` its size."""
_PIECE = 1 << 20


def is_archive(path: Path) -> bool:
    """Whether a file is one that is unpacked, as its name says."""
    return path.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def unpack(path: Path, folder: Path, tell: Callable[[int, int, str], None]) -> None:
    """Unpack an archive into a new folder, whole or not at all. Links are left out.

    Raises DataError for an archive that is damaged, leads out of the folder, or unpacks to far more than its size.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    left = _ALWAYS + _MOST_TIMES * path.stat().st_size
    try:
        fresh.mkdir(parents=True)
        for number, (name, stream) in enumerate(_files(path)):
            inside = safe_name(name)
            if inside is None:
                raise DataError(f"{path} holds '{ascii(name)[1:61]}', which leads out of the archive: do not trust it")
            if not inside:
                continue
            target = fresh / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                while piece := stream.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise DataError(f"{path} unpacks to far more than its size: do not trust it")
                    out.write(piece)
            if number % 64 == 0:
                tell(number, 0, f"unpacking {path.name}")
        fresh.rename(folder)
    except (tarfile.TarError, *BROKEN) as error:
        raise DataError(f"{path} is damaged ({' '.join(str(error).split())[:100]}): delete it and fetch it again") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of an archive, one after the other."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as packed:
            for member in packed.infolist():
                if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                    with packed.open(member) as stream:
                        yield member.filename, stream
        return
    with tarfile.open(path, "r:*") as tar:
        for entry in tar:
            tar.members = []  # type: ignore[attr-defined]  # else the whole table of contents stays in memory
            content = tar.extractfile(entry) if entry.isreg() else None
            if content is not None:
                with content:
                    yield entry.name, content
