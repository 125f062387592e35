"""What a discriminator is shown instead of pictures, so that it cannot learn a small set by heart (Karras et al., NeurIPS 2020, ADA).

Real and generated pictures are changed alike, at random, by changes that gradients pass. Each change is made to a row with a probability
below 1, the strength; then a generator that paints as changed pictures look is found out (section 2.2 there). The changes are those of
DiffAugment (Zhao et al., NeurIPS 2020) with a tenth of ADA's code, and mirroring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Change = Literal["translation", "cutout", "flip"]
FARTHEST = 1 / 8
"""How far a picture is moved at most, as a share of its side."""
CUT = 1 / 2
"""Side of the square that is cut out, as a share of the picture's."""
STRONGEST = 0.8
"""The greatest strength: from about here on, changes leak into what is painted (ADA, figure 4)."""


def augmented(pictures: Tensor, changes: Sequence[Change], strength: float) -> Tensor:
    """Pictures [B, 3, R, R], each changed in each of these ways with a probability of `strength`; drawn on their device."""
    for change in changes if strength > 0 else ():
        chosen = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) < strength
        pictures = torch.where(chosen, _CHANGES[change](pictures), pictures)
    return pictures


def translated(pictures: Tensor) -> Tensor:
    """Moved by whole pixels, up to FARTHEST of the side along either axis; what comes in is grey (0)."""
    count, _, height, width = pictures.shape
    device, reach = pictures.device, round(max(height, width) * FARTHEST)
    down, right = torch.randint(-reach, reach + 1, (2, count, 1), device=device)
    rows = (torch.arange(height, device=device) + down).clamp(-1, height) + 1  # [B, H], of pictures with a border of one
    columns = (torch.arange(width, device=device) + right).clamp(-1, width) + 1
    bordered = F.pad(pictures, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    row = torch.arange(count, device=device)[:, None, None]
    return bordered[row, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(pictures: Tensor) -> Tensor:
    """A square of CUT of the side, around a random place, is grey (0)."""
    count, _, height, width = pictures.shape
    near = []
    for side, axis in ((height, 2), (width, 3)):
        centre = torch.randint(side, (count, 1), device=pictures.device)
        place = torch.arange(side, device=pictures.device)
        within = (place - centre >= -side * CUT / 2) & (place - centre < side * CUT / 2)  # [B, side]
        near.append(within[:, None, :, None] if axis == 2 else within[:, None, None, :])
    return pictures * ~(near[0] & near[1])


def flipped(pictures: Tensor) -> Tensor:
    """Mirrored, left for right."""
    return pictures.flip(3)


_CHANGES = {"translation": translated, "cutout": cut_out, "flip": flipped}


def adapted(strength: float, share: float, target: float, pictures: int, images: int) -> float:
    """The strength after some real pictures were judged: more where the discriminator is too sure of them, else less.

    share: the mean sign of their logits, from -1 to 1 (r_t of section 3); target: what that shall be; pictures: how many have been seen
    since the strength last moved; images: how many it takes to go from 0 to 1.
    """
    step = pictures / images
    return min(max(strength + (step if share > target else -step), 0.0), STRONGEST)
