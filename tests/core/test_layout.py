"""Layouts follow crop and flip: boxes and shapes are painted into pictures, and stand where the layout says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core.layout import Layout
from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Phase
from limner.data.loader import Loader

STORED, SEEN, THINGS, CELLS = 48, 40, 2, 8


class Placed(CaptionedPictures):
    """Pictures with a red thing and a green one, each a box of which the upper left corner is missing, as its shape says.

    Sides of boxes are whole multiples of their shape's cells, and everything lies at whole pixels.
    """

    name, split, resolution, stored_resolution, class_count, may_flip, fingerprint = "placed", "train", SEEN, STORED, 0, True, "0"
    class_ids = None
    label_names = ("red", "green")

    def __init__(self, count: int = 12) -> None:
        generator = np.random.default_rng(0)
        sizes = generator.integers(1, 3, (count, THINGS, 2)) * CELLS  # 8 or 16 pixels
        corners = np.floor(generator.uniform(size=(count, THINGS, 2)) * (STORED - sizes)).astype(int)
        self.corners, self.sizes = corners, sizes
        self.shape = np.ones((CELLS, CELLS), np.float32)
        self.shape[:4, :4] = 0.0

    def __len__(self) -> int:
        return len(self.sizes)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        pictures = np.zeros((len(indices), STORED, STORED, 3), np.uint8)
        for row, index in enumerate(indices):
            for thing in range(THINGS):
                (x, y), (width, height) = self.corners[index, thing], self.sizes[index, thing]
                mask = self.shape.repeat(height // CELLS, 0).repeat(width // CELLS, 1) > 0
                pictures[row, y : y + height, x : x + width, thing][mask] = 255
        return pictures

    def captions(self, index: int) -> list[str]:
        return ["two things"]

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return np.ones(len(self), np.int64)

    def key(self, index: int) -> str:
        return str(index)

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return "one thing"

    def layouts(self, indices: NDArray[np.int64]) -> Layout:
        boxes = torch.from_numpy(np.concatenate([self.corners[indices], self.sizes[indices]], 2) / STORED).float()
        labels = torch.arange(THINGS).expand(len(indices), THINGS).clone()
        shapes = torch.from_numpy(self.shape).expand(len(indices), THINGS, CELLS, CELLS).clone()
        return Layout(boxes, labels, shapes)


def drawn(layout: Layout, row: int, thing: int, side: int) -> Tensor:
    """A thing's mask [side, side] by the layout alone: each pixel looks up the cell of the shape that its centre falls into."""
    assert layout.shapes is not None
    left, top, width, height = (layout.boxes[row, thing] * side).tolist()
    centres = torch.arange(side) + 0.5
    x, y = (centres - left) / max(width, 1e-9), (centres - top) / max(height, 1e-9)
    inside = ((y >= 0) & (y < 1))[:, None] & ((x >= 0) & (x < 1))[None]
    cells = layout.shapes[row, thing][(y.clamp(0, 0.999) * CELLS).long()[:, None], (x.clamp(0, 0.999) * CELLS).long()[None]]
    return inside & (cells > 0.5)


def test_things_stand_where_the_layout_says() -> None:
    phase = Phase(name="x", resolution=SEEN, batch_size=8, steps=1)
    loader = Loader(Placed(), phase, seed=3)
    cut = whole = mirrored = 0
    for step in range(12):
        batch = loader.batch(step)
        layout = batch.layout
        assert layout is not None and len(layout) == 8
        tops = loader._views(batch.indices, np.divmod(batch.samples, 12)[0], "matched")
        mirrored += int(tops.mirrored.sum())
        for row in range(8):
            for thing in range(THINGS):
                painted = batch.pictures[row, thing] > 0
                said = drawn(layout, row, thing, SEEN)
                ys, xs = painted.nonzero(as_tuple=True)
                if not len(ys):
                    continue
                left, top, width, height = (layout.boxes[row, thing] * SEEN).tolist()
                # The box holds all that is painted; a cut box may hold an edge whose shape has nothing.
                assert left - 1e-4 <= int(xs.min()) and int(xs.max()) + 1 <= left + width + 1e-4
                assert top - 1e-4 <= int(ys.min()) and int(ys.max()) + 1 <= top + height + 1e-4
                assert layout.labels[row, thing] == thing
                if left > 1e-4 and top > 1e-4 and left + width < SEEN - 1e-4 and top + height < SEEN - 1e-4:
                    whole += 1
                    assert torch.equal(painted, said)  # to the pixel, the missing corner on the other side where mirrored
                else:
                    cut += 1  # the shape is resampled: its edges may move by a cell of the cut shape
                    assert int((painted != said).sum()) <= 0.2 * width * height
    assert whole > 50 and cut > 20 and 20 < mirrored < 76


def test_what_is_cut_away_is_no_thing_any_more() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.1, 0.1], [0.4, 0.4, 0.2, 0.2], [0.0, 0.3, 0.5, 0.2], [0.0, 0.0, 0.0, 0.0]]])
    layout = Layout(boxes, torch.tensor([[3, 4, 5, -1]]), torch.ones(1, 4, 4, 4))
    seen = layout.viewed(torch.tensor([0.25]), torch.tensor([0.25]), 0.5, torch.tensor([False]))
    assert seen.labels.tolist() == [[-1, 4, 5, -1]]
    assert torch.allclose(seen.boxes[0], torch.tensor([[0.0] * 4, [0.3, 0.3, 0.4, 0.4], [0.0, 0.1, 0.5, 0.4], [0.0] * 4]), atol=1e-6)
    assert seen.shapes is not None and seen.shapes[0, 0].sum() == 0 and seen.shapes[0, 1].min() == 1
    other = layout.viewed(torch.tensor([0.25]), torch.tensor([0.25]), 0.5, torch.tensor([True]))
    assert torch.allclose(other.boxes[0, 2], torch.tensor([0.5, 0.1, 0.5, 0.4]), atol=1e-6)


def test_rows_and_parts_have_their_own() -> None:
    loader = Loader(Placed(), Phase(name="x", resolution=SEEN, batch_size=8, steps=1), seed=3)
    batch = loader.batch(0)
    part = batch.part(slice(2, 5))
    assert batch.layout is not None and part.layout is not None
    assert torch.equal(part.layout.boxes, batch.layout.boxes[2:5]) and torch.equal(part.layout.labels, batch.layout.labels[2:5])
    other = batch.draw("mismatched")
    assert other.layout is not None and not torch.equal(other.layout.boxes, batch.layout.boxes)
