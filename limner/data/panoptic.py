"""Things from COCO's panoptic lists: a JSON of segments, and a PNG for each picture, whose colours are the segments' numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.core.errors import DataError
from limner.core.json_text import parse_json
from limner.data.layouts import Instances
from limner.data.sources import Thing
from limner.data.thing_lists import ThingList, files_by_id

FORM = (
    'give a file in the form of COCO\'s panoptic lists: {"images": [...], "annotations": [{"segments_info": [...]}], "categories": [...]}'
)


@dataclass(frozen=True)
class _Segments:
    """The PNG of a picture, and the things in it: number, label and box of each."""

    file: Path
    things: tuple[tuple[int, str, tuple[float, float, float, float]], ...]


class Panoptic(ThingList):
    """A list of segments, by the names of the pictures' files. Only things are kept: grounds such as grass or sky have no boxes of their
    own, and crowds are no single objects. The PNGs lie in the folder of the list's name next to it, as COCO has them."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises DataError, with the fix, for what is not such a list, or has no folder of PNGs."""
        folder = path.with_suffix("")
        if not folder.is_dir():
            raise DataError(f"{path} is a panoptic list, and there is no folder {folder}: unpack the PNGs of its segments there")
        try:
            content = parse_json(path.read_bytes())
            names = {entry["id"]: str(entry["name"]) for entry in content["categories"] if entry.get("isthing", 1)}
            files = files_by_id(content["images"])
            self._segments: dict[str, _Segments] = {}
            for entry in content["annotations"]:
                things = tuple(
                    (int(segment["id"]), names[segment["category_id"]], _box(segment["bbox"]))
                    for segment in entry["segments_info"]
                    if segment["category_id"] in names and not segment.get("iscrowd")
                )
                if entry["image_id"] in files:
                    self._segments[files[entry["image_id"]]] = _Segments(folder / entry["file_name"], things)
        except OSError as error:
            raise DataError(f"{path} cannot be opened ({error.strerror or error}): {FORM}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be read ({error})"
            raise DataError(f"{path} {what}: {FORM}") from None
        super().__init__(path, self._segments)

    def things(self, name: str) -> tuple[tuple[Thing, ...], tuple[int, int] | None]:
        """Raises DataError where the PNG of the picture's segments cannot be read."""
        found = self._segments[name]
        try:
            with Image.open(found.file) as opened:
                colours = np.asarray(opened.convert("RGB"), dtype=np.int64)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{found.file} cannot be read ({error}): unpack the PNGs of the panoptic list again") from None
        numbers = colours @ np.array([1, 1 << 8, 1 << 16])
        things = tuple(Thing(label=label, box=box, mask=_runs(numbers == number)) for number, label, box in found.things)
        return things, (colours.shape[1], colours.shape[0])


def list_of_things(path: Path) -> Instances | Panoptic:
    """A list in the form of COCO's instances, or of its panoptic lists. Raises DataError for a file that is neither."""
    try:
        annotations = parse_json(path.read_bytes())["annotations"]
        panoptic = bool(annotations) and "segments_info" in annotations[0]
    except (OSError, ValueError, KeyError, TypeError):
        panoptic = False  # `Instances` says what is wrong with it
    return Panoptic(path) if panoptic else Instances(path)


def _box(value: Any) -> tuple[float, float, float, float]:
    left, top, width, height = (float(number) for number in value)
    return left, top, width, height


def _runs(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask [H, W] as runs of pixels, column by column, the first of pixels outside it."""
    flat = mask.T.ravel()
    turns = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], turns, [len(flat)]])
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if len(flat) and flat[0] else counts}
