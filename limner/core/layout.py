"""Where things stand in pictures: `Layout`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Boxes of named things, and their shapes, for a batch of pictures.

    boxes: [B, N, 4] float32: left, top, width and height as shares of the picture's sides, 0 to 1.
    labels: [B, N] int64: which kind of thing each box holds, -1 where there is none.
    shapes: [B, N, S, S] float32, 0 to 1: each thing's mask within its box; or None.
    """

    boxes: Tensor
    labels: Tensor
    shapes: Tensor | None = None

    def __len__(self) -> int:
        return self.boxes.shape[0]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Layout:
        return Layout(function(self.boxes), function(self.labels), None if self.shapes is None else function(self.shapes))

    def to(self, device: torch.device | str) -> Layout:
        """The same layout on another device."""
        return self._map(lambda value: value.to(device, non_blocking=True))

    def __getitem__(self, rows: slice | Tensor) -> Layout:
        return self._map(lambda value: value[rows])
