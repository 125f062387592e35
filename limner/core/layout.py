"""Where things stand in pictures: `Layout`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Boxes of named things, and their shapes, for a batch of pictures.

    boxes: [B, N, 4] float32: left, top, width and height as shares of the picture's sides, which run from 0 to 1.
    labels: [B, N] int64: which kind of thing each box holds, -1 where there is none.
    shapes: [B, N, S, S] float32, 0 to 1: each thing's mask within its box; or None.
    """

    boxes: Tensor
    labels: Tensor
    shapes: Tensor | None = None

    def __len__(self) -> int:
        return self.boxes.shape[0]

    @property
    def counts(self) -> Tensor:
        """[B] int64: how many things each picture has."""
        return (self.labels >= 0).sum(1)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Layout:
        return Layout(function(self.boxes), function(self.labels), None if self.shapes is None else function(self.shapes))

    def to(self, device: torch.device | str) -> Layout:
        """The same layout on another device."""
        return self._map(lambda value: value.to(device, non_blocking=True))

    def __getitem__(self, rows: slice | Tensor) -> Layout:
        return self._map(lambda value: value[rows])

    def viewed(self, left: Tensor, top: Tensor, side: float, mirrored: Tensor) -> Layout:
        """The layout of a square that is cut out of each picture and then mirrored where asked for.

        left, top: [B], where the squares begin; side: how long their sides are; all as shares of the picture's side. mirrored: [B] bool.
        Boxes are cut at the square's edges, and shapes with them; a box of which nothing is left has the label -1 and no size.
        """
        corner = torch.stack([left, top], 1)[:, None]  # [B, 1, 2]
        start, size = self.boxes.split(2, dim=2)  # [B, N, 2] each
        near, far = (((edge - corner) / side).clamp(0.0, 1.0) for edge in (start, start + size))
        gone = (far <= near).any(2) | (self.labels < 0)  # [B, N]
        shapes = self.shapes
        if shapes is not None:
            inside = [((edge * side + corner - start) / size.clamp_min(1e-12)) for edge in (near, far)]  # shares of the box, [B, N, 2] each
            shapes = _cut(shapes, *inside)
            shapes = torch.where(mirrored[:, None, None, None], shapes.flip(3), shapes).masked_fill(gone[..., None, None], 0.0)
        x = torch.where(mirrored[:, None], 1.0 - far[..., 0], near[..., 0])
        boxes = torch.cat([torch.stack([x, near[..., 1]], 2), far - near], dim=2)
        return Layout(boxes.masked_fill(gone[..., None], 0.0), self.labels.masked_fill(gone, -1), shapes)


def _cut(shapes: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """The part of each shape [B, N, S, S] between two corners [B, N, 2], given as shares of its sides, brought to S x S again."""
    side = shapes.shape[-1]
    steps = (torch.arange(side, device=shapes.device) + 0.5) / side  # centres of the new shape's cells
    places = near[..., None, :] + (far - near)[..., None, :] * steps[:, None]  # [B, N, S, 2]: where they lie in the old one
    x, y = places[..., 0], places[..., 1]
    grid = torch.stack([x[:, :, None, :].expand(-1, -1, side, -1), y[..., None].expand(-1, -1, -1, side)], dim=4)
    found = F.grid_sample(shapes.flatten(0, 1)[:, None], grid.flatten(0, 1) * 2 - 1, padding_mode="border", align_corners=False)
    return found.view_as(shapes)
