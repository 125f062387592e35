"""Discrete autoencoders: a picture becomes a grid of codes, and the codes a picture (Ramesh et al., ICML 2021, section 2.1, appendix A).

The encoder gives the logits of a categorical distribution over the codes at each place of the grid. In training, the decoder sees a soft
choice (Gumbel softmax: Jang et al., ICLR 2017; Maddison et al., ICLR 2017), whose temperature falls; otherwise it sees the likeliest code.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Reconstruction = Literal["logit-laplace", "l2", "smooth-l1"]
"""What the decoder says of a pixel, and is judged by.

- "logit-laplace": the mean and the logarithm of the scale of a Laplace distribution of the pixel's logit, as in OpenAI's;
- "l2", "smooth-l1": the pixel in [-1, 1], as in DALLE-pytorch.
"""
Estimator = Literal["soft", "straight-through", "reinmax"]
"""What the decoder sees in training, and how gradients come back to the encoder's logits.

- "soft": the Gumbel softmax;
- "straight-through": its largest entry alone, with the gradient of the softmax;
- "reinmax": the same with a gradient that is right to the second order (Liu et al., NeurIPS 2023, algorithm 2).
"""
MARGIN = 0.1
"""Pixels of 0..1 are brought to 0.1..0.9 before their logits are taken, which would be infinite at the ends (appendix A.3)."""


class DVAE(nn.Module, ABC):
    """What a discrete autoencoder does; its networks come from a subclass.

    codes: how many codes there are (V). reconstruction: what the decoder says of a pixel. Grids have the side of the pictures over
    2 to the power of `halvings`.
    """

    codes: int
    halvings: int
    reconstruction: Reconstruction

    @property
    def channels(self) -> int:
        """Channels of what the decoder says: a distribution has two numbers for each colour."""
        return 6 if self.reconstruction == "logit-laplace" else 3

    @abstractmethod
    def logits(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] -> logits of the codes [B, V, h, w]."""

    @abstractmethod
    def decode_weights(self, weights: Tensor) -> Tensor:
        """Weights of the codes [B, V, h, w], which sum to 1 over V, -> what the decoder says, [B, channels, H, W]."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, h, w] -> what the decoder says, [B, channels, H, W]: `decode_weights` of one-hot weights."""

    def encode(self, pictures: Tensor) -> Tensor:
        """The likeliest codes of pictures [B, 3, H, W] in [-1, 1]: [B, h, w] int64."""
        return self.logits(pictures).argmax(1)

    def pictures(self, said: Tensor) -> Tensor:
        """What the decoder says -> pictures [B, 3, H, W] in [-1, 1]."""
        if self.reconstruction != "logit-laplace":
            return said.clamp(-1.0, 1.0)
        return unmapped(said[:, :3].sigmoid()) * 2.0 - 1.0

    def error(self, said: Tensor, pictures: Tensor) -> Tensor:
        """How far what the decoder says is from pictures in [-1, 1]: the mean over pixels and colours, a scalar."""
        if self.reconstruction == "logit-laplace":
            return logit_laplace(said.float(), mapped((pictures + 1.0) / 2.0))
        return F.mse_loss(said, pictures) if self.reconstruction == "l2" else F.smooth_l1_loss(said, pictures)


def mapped(pixels: Tensor) -> Tensor:
    """Pixels of 0..1 -> 0.1..0.9."""
    return (1.0 - 2.0 * MARGIN) * pixels + MARGIN


def unmapped(pixels: Tensor) -> Tensor:
    """The inverse of `mapped`, clamped to 0..1."""
    return ((pixels - MARGIN) / (1.0 - 2.0 * MARGIN)).clamp(0.0, 1.0)


def logit_laplace(said: Tensor, pixels: Tensor) -> Tensor:
    """The mean negative logarithm of the logit-Laplace density (appendix A.3, Eq. 2), a scalar.

    said: [B, 6, H, W], means and logarithms of scales b; pixels: [B, 3, H, W] between 0 and 1. With mu and b,
    f(x) = exp(-|logit(x) - mu| / b) / (2 b x (1 - x)).
    """
    mean, log_scale = said.chunk(2, dim=1)
    distance = (torch.logit(pixels) - mean).abs() * torch.exp(-log_scale)
    return (distance + log_scale + math.log(2.0) + torch.log(pixels) + torch.log1p(-pixels)).mean()


def gumbel(like: Tensor) -> Tensor:
    """Standard Gumbel noise of a tensor's shape, from the present generator."""
    return -torch.empty_like(like).exponential_().log()


def relaxed(logits: Tensor, noise: Tensor, temperature: float, estimator: Estimator) -> Tensor:
    """Weights of the codes that the decoder sees in training: [B, V, h, w] logits and Gumbel noise -> [B, V, h, w]."""
    soft = ((logits + noise) / temperature).softmax(1)
    if estimator == "soft":
        return soft
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
    if estimator == "straight-through":
        return hard - soft.detach() + soft
    # Algorithm 2 of Liu et al.: two evaluations of the gradient, as in Heun's method. The port leaves the noise out of the second one.
    first = logits.softmax(1)
    second = (hard + (logits / temperature).softmax(1)) / 2.0
    second = ((second.clamp_min(1e-20).log() - logits).detach() + logits).softmax(1)
    gradient = 2.0 * second - 0.5 * first
    return hard + gradient - gradient.detach()


def divergence(logits: Tensor) -> Tensor:
    """Sum over all places and pictures of the KL divergence from the codes' distribution to the uniform one, a scalar: [B, V, h, w]."""
    logarithms = logits.float().log_softmax(1)
    return (logarithms.exp() * (logarithms + math.log(logits.shape[1]))).sum()


def cosine_course(start: float, end: float, step: int, steps: int) -> float:
    """From start to end along a half cosine over so many steps; end from then on, or at once without steps."""
    if step >= steps:
        return end
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


PORT_EVERY, PORT_RATE = 100, 1e-6
"""DALLE-pytorch changes its temperature every so many steps, by a factor exp(-rate x step)."""


def port_course(start: float, end: float, step: int) -> float:
    """The temperature of DALLE-pytorch's script before a step: it multiplies the *present* temperature, so that the factors compound."""
    changes = (step - 1) // PORT_EVERY if step else 0  # one factor after each of the steps 0, 100, 200, ...
    return max(start * math.exp(-PORT_RATE * PORT_EVERY * changes * (changes + 1) / 2), end)
