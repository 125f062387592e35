"""Blocks of a generator whose maps are steered by a style: numbers made of text and noise that scale and shift every channel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Steered(nn.Module):
    """ReLU(BN(x) (1 + a) + b), where a and b, a number a channel each, are linear in the style."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.normalization = nn.BatchNorm2d(channels, affine=False)
        self.scale_and_shift = nn.Linear(style, 2 * channels)
        nn.init.normal_(self.scale_and_shift.weight, 0.0, 0.05)
        nn.init.zeros_(self.scale_and_shift.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: [B, C, H, W], style: [B, S] -> [B, C, H, W]."""
        scale, shift = self.scale_and_shift(style)[:, :, None, None].chunk(2, dim=1)
        return F.relu(torch.addcmul(shift, self.normalization(x), 1.0 + scale))


class Residual(nn.Module):
    """x + conv3(M(conv3(x))), then M, where M is `Steered`."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.inner, self.after = Steered(channels, style), Steered(channels, style)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self.after(x + self.second(self.inner(self.first(x), style)), style)
