"""Pictures that say how a run fails and what it remembers, kept next to it with what they show in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.core.files import save_whole

FOLDER = "strips"
TITLES = {"worst": "What it does worst", "nearest": "Remembered or made?"}


@dataclass(frozen=True)
class Strip:
    """A picture in `RUN/strips/`."""

    name: str
    """One of TITLES."""
    path: Path
    words: str
    """What it shows."""
    steps: int
    """How long the model had been trained."""


def keep_strip(run: Path, name: str, picture: Image.Image, words: str, steps: int) -> Path:
    """Write a strip, its words inside the file: the page that shows it may be written much later."""
    path = run / FOLDER / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    notes = PngInfo()
    notes.add_itxt("Description", words)
    notes.add_itxt("Steps", str(steps))
    save_whole(picture, path, pnginfo=notes)
    return path


def kept_strips(run: Path) -> Sequence[Strip]:
    """The strips that a run has."""
    found = []
    for name in TITLES:
        path = run / FOLDER / f"{name}.png"
        if path.is_file():
            with Image.open(path) as picture:
                notes = dict(picture.info)
            found.append(Strip(name, path, str(notes.get("Description", "")), int(notes.get("Steps", 0))))
    return found
