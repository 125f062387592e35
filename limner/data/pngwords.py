"""Captions kept inside a PNG file, for pages that show them as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.core.json_text import parse_json

KEY = "Captions"


def with_captions(captions: Sequence[str]) -> PngInfo:
    """What `picture.save(path, pnginfo=...)` takes to keep the captions of a picture's rows, from the top."""
    notes = PngInfo()
    notes.add_itxt(KEY, json.dumps(list(captions), ensure_ascii=False))
    return notes


def captions_in(path: Path) -> list[str]:
    """The captions that a PNG file keeps; none where it keeps none."""
    with Image.open(path) as picture:
        kept = picture.info.get(KEY)
    if not isinstance(kept, str):
        return []
    try:
        found = parse_json(kept)
    except ValueError:
        return []
    return [caption for caption in found if isinstance(caption, str)] if isinstance(found, list) else []
