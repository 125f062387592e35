"""Conditioning augmentation as T2F has it: one equalised linear layer, and a deviation that may be a ReLU."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.progressive.layers import EqualizedLinear, Scaling

FLOOR = 1e-12
"""Added to the published deviation, which is otherwise 0 for half of its numbers."""


class Condition(NamedTuple):
    """Independent Gaussians: mean and deviation, [B, C] each."""

    mean: Tensor
    deviation: Tensor

    def sample(self, epsilon: Tensor) -> Tensor:
        """The conditions [B, C] that are drawn with standard normal noise epsilon [B, C]."""
        return self.mean + self.deviation * epsilon

    def divergence(self) -> Tensor:
        """KL divergence from the standard normal, a scalar: the sum over numbers, the mean over rows."""
        square = self.deviation.square()
        return 0.5 * (self.mean.square() + square - square.log() - 1.0).sum(1).mean()


class Augmentation(nn.Module):
    """Sentences [B, D] to Gaussians of conditions, by one equalised linear layer."""

    def __init__(self, sentence_width: int, width: int, deviation: Literal["relu", "log-variance"], *, scaling: Scaling) -> None:
        super().__init__()
        self.deviation = deviation
        self.linear = EqualizedLinear(sentence_width, 2 * width, scaling=scaling)

    def forward(self, sentence: Tensor) -> Condition:
        mean, spread = self.linear(sentence).chunk(2, dim=1)
        return Condition(mean, F.relu(spread) + FLOOR if self.deviation == "relu" else (0.5 * spread).exp())
