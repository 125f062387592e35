"""Conditioning augmentation: a caption stands for a Gaussian of conditions, not for one point (Zhang et al., ICCV 2017, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class GaussianCondition:
    """Independent Gaussians: mean and log_variance, [B, C] each."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, epsilon: Tensor) -> Tensor:
        """The conditions [B, C] that are drawn with standard normal noise epsilon [B, C]."""
        return self.mean + (0.5 * self.log_variance).exp() * epsilon

    def divergence(self) -> Tensor:
        """KL divergence from the standard normal, a scalar: the mean over rows and numbers, as in all official codes (Eq. 2 sums)."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance).mean()


class ConditioningAugmentation(nn.Module):
    """Maps a sentence embedding [B, D] to a Gaussian of conditions of `width` numbers.

    activation: follows the linear layer; the official codes have three kinds: a LeakyReLU (StackGAN in TensorFlow, HDGAN), a ReLU
    (StackGAN in PyTorch, whose mean and log variance are therefore never negative), or a gated linear unit over twice as many numbers
    (StackGAN++, the AttnGAN family). spread: whether the second half of the result is the logarithm of the variance or of the
    standard deviation (StackGAN in TensorFlow, HDGAN).
    """

    def __init__(
        self,
        sentence_width: int,
        width: int,
        activation: Literal["leaky-relu", "relu", "glu"],
        spread: Literal["log-variance", "log-deviation"] = "log-variance",
    ) -> None:
        super().__init__()
        self.activation, self.spread = activation, spread
        self.linear = nn.Linear(sentence_width, width * (4 if activation == "glu" else 2))

    def forward(self, sentence: Tensor) -> GaussianCondition:
        found = self.linear(sentence)
        if self.activation == "glu":
            found = F.glu(found, dim=1)
        else:
            found = F.leaky_relu(found, 0.2 if self.activation == "leaky-relu" else 0.0)
        mean, spread = found.chunk(2, dim=1)
        return GaussianCondition(mean, 2.0 * spread if self.spread == "log-deviation" else spread)
