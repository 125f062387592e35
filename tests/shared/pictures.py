"""Sets of small pictures, prepared or in memory, made in no time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.core.pictures import CaptionedPictures
from limner.data.prepare import prepare


class Captioned(CaptionedPictures):
    """A grey picture for each of some captions."""

    name, split, class_ids, class_count, may_flip, fingerprint = "captioned", "train", None, 0, True, "1"

    def __init__(self, texts: Sequence[str], resolution: int = 16) -> None:
        self.texts, self.resolution, self.stored_resolution = list(texts), resolution, resolution

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.full((len(indices), self.resolution, self.resolution, 3), 128, dtype=np.uint8)

    def captions(self, index: int) -> list[str]:
        return [self.texts[index]]

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return np.ones(len(self), dtype=np.int64)

    def key(self, index: int) -> str:
        return str(index)

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.texts[(index + 1 + draw) % len(self)]


def prepared(folder: Path, captions: Sequence[tuple[str, str]], resolution: int = 16, shade: int = 0) -> Path:
    """A prepared set with a picture for each (split, captions, one a line); another shade makes other pictures."""
    source = folder.with_name(f"{folder.name}-source")
    source.mkdir(parents=True)
    rows = []
    for number, (split, text) in enumerate(captions):
        Image.new("RGB", (20, 20), (number * 7 % 256, number * 31 % 256, shade)).save(source / f"{number}.png")
        rows += [{"file_name": f"{number}.png", "text": text.split("\n"), "split": split}]
    (source / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare([source], folder, resolution=resolution)
    return folder
