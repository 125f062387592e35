"""Prepared sets of small pictures, made in no time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from limner.data.prepare import prepare


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
