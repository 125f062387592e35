"""StyleGAN2's residual discriminator (section 4.1), with minibatch deviation before its end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.progressive.layers import with_minibatch_deviation
from limner.families.style.generator import FIRST_SIDE, Mapping
from limner.families.style.layers import GAIN, EqualizedConvolution, EqualizedLinear
from limner.families.style.resampling import Filter
from limner.nn.fast.layout import for_convolutions


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the second of stride 2, and a 1x1 convolution past them: [B, narrow, 2 H, 2 W] -> [B, wide, H, W].

    Both ways are smoothed before they lose places. The root of 2 by which their sum is divided is part of their gains.
    """

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.first = EqualizedConvolution(narrow, narrow, 3, padding=1)
        self.smoothed = Filter(2, 2)
        self.second = EqualizedConvolution(narrow, wide, 3, stride=2, gain=1 / GAIN)
        self.halved = Filter(1, 1, down=2)
        self.past = EqualizedConvolution(narrow, wide, 1, bias=False, activated=False, gain=1 / GAIN)

    def forward(self, x: Tensor) -> Tensor:
        through: Tensor = self.second(self.smoothed(self.first(x)))
        return through + self.past(self.halved(x))


class Discriminator(nn.Module):
    """Pictures [B, 3, R, R] and, where `condition_width` is not 0, conditions [B, D] to logits [B].

    widths: channels of the maps of 4, 8, ..., R px. group: pictures that are compared with each other. The condition is read by a mapping
    network of its own, `layers` deep, with which the pictures' features are projected, as in NVIDIA's stylegan2-ada-pytorch.
    """

    def __init__(self, widths: Sequence[int], *, group: int | None = 4, condition_width: int = 0, layers: int = 8) -> None:
        super().__init__()
        self.group = group
        self.colours = EqualizedConvolution(3, widths[-1], 1)
        self.blocks = nn.ModuleList(ResidualBlock(widths[level], widths[level - 1]) for level in range(len(widths) - 1, 0, -1))
        self.last = EqualizedConvolution(widths[0] + 1, widths[0], 3, padding=1)
        self.hidden = EqualizedLinear(widths[0] * FIRST_SIDE**2, widths[0], activated=True)
        self.mapping = Mapping(0, widths[0], layers, condition_width=condition_width) if condition_width else None
        self.score = EqualizedLinear(widths[0], widths[0] if condition_width else 1)

    def look(self, pictures: Tensor) -> Tensor:
        """The map before the pictures of a batch are compared: [B, C, 4, 4]."""
        x = self.colours(for_convolutions(pictures))
        for block in self.blocks:
            x = block(x)
        found: Tensor = x
        return found

    def judged(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """`look`'s features -> [B] logits."""
        x = self.last(with_minibatch_deviation(features, self.group))
        scores: Tensor = self.score(self.hidden(x.contiguous().flatten(1)))
        if self.mapping is None:
            return scores[:, 0]
        assert condition is not None
        return (scores * self.mapping(None, condition)).sum(1) / math.sqrt(scores.shape[1])

    def forward(self, pictures: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.judged(self.look(pictures), condition)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The logistic loss of logits [B], a scalar (Goodfellow et al., 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """The non-saturating loss of logits [B], a scalar."""
    return F.softplus(-fake).mean()
