"""Blocks of a generator whose maps are steered by a style: numbers made of text and noise that scale and shift every channel."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.conditioning import ConditioningAugmentation
from limner.families.stacked import FIRST_SIDE
from limner.nn.blurring import binomial
from limner.nn.fast.layers import GatedUnit
from limner.nn.fast.layout import for_convolutions
from limner.nn.fast.upsampling import DoublingConvolution

Blur = Literal["none", "last", "inner", "all"]
"""After which of the transposed convolutions of a generator a binomial filter follows."""


class Steered(nn.Module):
    """act(BN(x) (1 + a) + b), where a and b, a number a channel each, are linear in the style; act is a ReLU, if nothing else is given."""

    def __init__(self, channels: int, style: int, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.activation = activation or nn.ReLU()
        self.normalization = nn.BatchNorm2d(channels, affine=False)
        self.scale_and_shift = nn.Linear(style, 2 * channels)
        nn.init.normal_(self.scale_and_shift.weight, 0.0, 0.05)
        nn.init.zeros_(self.scale_and_shift.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: [B, C, H, W], style: [B, S] -> [B, C, H, W]."""
        scale, shift = self.scale_and_shift(style)[:, :, None, None].chunk(2, dim=1)
        steered: Tensor = self.activation(torch.addcmul(shift, self.normalization(x), 1.0 + scale))
        return steered


class SteeredDoubling(nn.Module):
    """GLU(BN(conv3(doubled x)) (1 + a) + b): [B, wide, H, W] -> [B, narrow, 2 H, 2 W].

    Pixels are repeated, and half of the convolution's 2 x narrow channels gate the other half, as in AttnGAN's generator (Dauphin et al.,
    ICML 2017, arXiv:1612.08083); a and b are linear in the style.
    """

    def __init__(self, wide: int, narrow: int, style: int) -> None:
        super().__init__()
        self.doubling = DoublingConvolution(wide, 2 * narrow, bias=False)
        self.steered = Steered(2 * narrow, style, GatedUnit())

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: [B, wide, H, W], style: [B, S] -> [B, narrow, 2 H, 2 W]."""
        steered: Tensor = self.steered(self.doubling(x), style)
        return steered


class Residual(nn.Module):
    """x + conv3(M(conv3(x))), then M, where M is `Steered`."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.inner, self.after = Steered(channels, style), Steered(channels, style)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self.after(x + self.second(self.inner(self.first(x), style)), style)


class SteeredGenerator(nn.Module):
    """A first map, then doublings, each steered by text and noise: Limner GAN's generator.

    levels: how often 4 is doubled, the picture included. channels: of the map at half the picture's side; earlier ones double, up to eight
    times as many. text_first: whether text and noise make the first map; else noise alone does. noise_style: whether the noise steers next
    to the text. mapping_layers: of a network between these two and the scales and shifts. residual: a block at 8x8. gated:
    `SteeredDoubling` up to a map of the picture's size, with 3/4 of the channels; else transposed convolutions, the last of which makes the
    picture. Only for these: `blur`, and resized, whether that last one is interpolation and a 3x3 convolution.
    """

    def __init__(
        self,
        sentence_width: int,
        levels: int,
        *,
        text_width: int,
        noise_width: int,
        channels: int,
        text_first: bool = False,
        noise_style: bool = True,
        mapping_layers: int = 0,
        residual: bool = True,
        gated: bool = False,
        blur: Blur = "none",
        resized: bool = False,
    ) -> None:
        super().__init__()
        widths = [channels * 2 ** min(level, 3) for level in reversed(range(levels))]  # of 4x4, 8x8, ...: coarse to fine
        self.augmentation = ConditioningAugmentation(sentence_width, text_width, "leaky-relu", "log-deviation")
        self.text_first, self.noise_style = text_first, noise_style
        style = text_width + noise_width * noise_style
        mapping: list[nn.Module] = []
        for _ in range(mapping_layers):
            mapping += [nn.Linear(style, style), nn.LeakyReLU(0.2, inplace=True)]
        self.mapping = nn.Sequential(*mapping)
        first = nn.ConvTranspose2d(noise_width + text_width * text_first, widths[0], FIRST_SIDE, bias=False)
        self.first = nn.Sequential(first, nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        pairs = list(zip(widths, widths[1:], strict=False))
        if gated:
            pairs.append((channels, max(3 * channels // 4, 1)))
            self.doublings = nn.ModuleList(SteeredDoubling(wide, narrow, style) for wide, narrow in pairs)
        else:
            self.doublings = nn.ModuleList(nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False) for wide, narrow in pairs)
            self.steered = nn.ModuleList(Steered(narrow, style) for _, narrow in pairs)
        self.residual = Residual(widths[1], style) if residual else None
        last = pairs[-1][1]
        self.picture = nn.Conv2d(last, 3, 3, padding=1) if gated or resized else nn.ConvTranspose2d(last, 3, 4, 2, 1, bias=False)
        self.gated, self.resized = gated, resized and not gated
        self.blur_inner, self.blur_last = blur in ("inner", "all"), blur in ("last", "all") and not gated

    def forward(self, z: Tensor, epsilon: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """z: [B, Z], epsilon: [B, T], sentence: [B, D] -> pictures [B, 3, R, R] in [-1, 1], and the divergence, a scalar."""
        found = self.augmentation(sentence)
        condition = found.sample(epsilon)
        both = torch.cat([condition, z], dim=1)
        style = self.mapping(both if self.noise_style else condition)
        x = for_convolutions(self.first((both if self.text_first else z)[:, :, None, None]))
        for level in range(len(self.doublings)):
            x = self._doubled(x, level, style)
            if level == 0 and self.residual is not None:
                x = self.residual(x, style)
        if self.resized:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        picture = self.picture(x)
        return torch.tanh(binomial(picture) if self.blur_last else picture), found.divergence()

    def _doubled(self, x: Tensor, level: int, style: Tensor) -> Tensor:
        doubling = self.doublings[level]
        if self.gated:
            gated: Tensor = doubling(x, style)
            return gated
        x = doubling(x)
        steered: Tensor = self.steered[level](binomial(x) if self.blur_inner else x, style)
        return steered
