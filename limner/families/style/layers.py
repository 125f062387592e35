"""The layers of StyleGAN2 (Karras et al., CVPR 2020, arXiv:1912.04958), as rosinality's and NVIDIA's PyTorch code have them.

Weights begin as standard normal noise and are multiplied by a constant, 1 / sqrt(fan_in), whenever they are used: the equalised learning
rate of ProGAN. Every LeakyReLU is followed by a factor of sqrt(2), so that it keeps the variance. That factor is part of what comes before
it here, which gives the same: sqrt(2) f(x) = f(sqrt(2) x).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.style.resampling import Filter
from limner.nn.fast.convolution import Convolution
from limner.nn.fast.layout import for_convolutions

SLOPE = 0.2
"""Slope of every LeakyReLU below zero."""
GAIN = math.sqrt(2.0)
"""The factor of every LeakyReLU."""
EPSILON = 1e-8
"""Added below the square roots of demodulation and of the latent's normalisation."""


class EqualizedLinear(nn.Linear):
    """A linear layer by `scale * weight`: [B, narrow] -> [B, wide].

    multiplier: how many times as slowly it learns, 0.01 in the mapping network. Weights are that many times as large at the beginning, and
    scale and bias are multiplied by it. activated: a LeakyReLU follows.
    """

    def __init__(self, narrow: int, wide: int, *, bias: float = 0.0, multiplier: float = 1.0, activated: bool = False) -> None:
        super().__init__(narrow, wide)
        self.multiplier, self.activated = multiplier, activated
        nn.init.normal_(self.weight, 0.0, 1.0 / multiplier)
        nn.init.constant_(self.bias, bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        gain = self.multiplier * (GAIN if self.activated else 1.0)
        x = F.linear(input, self.weight * (gain / math.sqrt(self.in_features)), self.bias * gain)
        return F.leaky_relu(x, SLOPE, inplace=True) if self.activated else x


class EqualizedConvolution(Convolution):
    """A convolution by `scale * weight`: [B, narrow, H, W] -> [B, wide, H', W'].

    activated: a LeakyReLU follows. gain: a factor of the result.
    """

    def __init__(
        self,
        narrow: int,
        wide: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        activated: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__(narrow, wide, kernel, stride=stride, padding=padding, bias=bias)
        self.activated, self.gain = activated, gain * (GAIN if activated else 1.0)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        weight = self.weight * (self.gain / math.sqrt(self.weight[0].numel()))
        x = self._conv_forward(input, weight, None if self.bias is None else self.bias * self.gain)
        return F.leaky_relu(x, SLOPE, inplace=True) if self.activated else x


class StyledConvolution(Convolution):
    """A 3x3 convolution whose weights a style scales, noise, and a LeakyReLU (section 2.2): [B, narrow, H, W] -> [B, wide, H, W].

    A style multiplies the weights by input channel, and demodulation divides them by their norm, by output channel. Both are the same as
    scaling the maps before and after one convolution that all rows share, Eq. 3, which is what happens here: rosinality's convolution of a
    group for each row takes twice the time on a CPU. Where a single picture is painted, scaling the weights is cheaper.
    up: the side of the maps doubles, by a transposed convolution and a filter.
    """

    def __init__(self, narrow: int, wide: int, style: int, *, up: bool = False) -> None:
        super().__init__(narrow, wide, 3, padding=1)
        self.modulation = EqualizedLinear(style, narrow, bias=1.0)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.filter = Filter(1, 1, gain=4.0) if up else None  # after zeros that the transposed convolution puts between values
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:  # type: ignore[override]
        """x: [B, C, H, W], style: [B, W], noise: [B or 1, 1, H', W'] -> [B, wide, H', W']."""
        assert self.bias is not None
        x = self.modulated(x, style, GAIN) + (noise * (self.noise_strength * GAIN) + (self.bias * GAIN)[:, None, None])
        return F.leaky_relu(x, SLOPE, inplace=True)

    def modulated(self, x: Tensor, style: Tensor, gain: float = 1.0) -> Tensor:
        """The convolution alone, times `gain`."""
        scale = self.modulation(style)  # [B, C]
        weight = self.weight / math.sqrt(self.weight[0].numel())
        norms = torch.rsqrt(scale.square() @ weight.square().sum((2, 3)).T + EPSILON)  # [B, wide]
        single = not torch.is_grad_enabled() and not torch.compiler.is_exporting() and len(x) == 1
        if single and x.numel() > weight.numel():
            return self._convolved(x, weight * scale[:, :, None, None] * (norms * gain).T[:, :, None, None])
        x = self._convolved(x * scale[:, :, None, None], weight)
        return x * (norms * gain)[:, :, None, None]

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        x = for_convolutions(x)
        if self.filter is None:
            return self._conv_forward(x, weight, None)
        doubled: Tensor = self.filter(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        return doubled


class StyledPicture(nn.Module):
    """A 1x1 convolution to colours whose weights a style scales, without demodulation: [B, C, H, W] -> [B, 3, H, W]."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.modulation = EqualizedLinear(style, channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, channels))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = self.modulation(style) / math.sqrt(x.shape[1])  # [B, C]
        places = x.permute(0, 2, 3, 1).flatten(1, 2)  # [B, H W, C]
        colours = torch.matmul(places, (self.weight * scale[:, None]).transpose(1, 2)) + self.bias
        return colours.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
