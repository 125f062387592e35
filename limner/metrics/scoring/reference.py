"""What the real pictures gave, kept on disk: the same pictures need not be looked at again for every model.

A file is named by a hash of all that its content depends on: the pictures' fingerprint, split and resolution, how many in which order, what
was kept of them, and the networks with their hashes and their way of resizing. It is written whole or not at all; one that is damaged
is thought missing. The folder is `limner.core.files.cache_folder()`, unless another is given, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.core.files import reading_arrays

VERSION = 1
"""Changes where the same name would stand for other content."""


def cache_file(folder: Path, facts: Mapping[str, Any]) -> Path:
    """The file for what these facts, which JSON can hold, decide."""
    text = json.dumps({"version": VERSION, **facts}, sort_keys=True)
    return folder / "references" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"


def load(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of a file; None where there is none, or it is damaged."""
    try:
        with reading_arrays(), np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
            digest = str(found.pop("digest"))
    except (OSError, ValueError):
        return None
    return found if digest == _digest(found) else None


def store(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays; a folder or disk that cannot take them does not stop an evaluation, so nothing is written then."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, digest=np.asarray(_digest(arrays)), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
