"""The networks of the first StyleGAN (Karras et al., CVPR 2019, arXiv:1812.04948), which grow, as rosinality's PyTorch code has them.

Styles scale and shift the maps of each layer after these are normalised (AdaIN). Scales are ProGAN's, sqrt(2 / fan_in), everywhere: in the
layers of styles and colours, in the last linear layer and for the strengths of noise. The mapping network is StyleGAN2's, which gives the
same; its weights are a hundred times as large in exchange for a scale of a hundredth, so that Adam moves it a hundredth as fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.progressive.layers import (
    SLOPE,
    EqualizedConvolution,
    EqualizedDoublingConvolution,
    EqualizedLinear,
    from_picture,
    to_picture,
    with_minibatch_deviation,
)
from limner.families.style.generator import Mapping
from limner.families.style.resampling import resampled
from limner.nn.fast.convolution import Convolution
from limner.nn.fast.layout import for_convolutions
from limner.nn.fast.upsampling import doubled

FUSED_SIDE = 128
"""The side from which on maps are doubled by a transposed convolution, a quarter as strong."""


class Blur(nn.Module):
    """Each channel smoothed by [1, 2, 1] along both axes."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        along = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", torch.outer(along, along) / 16.0, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return resampled(for_convolutions(x), self.kernel, pads=(1, 1, 1, 1))


class StyleLayer(nn.Module):
    """Noise, a LeakyReLU, and AdaIN, which follow each convolution: [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.noise_strength = nn.Parameter(torch.zeros(channels))
        self.style = EqualizedLinear(style, 2 * channels)  # scales, then shifts
        with torch.no_grad():
            self.style.bias[:channels] = 1.0

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        strength = self.noise_strength * math.sqrt(2.0 / x.shape[1])  # the number of channels counts as its fan-in
        x = F.instance_norm(F.leaky_relu(x + noise * strength[:, None, None], SLOPE, inplace=True))
        scale, shift = self.style(style)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, scale, x)


class StyleBlock(nn.Module):
    """Two convolutions with their styles; the first doubles the side, or is a constant where `wide` is 0. Both add the same noise."""

    def __init__(self, wide: int, narrow: int, style: int, side: int) -> None:
        super().__init__()
        self.constant = None if wide else nn.Parameter(torch.randn(1, narrow, side, side))
        self.doubling = EqualizedDoublingConvolution(wide, narrow) if wide else None
        if self.doubling is not None and side >= FUSED_SIDE:
            self.doubling.scale /= 4  # the code takes the mean of four weights there, where doubling first would sum them
        self.blur = Blur() if wide else None
        self.first = StyleLayer(narrow, style)
        self.convolution = EqualizedConvolution(narrow, narrow, 3, padding=1)
        self.second = StyleLayer(narrow, style)

    def forward(self, x: Tensor | None, style: Tensor, noise: Tensor) -> Tensor:
        if self.constant is not None:
            x = self.constant.expand(style.shape[0], -1, -1, -1)
        else:
            assert self.doubling is not None and self.blur is not None and x is not None
            x = self.blur(self.doubling(x))
        x = self.first(x, style, noise)
        found: Tensor = self.second(self.convolution(for_convolutions(x)), style, noise)
        return found


class AdaptiveGenerator(nn.Module):
    """Latents and noise to pictures [B, 3, 4 x 2^d, 4 x 2^d], which nothing keeps within [-1, 1]. widths: channels of 4, 8, ... px."""

    def __init__(self, widths: Sequence[int], style: int, layers: int) -> None:
        super().__init__()
        self.mapping = Mapping(style, style, layers)
        self.blocks = nn.ModuleList(
            StyleBlock(wide, narrow, style, 4 << level) for level, (wide, narrow) in enumerate(zip([0, *widths], widths, strict=False))
        )
        self.colours = nn.ModuleList(to_picture(width) for width in widths)

    @staticmethod
    def sides(depth: int) -> list[int]:
        """Sides of the maps of noise, one for each block."""
        return [4 << level for level in range(depth + 1)]

    def synthesize(self, styles: Tensor, maps: Sequence[Tensor], depth: int, alpha: float = 1.0) -> Tensor:
        """styles: [B, depth + 1, W], maps: for each block [B or 1, 1, r, r]; alpha: how far the last block has faded in."""
        x: Tensor | None = None
        before = x
        for level, block in enumerate(self.blocks[: depth + 1]):
            before, x = x, block(x, styles[:, level], maps[level])
        assert x is not None
        fine: Tensor = self.colours[depth](x)
        return fine if depth == 0 or alpha >= 1.0 else doubled(self.colours[depth - 1](before)).lerp(fine, alpha)

    def train_at(self, depth: int) -> None:
        """Let those weights learn that pictures of this depth, from 1, are painted with, and no others; depth 1 does not fade in."""
        self.requires_grad_(False)
        for part in (self.mapping, *self.blocks[: depth + 1], *self.colours[max(depth - 1, 1) : depth + 1]):
            part.requires_grad_(True)

    def modulations(self, depth: int) -> list[Tensor]:
        """The weights [4 C, W] by which the style of each block scales and shifts maps."""
        layers = [(block.first, block.second) for block in cast("Sequence[StyleBlock]", self.blocks[: depth + 1])]
        return [torch.cat([first.style.weight, second.style.weight]) for first, second in layers]


class HalvingConvolution(Convolution):
    """A 3x3 convolution followed by the mean of each 2x2 places, as one convolution: [B, C, 2 H, 2 W] -> [B, E, H, W].

    The mean of four neighbouring results has a kernel of 4x4: that of its four shifts. It takes 16 products a place in place of 36.
    """

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__(narrow, wide, 4, stride=2, padding=1)
        self.weight = nn.Parameter(torch.randn(wide, narrow, 3, 3))
        self.scale = math.sqrt(2.0 / (narrow * 9))
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        shifts = F.avg_pool2d(F.pad(self.weight * self.scale, (1, 1, 1, 1)), 2, stride=1)  # the mean is that of the four places
        return self._conv_forward(input, shifts, self.bias)


class AdaptiveDiscriminator(nn.Module):
    """Pictures [B, 3, 4 x 2^d, 4 x 2^d] to logits [B]. widths: channels of 4, 8, ... px; activated: a LeakyReLU follows the first layer."""

    def __init__(self, widths: Sequence[int], *, activated: bool = True) -> None:
        super().__init__()
        self.activated = activated
        self.colours = nn.ModuleList(from_picture(width) for width in widths)
        self.firsts = nn.ModuleList(EqualizedConvolution(fine, wide, 3, padding=1) for wide, fine in zip(widths, widths[1:], strict=False))
        self.halvings = nn.ModuleList(HalvingConvolution(wide, wide) for wide in widths[:-1])
        self.blur = Blur()
        self.last = EqualizedConvolution(widths[0] + 1, widths[0], 3, padding=1)
        self.hidden = EqualizedConvolution(widths[0], widths[0], 4)
        self.score = EqualizedLinear(widths[0], 1)

    def look(self, pictures: Tensor, depth: int, alpha: float = 1.0) -> Tensor:
        """The map before the pictures of a batch are compared: [B, C, 4, 4]."""
        x = self._begin(pictures, depth)
        for level in reversed(range(depth)):
            x = F.leaky_relu(self.firsts[level](x), SLOPE, inplace=True)
            x = F.leaky_relu(self.halvings[level](self.blur(x)), SLOPE, inplace=True)
            if level == depth - 1 and alpha < 1.0:
                x = self._begin(F.avg_pool2d(pictures, 2), level).lerp(x, alpha)
        return x

    def _begin(self, pictures: Tensor, depth: int) -> Tensor:
        x: Tensor = self.colours[depth](for_convolutions(pictures))
        return F.leaky_relu(x, SLOPE, inplace=True) if self.activated else x

    def judged(self, features: Tensor) -> Tensor:
        """`look`'s features -> [B] logits."""
        x = F.leaky_relu(self.last(with_minibatch_deviation(features)), SLOPE, inplace=True)
        x = F.leaky_relu(self.hidden(x), SLOPE, inplace=True)
        found: Tensor = self.score(x.flatten(1))[:, 0]
        return found

    def forward(self, pictures: Tensor, depth: int, alpha: float = 1.0) -> Tensor:
        return self.judged(self.look(pictures, depth, alpha))

    def train_at(self, depth: int) -> None:
        """Let those weights learn that pictures of this depth, from 1, are judged with, and no others; depth 1 does not fade in."""
        self.requires_grad_(False)
        for part in (self.last, self.hidden, self.score, *self.firsts[:depth], *self.halvings[:depth]):
            part.requires_grad_(True)
        self.colours[max(depth - 1, 1) : depth + 1].requires_grad_(True)
