"""Where tokens stand in DALL-E's line, what each may look at, and how that is said to the attention.

A line is a start mark, L text tokens, and the codes of a grid of W x W places, row by row. Positions count from 0, the start mark's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

AttentionKind = Literal["full", "axial-row", "axial-column", "convolution"]
"""What a code looks at next to the whole text, itself included: all codes before it; those of its row; those of its column; or those in the
square of `KERNEL` places whose lower right corner it is. Text looks at the text before it (Figure 11 of the paper)."""
KERNEL = 5
FAR, OUTSIDE = 8192.0, -10.0
"""Where codes stand among text positions, and text tokens on the axes of the grid, whose places are -1..1: far away."""


@dataclass(frozen=True)
class Line:
    """text: L; side: W."""

    text: int
    side: int

    @property
    def first_code(self) -> int:
        """The position of the first code."""
        return self.text + 1

    @property
    def codes(self) -> int:
        """How many codes there are."""
        return self.side**2

    def __len__(self) -> int:
        return self.first_code + self.codes

    def seen(self, kind: AttentionKind) -> Tensor:
        """[N, N] bool: whether the token at the row's position may look at the one at the column's."""
        places = torch.arange(len(self))
        seen = places[:, None] >= places
        if kind == "full":
            return seen
        grid = torch.arange(self.codes)
        rows, columns = grid // self.side, grid % self.side
        if kind == "axial-row":
            near = rows[:, None] == rows
        elif kind == "axial-column":
            near = columns[:, None] == columns
        else:
            near = (rows[:, None] - rows < KERNEL) & (columns[:, None] >= columns) & (columns[:, None] - columns < KERNEL)
        seen[self.first_code :, self.first_code :] &= near
        return seen

    def angles(self, head_width: int) -> Tensor:
        """Rotary angles [N, R], R <= head_width: a third of the channels for the place in the text, the row and the column each
        (github.com/lucidrains/DALLE-pytorch). Channels are turned in pairs of neighbours, whose angles are equal."""
        third = head_width // 3
        count = third // 2
        text = torch.cat([torch.arange(self.first_code).float(), torch.full((self.codes,), FAR)])
        axis, outside = torch.linspace(-1.0, 1.0, self.side), torch.full((self.first_code,), OUTSIDE)
        rows, columns = torch.cat([outside, axis.repeat_interleave(self.side)]), torch.cat([outside, axis.repeat(self.side)])
        language = 1.0 / 10_000.0 ** (torch.arange(0, third, 2)[:count].float() / third)
        pixels = torch.linspace(1.0, 5.0, count) * math.pi
        parts = [place[:, None] * speeds for place, speeds in ((text, language), (rows, pixels), (columns, pixels))]
        return torch.cat([part.repeat_interleave(2, dim=1) for part in parts], dim=1)


Turn = tuple[Tensor, Tensor]
"""Cosines and sines of angles [n, R], the sines of the first of each pair negative."""


def turn_of(angles: Tensor) -> Turn:
    """What `turned` takes for angles [n, R]."""
    sines = angles.sin()
    return angles.cos(), torch.stack([-sines[:, ::2], sines[:, 1::2]], dim=-1).flatten(1)


def turned(x: Tensor, turn: Turn) -> Tensor:
    """The first R channels of x [..., n, E] turned in pairs of neighbours; the rest as it is."""
    cosines, sines = (part.to(x.dtype) for part in turn)
    width = cosines.shape[1]
    head = x[..., :width]
    other = head.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    found = head * cosines + other * sines
    return found if width == x.shape[-1] else torch.cat([found, x[..., width:]], dim=-1)


def text_shifted(x: Tensor) -> Tensor:
    """Text tokens [B, n, D] with the first half of their channels from the token before, zero for the first one."""
    half = x.shape[-1] // 2
    before = torch.cat([torch.zeros_like(x[:, :1, :half]), x[:, :-1, :half]], dim=1)
    return torch.cat([before, x[..., half:]], dim=-1)


def codes_shifted(x: Tensor, seen: Tensor, first: int, side: int) -> Tensor:
    """Codes [B, n, D] from number `first` on, with a quarter of their channels from the code above and a quarter from the one on the left.

    seen: [B, first + n, D / 2], the same half of the channels of all codes so far. A neighbour outside the grid counts as zero.
    """
    quarter, count = x.shape[-1] // 4, x.shape[1]
    above = _taken(seen[..., :quarter], first - side, count)
    left = _taken(seen[..., quarter:], first - 1, count)
    is_first = (torch.arange(first, first + count, device=x.device) % side == 0)[:, None]
    return torch.cat([above, left.masked_fill(is_first, 0.0), x[..., 2 * quarter :]], dim=-1)


def _taken(values: Tensor, start: int, count: int) -> Tensor:
    """`count` of the values [B, n, D] from number `start` on, zero where that is below 0."""
    missing = min(max(-start, 0), count)
    found = values[:, max(start, 0) : max(start, 0) + count - missing]
    return found if not missing else torch.cat([found.new_zeros(found.shape[0], missing, found.shape[2]), found], dim=1)
