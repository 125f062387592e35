"""Where a model puts things, and what it paints when they are put elsewhere."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from limner.core.abilities import LaysOut
from limner.core.errors import DataError, LimnerWarning, SettingsError, unknown_name
from limner.core.json_text import parse_json
from limner.core.layout import Layout
from limner.data.layouts import Misplaced, largest, place, things_of_field
from limner.data.outlines import listed, outlined
from limner.data.sheet import caption_grid
from limner.explore.lacking import lacking
from limner.features.network import to_bytes
from limner.model.requests import check_asked

if TYPE_CHECKING:
    from limner.core.method import Painting
    from limner.model import Model

DIMMED = 0.25
"""Light that is left of a picture outside a thing's shape."""
SMALLEST = 0.01
"""Pixels of a side of the smallest box that is written."""
READ = 3
"""Words that are named of those that a thing looked at."""


@dataclass(frozen=True)
class LaidOut:
    """A picture and the layout that it was painted from.

    picture: [H, W, 3] uint8. layout: of one row, with shapes. names: of the labels. words: of the caption, as they were read; attention:
    [N, T], how much each thing looked at each, or None.
    """

    caption: str
    picture: NDArray[np.uint8]
    layout: Layout
    names: tuple[str, ...]
    words: list[str]
    attention: NDArray[np.float32] | None

    @property
    def things(self) -> list[dict[str, Any]]:
        """Labels and boxes (left, top, width, height in pixels of the picture), as a layout's file holds them."""
        side = self.picture.shape[0]
        boxes, labels = self.layout.boxes[0].tolist(), self.layout.labels[0].tolist()
        return [{"label": self.names[label], "box": _readable(box, side)} for box, label in zip(boxes, labels, strict=True) if label >= 0]

    @property
    def text(self) -> str:
        """`things` as JSON, a thing a line: what `read_layout` reads."""
        return "[\n" + ",\n".join(json.dumps(thing) for thing in self.things) + "\n]\n"

    def drawn(self, least: int) -> NDArray[np.uint8]:
        """The numbered boxes and shapes on white, with sides of `least` pixels or more: [S, S, 3]."""
        blank = np.full((1, *self.picture.shape), 255, dtype=np.uint8)
        return np.asarray(outlined(blank, self.layout, max(least, self.picture.shape[0]))[0])

    def seen(self, number: int) -> NDArray[np.uint8]:
        """The picture, dark outside the shape of a thing, which is counted from 0."""
        from limner.families.objects.places import pasted

        mask = pasted(self.layout, self.picture.shape[0])[0, number].numpy()
        return np.round(self.picture * (DIMMED + (1.0 - DIMMED) * mask)[..., None]).astype(np.uint8)

    def told(self) -> list[str]:
        """For each thing its number and name, and the words that it looked at most."""
        names = listed(self.layout, self.names)[0]
        if self.attention is None:
            return names
        found = []
        for name, looked in zip(names, self.attention, strict=False):
            most = np.argsort(-looked, kind="stable")[:READ]
            found.append(f"{name}: " + ", ".join(f"{self.words[word]} {looked[word]:.0%}" for word in most))
        return found


def _readable(box: Sequence[float], side: int) -> list[float]:
    """A box in pixels, in hundredths; a thing that is smaller than one gets one, inside the picture, or the layout could not be read."""
    left, top, width, height = (round(edge * side, 2) for edge in box)
    last = round(side - SMALLEST, 2)
    return [min(left, last), min(top, last), max(width, SMALLEST), max(height, SMALLEST)]


def lay_out(model: Model, caption: str, *, layout: Layout | None = None, seed: int = 0, sample: int = 0) -> LaidOut:
    """Paint a caption from the layout that the model draws for it, or from the one given.

    layout: of one row; without shapes, the model draws them. seed, sample: the noise, which also decides shapes and what is around them.
    Raises SettingsError for a caption that the model cannot read, and for a model that does not lay out.
    """
    method = _method(model)
    check_asked(model.encoder, [caption])
    text, noise = model.encode([caption]), model.noise(seed, [sample])
    with torch.no_grad():
        if layout is None:
            layout = method.layout(text, noise)
        painting: Painting = method.paint_layout(text, layout.to(model.device), noise)
    drawn = Layout(*(painting.extras[name].cpu() for name in ("boxes", "labels", "shapes")))
    attention = painting.extras.get("object-attention")
    picture = to_bytes(painting.images)[0].permute(1, 2, 0).cpu().numpy()
    words = model.encoder.read_words(caption)
    looked = None if attention is None else attention[0, :, : len(words)].float().cpu().numpy()
    return LaidOut(caption, picture, drawn, label_names(model), words, looked)


def label_names(model: Model) -> tuple[str, ...]:
    """The names of the things that a model can place."""
    _method(model)
    names: tuple[str, ...] = model.method.conditions.labels
    return names


def read_layout(path: Path, model: Model) -> Layout:
    """A layout of one row from a file: `[{"label": ..., "box": [left, top, width, height]}, ...]` in pixels of the model's pictures, with
    "mask" (polygons or runs, as COCO writes them) where a thing has one.

    Raises DataError, in one line, for a file that is not such a list, for boxes outside the picture or of no area, for masks of another
    size; SettingsError for labels that the model does not know.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: give a layout such as limner explore layout writes") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be opened ({error.strerror or error}): give a layout such as limner explore layout writes"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not in UTF-8: save it so") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): give a layout such as limner explore layout writes") from None
    return layout_of(content, model, str(path))


def check_replaceable(path: Path) -> None:
    """Raise DataError if writing a layout to this path would replace a file that is not a layout, or would lose the masks of one."""
    if path.exists():
        try:
            things, problem = things_of_field(parse_json(path.read_text(encoding="utf-8-sig")))
        except (OSError, ValueError):
            things, problem = None, "file that is not JSON"
        if problem or any(thing.mask is not None for thing in things or ()):
            what = "is not a layout" if problem else "has masks, which would be lost"
            raise DataError(f"the layout would be written to {path}, which {what}: give --out another name")


def layout_of(content: Any, model: Model, where: str = "the layout") -> Layout:
    """`read_layout` of what a file holds. where: how errors call it."""
    things, problem = things_of_field(content)
    if problem or not things:
        raise DataError(f"{where} is a {problem}" if problem else f"{where} places nothing: give at least one thing")
    names, side = label_names(model), model.resolution
    try:
        found = place(things, (side, side))
    except Misplaced as error:
        raise DataError(f"{where} has a {error}: boxes are [left, top, width, height] in pixels of {side} x {side}") from None
    for label in found.labels:
        if label not in names:
            raise unknown_name("label of this model", label, names)
    most = most_things(model)
    if most is not None and len(found.labels) > most:
        warnings.warn(
            f"{where} has {len(found.labels)} things, {len(found.labels) - most} more than this model places: the largest {most} stay",
            LimnerWarning,
            stacklevel=2,
        )
        found = largest(found, most)
    shapes = None if found.shapes is None else torch.from_numpy(found.shapes / 255.0).float()[None]
    labels = torch.tensor([[names.index(label) for label in found.labels]])
    return Layout(torch.from_numpy(found.boxes)[None], labels, shapes)


@dataclass(frozen=True, kw_only=True)
class Edits:
    """What is changed in a layout, things by their numbers from 1 as they are before: each placed in another box (left, top, width,
    height), moved (right, down) and scaled about its centre, in this order, others removed, and new ones added, in pixels of the model's
    pictures."""

    place: tuple[tuple[int, tuple[float, float, float, float]], ...] = ()
    move: tuple[tuple[int, float, float], ...] = ()
    scale: tuple[tuple[int, float], ...] = ()
    remove: tuple[int, ...] = ()
    add: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.place or self.move or self.scale or self.remove or self.add)


def edited(laid: LaidOut, edits: Edits, model: Model, *, seed: int = 0, sample: int = 0) -> Layout:
    """The layout of a picture, changed; shapes go with their boxes, and new things get those that the model draws.

    Raises SettingsError for numbers that no thing has, for unknown labels, for boxes that would lie outside the picture or have no area,
    and for more things than the model places.
    """
    side, layout = laid.picture.shape[0], laid.layout
    count = int(layout.counts[0])
    boxes, labels = layout.boxes[0, :count].clone(), layout.labels[0, :count]
    assert layout.shapes is not None
    shapes = layout.shapes[0, :count]
    for number, box in edits.place:
        boxes[_thing(number, count, "place")] = _sized(box, f"--place {number}", side)
    for number, right, down in edits.move:
        boxes[_thing(number, count, "move"), :2] += torch.tensor([right, down]) / side
    for number, factor in edits.scale:
        if not factor > 0:
            raise SettingsError(f"--scale {number}={factor:g} leaves nothing of thing {number}: give a factor above 0")
        row = _thing(number, count, "scale")
        centre, size = boxes[row, :2] + boxes[row, 2:] / 2.0, boxes[row, 2:] * factor
        boxes[row] = torch.cat([centre - size / 2.0, size])
    kept = [row for row in range(count) if row not in {_thing(number, count, "remove") for number in edits.remove}]
    for row in kept:
        _inside(boxes[row], f"thing {row + 1} would lie", side)
    boxes, labels, shapes = boxes[kept].clamp(0.0, 1.0), labels[kept], shapes[kept]
    for name, box in edits.add:
        if name not in laid.names:
            raise unknown_name("label of this model", name, laid.names)
        new = _sized(box, f"--add {name}", side)
        _inside(new, f"the added {name} would lie", side)
        boxes, labels = torch.cat([boxes, new[None]]), torch.cat([labels, torch.tensor([laid.names.index(name)])])
    if not len(labels):
        raise SettingsError("nothing is left of the layout: remove fewer things, or add one")
    most = most_things(model)
    if most is not None and len(labels) > most:
        raise SettingsError(f"the layout would have {len(labels)} things, and this model places {most}: remove some first")
    if edits.add:
        drawn = lay_out(model, laid.caption, layout=Layout(boxes[None], labels[None]), seed=seed, sample=sample).layout.shapes
        assert drawn is not None
        shapes = torch.cat([shapes, drawn[0, len(kept) : len(labels)]])
    return Layout(boxes[None], labels[None], shapes[None])


def _sized(box: Sequence[float], what: str, side: int) -> Tensor:
    """A box in shares of the picture's side. Raises SettingsError for one of no area."""
    if len(box) != 4 or not (box[2] > 0 and box[3] > 0):
        raise SettingsError(f"{what} has a box of no area: give LEFT,TOP,WIDTH,HEIGHT in pixels of {side} x {side}")
    return torch.tensor(box, dtype=torch.float32) / side


def _inside(box: Tensor, what: str, side: int) -> None:
    if not (float(box[:2].min()) >= -1e-4 and float((box[:2] + box[2:]).max()) <= 1.0 + 1e-4):  # nor numbers that are none
        edges = ", ".join(f"{value * side:g}" for value in (*box[:2].tolist(), *(box[:2] + box[2:]).tolist()))
        raise SettingsError(f"{what} outside the picture (left, top, right, bottom {edges} of {side}): move it less, or make it smaller")


def _thing(number: int, count: int, what: str) -> int:
    if not 1 <= number <= count:
        raise SettingsError(f"--{what} names thing {number}, and the layout has {count}: give a number from 1 to {count}")
    return number - 1


def layout_page(pictures: Sequence[tuple[str, LaidOut]], tile: int = 160) -> Image.Image:
    """For each picture, with a title, a row: boxes and shapes, the picture, and each thing of it with the words that it looked at most."""
    rows, labels = [], []
    for _, laid in pictures:
        told = laid.told()
        rows.append([laid.drawn(tile), laid.picture, *(laid.seen(number) for number in range(len(told)))])
        labels.append(["layout", "picture", *told])
    widest = max(map(len, rows))
    for row, own in zip(rows, labels, strict=True):
        missing = widest - len(row)
        row += [np.full_like(row[1], 255)] * missing
        own += [""] * missing
    caption = pictures[0][1].caption
    return caption_grid(rows, [title for title, _ in pictures], labels=labels, tile=tile, heading=[caption], apart=1)


def most_things(model: Model) -> int | None:
    """How many things a model places at most; None where it does not say."""
    most: int | None = getattr(model.method.settings, "things", None)
    return most


def _method(model: Model) -> Any:
    if not isinstance(model.method, LaysOut):
        raise lacking(model, "this model lays out nothing: give one of a method that does (limner methods says which), such as obj-gan")
    return model.method
