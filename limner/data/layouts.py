"""Layouts of captioned pictures: which things stand where, as samples and COCO's lists of instances say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from limner.core.errors import DataError
from limner.core.json_text import Twice, once, parse_json
from limner.data.framing import Framing, View
from limner.data.sources import Thing, is_text, quoted
from limner.data.thing_lists import ThingList, files_by_id

SHAPE_SIDE = 32
"""Cells across a thing's shape, within its box."""
MOST_THINGS = 10
"""Things of a picture that are kept where nobody says otherwise, as Obj-GAN has it."""

FORM = '[{"label": "bird", "box": [left, top, width, height]}, ...], in pixels of the picture, with "mask" where it has one'
_KEYS = ("label", "box", "mask")
_LARGEST = 1e9
"""Of the numbers in a layout, in pixels."""
_ALSO = {"bbox": "box", "segmentation": "mask", "category": "label", "name": "label"}


@dataclass(frozen=True)
class Placed:
    """The things of one stored picture, the largest first where some had to be left out, else in the order given."""

    boxes: NDArray[np.float32]
    """[n, 4] left, top, width, height as shares of the stored square."""
    labels: tuple[str, ...]
    shapes: NDArray[np.uint8] | None
    """[n, 32, 32] how far each cell of the box is the thing, 0 to 255; None where no thing has a mask."""


class Misplaced(Exception):
    """A layout that does not fit its picture; its text is the reason."""


def things_of_field(value: Any) -> tuple[tuple[Thing, ...] | None, str | None]:
    """The things of a `layout` field, None where it is empty, and what is wrong with it, if anything."""
    if value in (None, ""):
        return None, None
    if isinstance(value, str):
        try:
            value = parse_json(value, object_pairs_hook=once)
        except Twice as error:
            return None, f"layout that cannot be read ({error})"
        except ValueError:
            return None, f"layout that is not JSON (write {FORM})"
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return None, f"layout that is not a list of things (write {FORM})"
    things = []
    for entry in value:
        fields: dict[str, Any] = {}
        for key, own in entry.items():
            name = _ALSO.get(key, key)
            if name not in _KEYS:
                near = get_close_matches(key, [*_KEYS, *_ALSO], n=1)
                return None, f"layout with the key {quoted(key)} ({f'did you mean {near[0]!r}? ' if near else ''}known: {', '.join(_KEYS)})"
            if name in fields:
                first = next(other for other in entry if _ALSO.get(other, other) == name)
                return None, f"layout with a thing that has both {first!r} and {key!r} (give one of them)"
            fields[name] = own
        label, box = fields.get("label"), fields.get("box")
        if not isinstance(label, str) or not label.strip():
            return None, f"layout with a thing without a label (write {FORM})"
        if not is_text(label):
            return None, "layout with a label that is not UTF-8 text"
        if not _numbers(box, 4):
            return None, f"layout with a box that is not four numbers (write {FORM})"
        assert isinstance(box, list)
        things.append(Thing(label=label.strip(), box=(box[0], box[1], box[2], box[3]), mask=fields.get("mask")))
    return tuple(things), None


def _numbers(value: Any, count: int | None = None) -> bool:
    """Whether a value is a list of finite numbers, of this many where it is said."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        return False
    return all(isinstance(each, (int, float)) and not isinstance(each, bool) and abs(each) <= _LARGEST for each in value)


def place(things: Sequence[Thing], size: tuple[int, int], view: View | None = None, listed_size: tuple[int, int] | None = None) -> Placed:
    """Where things of a picture of this width and height stand in the square that is stored of it, by default the one in its middle.

    listed_size: width and height of the picture in whose pixels the things are given, if that is not this one: the same picture before it
    was resized. What lies outside the view is cut off; a thing of which nothing is left is none any more. Raises Misplaced where a box lies
    outside the picture or has no area, where a mask is not of the picture's size, and where the two sizes have different proportions.
    """
    view = view or Framing().view(size, 1, 1)
    corner, extent = np.array([view.left, view.top]), np.array([view.width, view.height])
    if listed_size is not None and listed_size != size:
        scale = np.array(listed_size) / np.array(size)
        # Resizing rounds each side to whole pixels: where both sides may be off by one, the two scales differ by this much at most.
        if abs(scale[0] - scale[1]) > 1.01 * scale.max() / min(size):
            raise Misplaced(f"layout of a picture of {listed_size[0]} x {listed_size[1]} pixels, which was not just resized")
        corner, extent, size = corner * scale, extent * scale, listed_size
    offset, span = np.array([view.across, view.down]) / view.side, np.array([view.wide, view.high]) / view.side
    boxes, labels, shapes = [], [], []
    masked = any(thing.mask is not None for thing in things)
    for thing in things:
        left, top, width, height = thing.box
        if width <= 0 or height <= 0:
            raise Misplaced("layout box of no area")
        beyond = left < -1 or top < -1 or left + width > size[0] + 1 or top + height > size[1] + 1  # whole pixels are often rounded up
        if beyond or left >= size[0] or top >= size[1] or left + width <= 0 or top + height <= 0:
            raise Misplaced("layout box outside the picture")
        mask = _mask(thing.mask, size)
        if mask is not None and _is_outside(mask, (left, top, left + width, top + height)):
            raise Misplaced("layout mask outside its box")
        near = np.clip((np.array([left, top]) - corner) / extent, 0.0, 1.0)
        far = np.clip((np.array([left + width, top + height]) - corner) / extent, 0.0, 1.0)
        if (far - near).min() <= 0:
            continue
        boxes.append([*(near * span + offset), *((far - near) * span)])
        labels.append(thing.label)
        if masked:
            shapes.append(_shape(mask, (*(near * extent + corner), *(far * extent + corner))))
    stacked = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    return Placed(stacked, tuple(labels), np.stack(shapes) if shapes else None)


def _shape(mask: Image.Image | None, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    if mask is None:
        return np.full((SHAPE_SIDE, SHAPE_SIDE), 255, np.uint8)
    return np.asarray(mask.resize((SHAPE_SIDE, SHAPE_SIDE), Image.Resampling.BOX, box=box))


def _mask(mask: Any, size: tuple[int, int]) -> Image.Image | None:
    """A mask of a picture's size from polygons, or from runs, as COCO writes them."""
    if mask is None:
        return None
    if isinstance(mask, dict):
        counts, shape = mask.get("counts"), mask.get("size")
        if not _numbers(counts) or not _numbers(shape, 2) or not all(float(count).is_integer() for count in counts or ()):
            raise Misplaced("layout mask that is neither polygons nor runs (counts as a list of numbers, size as [height, width])")
        assert isinstance(counts, list) and isinstance(shape, list)
        if (shape[1], shape[0]) != size or sum(counts) != size[0] * size[1] or min(counts, default=0) < 0:
            raise Misplaced("layout mask of another size than its picture")
        values = np.arange(len(counts)) % 2 * np.uint8(255)
        columns = np.repeat(values.astype(np.uint8), np.asarray(counts, dtype=np.int64)).reshape(size[0], size[1])
        return Image.fromarray(np.ascontiguousarray(columns.T))
    polygons = [mask] if _numbers(mask) else mask
    if not isinstance(polygons, list) or not all(_numbers(each) and len(each) >= 6 and len(each) % 2 == 0 for each in polygons):
        raise Misplaced("layout mask that is neither polygons nor runs (counts as a list of numbers, size as [height, width])")
    drawn = Image.new("L", size)
    for polygon in polygons:
        ImageDraw.Draw(drawn).polygon(list(zip(polygon[::2], polygon[1::2])), fill=255)
    if drawn.getbbox() is None:
        raise Misplaced("layout mask outside the picture")
    return drawn


def _is_outside(mask: Image.Image, box: tuple[float, float, float, float]) -> bool:
    """Whether most of a mask's pixels lie outside its box, widened to whole pixels and one more for rounding. An empty mask does not."""
    left, top, right, bottom = (math.floor(edge) - 1 if place < 2 else math.ceil(edge) + 1 for place, edge in enumerate(box))
    inside = mask.crop((max(left, 0), max(top, 0), min(right, mask.width), min(bottom, mask.height)))
    return 2 * inside.histogram()[255] < mask.histogram()[255]


def largest(placed: Placed, most: int) -> Placed:
    """At most so many things: the largest boxes stay, in their order."""
    if len(placed.labels) <= most:
        return placed
    area = placed.boxes[:, 2] * placed.boxes[:, 3]
    kept = np.sort(np.argsort(-area, kind="stable")[:most])
    shapes = None if placed.shapes is None else placed.shapes[kept]
    return Placed(placed.boxes[kept], tuple(placed.labels[row] for row in kept.tolist()), shapes)


class Instances(ThingList):
    """A list of instances in COCO's form, by the names of the pictures' files."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises DataError, with the fix, for what is not such a list."""
        fix = 'give a file in the form of COCO\'s instances: {"images": [...], "annotations": [...], "categories": [...]}'
        try:
            content = parse_json(path.read_bytes())
            names = {category["id"]: str(category["name"]) for category in content["categories"]}
            files = files_by_id(content["images"])
            self._sizes = {files[image["id"]]: listed_size(image) for image in content["images"]}
            self._things: dict[str, list[Thing]] = {name: [] for name in files.values()}
            for entry in content["annotations"]:
                if not entry.get("iscrowd") and entry["image_id"] in files:  # a crowd is not a single object
                    things, problem = things_of_field(
                        [{"label": names[entry["category_id"]], "box": entry["bbox"], "mask": entry.get("segmentation") or None}]
                    )
                    if problem:
                        raise DataError(f"{path}: annotation {entry.get('id')} has a {problem}")
                    self._things[files[entry["image_id"]]] += things or ()
        except OSError as error:
            raise DataError(f"{path} cannot be opened ({error.strerror or error}): {fix}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be read ({error})"
            raise DataError(f"{path} {what}: {fix}") from None
        super().__init__(path, self._things)

    def things(self, name: str) -> tuple[tuple[Thing, ...], tuple[int, int] | None]:
        return tuple(self._things[name]), self._sizes[name]


def listed_size(image: dict[str, Any]) -> tuple[int, int] | None:
    """Width and height that a list in COCO's form has for a picture, if it has them."""
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0 else None
