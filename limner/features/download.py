"""Files from the network: whole and of the expected checksum, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import IO

from limner.core.files import sync

_PIECE = 1 << 20
_PATIENCE_SECONDS = 30.0


class DownloadError(Exception):
    """Why a file could not be had, as a part of a sentence."""


def download(url: str, target: Path, sha256: str) -> Path:
    """Fetch a file whose SHA-256 begins with the given digits, with a progress bar on stderr; returns `target`.

    It is written under a temporary name in the same folder and renamed when it is complete, checked and on disk, so that several
    processes may do this at once and a failure leaves nothing behind. Raises DownloadError.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise DownloadError(f"{target.parent} cannot be written: {error.strerror or error}") from error
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            found = _receive(url, target, file)
        if not found.startswith(sha256.lower()):
            raise DownloadError(f"what came is damaged: its SHA-256 begins {found[:8]}, not {sha256[:8]}")
        sync(fresh)
        fresh.chmod(0o644)
        os.replace(fresh, target)
    except (OSError, http.client.HTTPException) as error:  # URLError, time-outs and a full disk among them
        cause = getattr(error, "reason", error)
        raise DownloadError(str(getattr(cause, "strerror", None) or cause).split("\n")[0]) from error
    finally:
        fresh.unlink(missing_ok=True)
    return target


def _receive(url: str, target: Path, file: IO[bytes]) -> str:
    """Write what the address gives to a file; returns its SHA-256."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    digest = hashlib.sha256()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with urllib.request.urlopen(url, timeout=_PATIENCE_SECONDS) as source:
        length = source.headers.get("Content-Length")
        total = int(length) if length else None
        print(f"limner: {url} -> {target}" + (f" ({total / 1e6:.0f} MB)" if total else ""), file=sys.stderr)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(target.name, total=total)
            while piece := source.read(_PIECE):
                file.write(piece)
                digest.update(piece)
                bar.advance(task, len(piece))
    return digest.hexdigest()
