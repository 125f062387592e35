"""Whether an output can be written, asked before the work that it is for."""

from __future__ import annotations

import os
from pathlib import Path

from limner.core.errors import SettingsError

LONGEST = 255
"""Bytes of a name on the usual file systems."""


def check_folder(folder: Path, flag: str = "--out") -> None:
    """Raise SettingsError where files cannot be written to a folder that is there, or the folder cannot be made."""
    missing: list[str] = []
    place = folder.absolute()
    while not os.path.lexists(place) and place != place.parent:
        missing.append(place.name)
        place = place.parent
    if not place.is_dir():
        what = "a link that leads nowhere" if place.is_symlink() and not place.exists() else "a file"
        raise SettingsError(f"{flag} {folder} cannot be written: {place} is {what}: choose another path")
    if long := next((name for name in missing if len(os.fsencode(name)) > LONGEST), None):
        raise SettingsError(f"{flag} {folder} cannot be written: '{long[:20]}...' is too long: choose a name of at most {LONGEST} bytes")
    if not os.access(place, os.W_OK | os.X_OK):
        why = "the disk is read-only" if _read_only(place) else "its permissions do not allow it"
        raise SettingsError(f"{flag} {folder} cannot be written: {place} takes no files, because {why}: choose another path")


def check_file(file: Path, flag: str = "--out") -> None:
    """Raise SettingsError where a file cannot be written, over one that is there or as a new one."""
    if os.path.isdir(file):  # which is not an error for a name that is too long
        raise SettingsError(f"{flag} {file} is a folder: give the name of a file")
    check_folder(file.parent, flag)
    if len(os.fsencode(file.name)) > LONGEST:
        raise SettingsError(f"{flag} {file} cannot be written: its name is too long: choose one of at most {LONGEST} bytes")
    if os.path.exists(file) and not os.access(file, os.W_OK):
        raise SettingsError(f"{flag} {file} cannot be written: its permissions do not allow it: choose another path")


def _read_only(place: Path) -> bool:
    """Whether a folder lies on a disk that is mounted for reading alone, where the system tells."""
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY) if hasattr(os, "statvfs") else False
