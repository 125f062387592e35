"""The ways in which published networks squash pictures of any size to their own: they differ at every pixel, and so do the scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TENSORFLOW = "TensorFlow 1 bilinear (first corners aligned, no antialiasing), squashed"
HALF_PIXEL = "bilinear (half-pixel centres, no antialiasing), squashed"
CORNERS = "bilinear (corners aligned, no antialiasing), squashed"


def tensorflow_resized(images: Tensor, side: int) -> Tensor:
    """Bilinear as TensorFlow 1 does it: output pixel i reads position i * (size / side), without half-pixel centres or antialiasing.

    Float pictures [B, C, H, W] -> [B, C, side, side]. Positions and interpolation are float32, columns before rows, which is what the
    original computes to the last bit.
    """
    return _along(_along(images, 3, side), 2, side)


def _along(images: Tensor, axis: int, side: int) -> Tensor:
    size = images.shape[axis]
    if size == side:
        return images
    positions = torch.arange(side, dtype=torch.float32, device=images.device) * float(torch.tensor(size / side, dtype=torch.float32))
    lower = positions.floor()
    share = (positions - lower).view([-1 if each == axis else 1 for each in range(4)])
    first = images.index_select(axis, lower.long())
    second = images.index_select(axis, (lower.long() + 1).clamp(max=size - 1))
    return first + (second - first) * share


def half_pixel_resized(images: Tensor, side: int, *, align_corners: bool = False) -> Tensor:
    """Bilinear without antialiasing, also where pictures shrink; half-pixel centres, or corner pixels on corner pixels."""
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=align_corners)
