"""Checkpoints that survive a crash at any moment: `RUN/checkpoints/STEP/`, whole or not there."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from limner.core.errors import CheckpointError, in_words
from limner.core.files import recover_unless_owned, sha256, whole_folder

VERSION = 1
STATE, MANIFEST, KEPT = "state.pt", "manifest.json", "kept"


class Checkpoints:
    """The checkpoints of one run, by the number of steps done in all its phases. The newest `keep` stay, and what `keep_newest` marks."""

    def __init__(self, run: Path, keep: int = 2) -> None:
        self.run, self.folder, self.keep = run, run / "checkpoints", max(keep, 1)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the whole training state. Raises OSError, with nothing half-written, where it cannot, such as for want of space."""
        self.folder.mkdir(parents=True, exist_ok=True)
        size = _size(state)
        free = shutil.disk_usage(self.folder).free
        if free < 1.1 * size:
            raise OSError(28, f"a checkpoint needs {1.1 * size / 1e6:.1f} MB and {free / 1e6:.1f} MB are free")
        with whole_folder(self.folder / f"{step:08d}") as fresh:
            torch.save(state, fresh / STATE)
            manifest = {
                "version": VERSION,
                "step": step,
                "position": state.get("position"),
                "files": {STATE: {"bytes": (fresh / STATE).stat().st_size, "sha256": sha256(fresh / STATE)}},
            }
            (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        beyond = [path for path in self._folders() if int(path.name) > step]  # damaged, or the run would have gone on from there
        before = [path for path in self._folders() if int(path.name) <= step]
        passed = [path for path in before[self.keep :] if not (path / KEPT).exists()]
        for old in [*beyond, *passed, *self.folder.glob(".*.new")]:
            shutil.rmtree(old, ignore_errors=True)

    def keep_newest(self) -> Path | None:
        """Let the newest checkpoint stay for as long as the run does; returns its folder, or None where there is none."""
        newest = next(iter(self._folders()), None)
        if newest is not None:
            (newest / KEPT).touch()
        return newest

    def recover(self) -> None:
        """Put back a checkpoint that a crash left aside while it was written again at its step, unless another process trains the run."""
        for path in self._paths():
            if path.name.startswith(".") and path.suffix == ".old":
                recover_unless_owned(path.with_name(path.stem.removeprefix(".")), self.run)

    def load(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, or None where there has been none; one that is damaged is passed over with a warning.

        Raises CheckpointError where none is whole, and where the system cannot read one: beginning anew would replace what may be whole.
        """
        self.recover()
        folders, reason = self._folders(), None
        for folder in folders:
            try:
                reason = _damage(folder)
                if reason is None:
                    state: dict[str, Any] = torch.load(folder / STATE, map_location="cpu", weights_only=True)
                    return state
            except OSError as error:
                raise CheckpointError(f"cannot read {folder} ({in_words(error)}): try again when its disk can be read") from error
            if folder != folders[-1]:
                warnings.warn(f"checkpoint {folder} is damaged ({reason}): going back to the one before it", stacklevel=2)
        if self._folders() != folders:  # another process trains the run, and has saved meanwhile
            return self.load()
        if folders:
            why = f"no checkpoint in {self.folder} is whole (in {folders[-1].name}, {reason})"
            raise CheckpointError(f"{why}: put a whole copy of one there, or train anew in another folder")
        return None

    def position(self) -> dict[str, Any]:
        """Where the newest checkpoint stands, by its manifest alone; empty where there is none, or none that tells."""
        self.recover()
        for folder in self._folders():
            try:
                found = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("position")
            except (OSError, ValueError):
                continue
            return found if isinstance(found, dict) else {}
        return {}

    def _folders(self) -> list[Path]:
        """Newest first; what an interrupted save left (a name that is not a number) is not among them."""
        return sorted((path for path in self._paths() if path.name.isdigit()), reverse=True)

    def _paths(self) -> list[Path]:
        """Everything in the folder. Raises CheckpointError where the system cannot say."""
        try:
            return [*self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"cannot read {self.folder} ({in_words(error)}): try again when its disk can be read") from error


def _damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None.

    Raises CheckpointError for one of another version, which is whole but cannot be read, and OSError where the system cannot say.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["version"] != VERSION:
            raise CheckpointError(
                f"{folder} is a checkpoint of version {manifest['version']}, this Limner reads version {VERSION}: "
                "go on with the Limner that wrote it"
            )
        for name, facts in manifest["files"].items():
            if (folder / name).stat().st_size != facts["bytes"]:
                return f"{name} is cut short"
            if sha256(folder / name) != facts["sha256"]:
                return f"{name} has changed"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"no readable manifest: {error}"
    return None


def _size(value: Any) -> int:
    """Bytes of all tensors in nested dicts and lists."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 0
