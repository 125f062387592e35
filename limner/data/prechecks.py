"""What can be known to be wrong with a preparation before a source is read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from limner.core.errors import DataError
from limner.data.remote import Source


def check_settings(resolution: int, max_rejected: float, validation: float, test: float, most_things: int) -> None:
    """Raise DataError for a setting that cannot work."""
    if not 8 <= resolution <= 1024:
        raise DataError(f"--resolution {resolution} cannot be prepared: choose 8 to 1024, for example 64")
    if not 0 <= max_rejected <= 1:
        raise DataError(f"--max-rejected {max_rejected} is not a share: choose 0 to 1, for example 0.05 for 5 %")
    if min(validation, test) < 0 or validation + test >= 1:
        raise DataError(f"--validation {validation} and --test {test} leave nothing to train on: choose shares that sum to less than 1")
    if most_things < 1:
        raise DataError(f"--most-things {most_things} leaves nothing of a layout: give at least 1")


def check_sources(sources: Sequence[Source]) -> None:
    """Raise DataError for a source that is prepared already, and for one that is given twice, as patterns of a shell may do: its pictures
    could come into several splits."""
    known: set[Source] = set()
    for source in sources:
        if isinstance(source, Path) and (source / "dataset.json").is_file() and (source / "captions.utf8").is_file():
            raise DataError(f"{source} is prepared already: train with --data {source}, or give what it was prepared from")
        if source.resolve() in known:
            raise DataError(f"{source} is given twice: give each source once")
        known.add(source.resolve())


def check_out(out: Path, force: bool) -> None:
    """Raise DataError for a folder that may not be written."""
    if out.is_file():
        raise DataError(f"--out {out} is a file: choose a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / "dataset.json").exists():
        raise DataError(f"--out {out} exists and is not a prepared data set: choose another folder")
    if not force:
        raise DataError(f"--out {out} exists: choose another folder, or pass --force to take its place")


def check_space(out: Path, needed: int) -> None:
    """Raise DataError where the disk has fewer bytes than are needed."""
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise DataError(
            f"no space left for {out}: it needs about {needed >> 20:,} MiB, {free >> 20:,} MiB are free: free some, "
            "choose --out on another disk, or a lower --resolution"
        )
