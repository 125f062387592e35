"""Path-length regularisation: steps in style that are alike move a picture equally far (StyleGAN2, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DECAY = 0.01
"""How far the mean length goes towards that of a batch."""


def path_lengths(pictures: Tensor, styles: Tensor, noise: Tensor) -> Tensor:
    """How far pictures [B, 3, R, R] move with their styles [B, places, W]: [B], which has a gradient.

    noise: [B, 3, R, R] standard normal numbers, the direction in which pictures are looked at. The squared norms of the gradient by each
    place's style are averaged over places, as in the authors' code.
    """
    seen = (pictures * (noise / math.sqrt(pictures.shape[2] * pictures.shape[3]))).sum()
    (gradient,) = torch.autograd.grad(seen, styles, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def path_penalty(lengths: Tensor, mean: float) -> tuple[Tensor, Tensor]:
    """The mean square of what lengths [B] differ by from their running mean, and that mean, moved towards these lengths; scalars.

    The mean is moved first, and its gradient counts, as in the authors' code.
    """
    moved = mean + DECAY * (lengths.mean() - mean)
    return (lengths - moved).square().mean(), moved
