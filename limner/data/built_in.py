"""The built-in worlds as captioned pictures: the garden's flowers, its bouquets and its stories."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from limner.core.pictures import CaptionedPictures
from limner.core.worlds import Holds, world_of
from limner.data.garden import CLASS_NAMES, Garden
from limner.data.garden.bouquets import Bouquets
from limner.data.garden.bouquets.arranging import Bouquet, class_ids
from limner.data.garden.bouquets.painting import paint_bouquets
from limner.data.garden.bouquets.worlds import MOST
from limner.data.garden.stories import CHARACTERS, Stories

if TYPE_CHECKING:
    from limner.core.layout import Layout

World = TypeVar("World", Garden, Bouquets, Stories)
FlowersWorld = TypeVar("FlowersWorld", Garden, Bouquets)


class PaintedPictures(CaptionedPictures, Generic[World]):
    """A split of a built-in world, painted whole when a picture is first read, and kept."""

    may_flip = False  # its light falls from one side, and captions speak of left and right

    def __init__(self, world: World, frames: int = 1) -> None:
        self.world: World = world
        self.split = world.split
        self.resolution = self.stored_resolution = world.resolution
        self._counts = np.full(len(world) * frames, world.captions_per_picture, dtype=np.int64)
        self._pictures: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self._counts)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        if self._pictures is None:
            self._pictures = painted(self._paint, len(self), self.resolution)
        return self._pictures[np.asarray(indices)]

    @abstractmethod
    def _paint(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]: ...

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return self._counts

    def key(self, index: int) -> str:
        return self.world.key(index)


def painted(paint: Callable[[NDArray[np.int64]], NDArray[np.uint8]], count: int, resolution: int, chunk: int = 256) -> NDArray[np.uint8]:
    """All pictures of a world: [count, R, R, 3], from what paints some rows of them."""
    pictures = np.empty((count, resolution, resolution, 3), np.uint8)

    def part(start: int) -> None:
        rows = np.arange(start, min(start + chunk, count))
        pictures[rows] = paint(rows)

    with ThreadPoolExecutor(2) as pool:  # NumPy's loops let a second thread work
        list(pool.map(part, range(0, count, chunk)))
    return pictures


class FlowerPictures(PaintedPictures[FlowersWorld]):
    """Pictures whose class is that of a flower."""

    class_names = CLASS_NAMES
    class_count = len(CLASS_NAMES)

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.world.counterfactual(index, caption, draw).text

    def counterfactuals(self, indices: NDArray[np.int64], captions: NDArray[np.int64], draws: NDArray[np.int64]) -> list[str]:
        return [caption.text for caption in self.world.counterfactuals(indices, captions, draws)]


class GardenPictures(FlowerPictures[Garden]):
    """A split of the garden."""

    holds: Holds = "attributes"
    name = world_of("attributes").name

    def __init__(self, garden: Garden) -> None:
        super().__init__(garden)
        self.garden = garden
        indices = np.arange(len(garden))
        self.class_ids = garden.class_ids(indices)
        rows, numbers = (values.ravel() for values in np.meshgrid(indices, np.arange(garden.captions_per_picture), indexing="ij"))
        self._captions = [caption.text for caption in garden.captions(rows, numbers)]
        text = "\n".join(self._captions) + repr(garden)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def _paint(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.garden.pictures(rows)

    def captions(self, index: int) -> list[str]:
        count = self.garden.captions_per_picture
        index = range(len(self))[index]
        return self._captions[index * count : (index + 1) * count]


class BouquetPictures(FlowerPictures[Bouquets]):
    """A split of the garden's bouquets. A picture's class is that of the flower in front; its layout has every flower's whole blossom,
    hidden parts included, from the rearmost to the one in front.
    """

    holds: Holds = "scenes"
    name = world_of("scenes").name
    label_names = CLASS_NAMES

    def __init__(self, bouquets: Bouquets) -> None:
        super().__init__(bouquets)
        self.bouquets = bouquets
        self._arranged: Bouquet = bouquets.bouquets(np.arange(len(bouquets)))
        self._labels = class_ids(self._arranged)
        self.class_ids = self._labels[np.arange(len(bouquets)), self._arranged.number - 1]
        self._captions: list[list[str] | None] = [None] * len(bouquets)
        self._shapes: dict[int, NDArray[np.bool_]] = {}
        text = "\n".join(caption for index in range(min(64, len(self))) for caption in self.captions(index)) + repr(bouquets)
        places = np.concatenate([self._arranged.x, self._arranged.y], 1).tobytes() + self._labels.tobytes()
        self.fingerprint = hashlib.sha256(text.encode() + places).hexdigest()[:16]

    def _paint(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return paint_bouquets(self._arranged[rows], self.resolution)

    def captions(self, index: int) -> list[str]:
        index = range(len(self))[index]
        if (found := self._captions[index]) is None:
            count, start = self.bouquets.captions_per_picture, index - index % _TOGETHER
            rows = np.arange(start, min(start + _TOGETHER, len(self)))
            texts = [caption.text for caption in self.bouquets.captions(rows.repeat(count), np.tile(np.arange(count), len(rows)))]
            for place, row in enumerate(rows.tolist()):
                self._captions[row] = texts[place * count : (place + 1) * count]
            found = self._captions[index]
        assert found is not None
        return found

    def layouts(self, indices: NDArray[np.int64]) -> Layout:
        rows = np.asarray(indices, dtype=np.int64)
        missing = np.array([row for row in np.unique(rows).tolist() if row not in self._shapes], dtype=np.int64)
        if len(missing):
            self._shapes.update(zip(missing.tolist(), self._arranged[missing].shapes(SHAPE_SIDE), strict=True))
        shapes = np.stack([self._shapes[row] for row in rows.tolist()]) if len(rows) else None
        return _layout(self._arranged[rows].boxes, self._labels[rows], shapes)


class StoryPictures(PaintedPictures[Stories]):
    """A split of the garden's stories, frame by frame. A frame's categories are the characters that it shows, and its layout has them by
    name, from the rearmost to the one in front."""

    holds: Holds = "stories"
    name = world_of("stories").name
    class_ids, class_count = None, 0
    category_names = label_names = CHARACTERS

    def __init__(self, world: Stories) -> None:
        super().__init__(world, world.frames)
        self.stories = np.arange(len(self)).reshape(len(world), world.frames)
        self._captions: list[list[str] | None] = [None] * len(self)
        text = "\n".join(caption for row in range(min(64, len(self))) for caption in self.captions(row)) + repr(world)
        shown = world.arranged.codes.tobytes() + world.arranged.x.tobytes() + world.arranged.y.tobytes()
        self.fingerprint = hashlib.sha256(text.encode() + shown).hexdigest()[:16]

    def _paint(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.world.paint(rows)

    def captions(self, index: int) -> list[str]:
        row = range(len(self))[index]
        if (found := self._captions[row]) is None:
            found = self._captions[row] = self.world.captions(row)
        return found

    def key(self, index: int) -> str:
        story, frame = divmod(range(len(self))[index], self.world.frames)
        return f"{self.world.key(story)}-{frame + 1}"

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.world.counterfactual(range(len(self))[index], caption, draw)

    def categories(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (self.world.arranged.who[indices][:, :, None] == np.arange(len(CHARACTERS))).any(1)

    def layouts(self, indices: NDArray[np.int64]) -> Layout:
        shown = self.world.arranged[np.asarray(indices, dtype=np.int64)]
        return _layout(shown.boxes, shown.who, shown.shapes(SHAPE_SIDE) if len(shown) else None)


def _layout(boxes: NDArray[np.float64], labels: NDArray[np.int64], shapes: NDArray[np.bool_] | None) -> Layout:
    """Boxes [N, 4, 4], labels [N, 4] and shapes [N, 4, S, S], or None where N is 0."""
    import torch

    from limner.core.layout import Layout

    shapes = np.zeros((0, MOST, SHAPE_SIDE, SHAPE_SIDE), np.bool_) if shapes is None else shapes
    return Layout(torch.from_numpy(boxes).float(), torch.from_numpy(labels), torch.from_numpy(shapes).float())


SHAPE_SIDE = 32
"""Cells across a shape of a bouquet's layout."""
_TOGETHER = 64
