"""A condition written into feature maps channel by channel, and deeply so (DF-GAN: Tao et al., CVPR 2022, arXiv:2008.05865)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConditionalAffine(nn.Module):
    """gamma(c) x + beta(c): each channel scaled and shifted as a condition says; an identity at first.

    gamma and beta come from a hidden layer of as many numbers as channels each, whose last weights begin at zero, as in the authors' code.
    """

    def __init__(self, condition_width: int, channels: int) -> None:
        super().__init__()
        self.gamma = self._numbers(condition_width, channels, at_first=1.0)
        self.beta = self._numbers(condition_width, channels, at_first=0.0)

    @staticmethod
    def _numbers(condition_width: int, channels: int, at_first: float) -> nn.Sequential:
        last = nn.Linear(channels, channels)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, at_first)
        return nn.Sequential(nn.Linear(condition_width, channels), nn.ReLU(inplace=True), last)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, C, H, W] and [B, D] -> [B, C, H, W]."""
        return torch.addcmul(self.beta(condition)[:, :, None, None], x, self.gamma(condition)[:, :, None, None])


class Fusion(nn.Module):
    """Affine layers one after another, each with a LeakyReLU behind it: what one alone cannot say of a channel, two can.

    DF-GAN stacks two; with one it is the shallow form of the paper's ablation. Every place is treated by itself.
    """

    def __init__(self, condition_width: int, channels: int, affines: int = 2) -> None:
        super().__init__()
        self.affines = nn.ModuleList(ConditionalAffine(condition_width, channels) for _ in range(affines))
        self.activation = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, C, H, W] and [B, D] -> [B, C, H, W]."""
        for affine in self.affines:
            x = self.activation(affine(x, condition))
        return x
