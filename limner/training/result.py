"""What became of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.model import Model


@dataclass(frozen=True)
class RunResult:
    """What became of a run. signal: the signal that stopped it before its end, or None."""

    folder: Path
    steps: int
    signal: int | None = None

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped the run before its end."""
        return self.signal is not None

    def load(self, device: str = "cpu") -> Model:
        """The model that it has trained so far. Raises CheckpointError where there is none, or it is not one that paints."""
        from limner.model import load

        return load(self.folder, device)
