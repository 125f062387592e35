"""A run's folder before anything of PyTorch is loaded: whether the run may have it, and whose it is while it trains."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from limner.core.errors import CheckpointError
from limner.core.owner import LOCK, owned

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
"""Environment variables that number the processes of a run."""


def is_first() -> bool:
    """Whether the environment says that this is the process that writes and speaks; where it says nothing, it is."""
    return all(os.environ.get(rank, "0") == "0" for rank in RANKS)


def owner(out: Path) -> AbstractContextManager[None]:
    """Within the block, the run in this folder is this process's. Raises FolderInUse where another process trains it, CheckpointError where
    there is a file in its place."""
    _check_no_file(out)
    return owned(out / LOCK, f"{out} is being trained by", again=True)


def check_place(out: Path, resume: bool) -> None:
    """Raise CheckpointError for a folder that another run has, or something else, and for one to go on with that is not a run."""
    _check_no_file(out)
    if not out.exists() or (out.is_dir() and not any(path.name != LOCK for path in out.iterdir())):
        return
    if not resume:
        raise CheckpointError(f"{out} exists already: go on with it by --resume, or choose another --out")
    if not (out / "recipe.yaml").exists():
        raise CheckpointError(f"{out} holds something that is not a run: choose another --out")


def _check_no_file(out: Path) -> None:
    there = next((place for place in (out, *out.parents) if place.exists()), None)
    if there is not None and not there.is_dir():
        raise CheckpointError(f"{there} is a file: give a folder for the run")
