"""RoIAlign of the old kind, as the detectors of 2017 had it (He et al., ICCV 2017), in plain PyTorch.

It differs from today's: places have no half-pixel offset, a region is one cell wider than its corners say, samples lie on its edges
too, and what lies outside the map is 0. The mean of each 2 x 2 neighbouring samples is taken.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def roi_align(maps: Tensor, corners: Tensor, side: int) -> Tensor:
    """Maps [B, C, H, W] and regions' corners [B, N, 4] (left, top, right, bottom) in cells of the map -> [B, N, C, side, side]."""
    rows = _weights(corners[..., 1], corners[..., 3], maps.shape[2], side + 1)
    columns = _weights(corners[..., 0], corners[..., 2], maps.shape[3], side + 1)
    sampled = torch.einsum("bnah,bchw,bnkw->bncak", rows, maps, columns)
    return F.avg_pool2d(sampled.flatten(0, 1), 2, 1).unflatten(0, sampled.shape[:2])


def _weights(start: Tensor, end: Tensor, cells: int, samples: int) -> Tensor:
    """Starts and ends [B, N] along one side -> [B, N, samples, cells]: how much each sample takes of each cell."""
    width = (end - start + 1.0).clamp_min(0.0)
    steps = torch.arange(samples, device=start.device, dtype=start.dtype) / (samples - 1)
    places = start[..., None] + width[..., None] * steps  # [B, N, samples]
    first = places.floor().clamp(max=cells - 2)
    share = places - first
    inside = ((places >= 0) & (places < cells)).to(places.dtype)
    numbers = torch.arange(cells, device=start.device, dtype=start.dtype)
    here, after = (numbers == first[..., None]).to(places.dtype), (numbers == first[..., None] + 1).to(places.dtype)
    return (here * (1.0 - share)[..., None] + after * share[..., None]) * inside[..., None]
