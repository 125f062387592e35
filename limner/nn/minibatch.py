"""Minibatch discrimination (Salimans et al., Improved Techniques for Training GANs, NIPS 2016, arXiv:1606.03498)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MinibatchDiscrimination(nn.Module):
    """How alike the pictures of a batch are: a generator that paints one picture again and again gives itself away.

    Every picture's features are projected to `kernels` vectors of `width` numbers; each kernel's answer for a picture is the sum over the
    batch, itself included, of exp(-L1 distance) between the vectors.
    """

    def __init__(self, features: int, kernels: int, width: int = 16) -> None:
        super().__init__()
        self.kernels, self.width = kernels, width
        self.projection = nn.Parameter(torch.empty(features, kernels * width))
        nn.init.normal_(self.projection, 0.0, 0.1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, features] -> [B, kernels], each between 1 and B."""
        vectors = (features @ self.projection).view(-1, self.kernels, self.width)  # [B, K, W]
        distances = (vectors[:, None] - vectors[None]).abs().sum(3)  # [B, B, K]
        return torch.exp(-distances).sum(1)
