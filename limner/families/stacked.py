"""Blocks of generators and discriminators that paint from coarse to fine: StackGAN, StackGAN++ and the AttnGAN family.

Convolutions before batch normalisation have no bias, as in the official codes. `gated` blocks have a gated linear unit instead of a ReLU,
and so twice as many channels before it (StackGAN++ and later methods).
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.nn.fast.convolution import Convolution, PictureConvolution
from limner.nn.fast.layers import BatchNorm, GatedUnit, Layers
from limner.nn.fast.upsampling import DoublingConvolution

FIRST_SIDE = 4
"""Side of the feature maps that generators begin with and discriminators end with."""


def doublings(resolution: int, method: str, smallest: int = 16) -> int:
    """How many times 4 must be doubled to give the resolution. Raises SettingsError for one that `method` cannot paint."""
    if resolution < smallest or resolution & (resolution - 1):
        raise SettingsError(f"{method} cannot paint at {resolution} px: choose a power of two from {smallest}")
    return int(math.log2(resolution // FIRST_SIDE))


def convolution(narrow: int, wide: int, *, gated: bool = False) -> list[nn.Module]:
    """3x3 convolution to `wide` channels, batch normalisation, ReLU or gated linear unit."""
    inner = 2 * wide if gated else wide
    return [nn.Conv2d(narrow, inner, 3, padding=1, bias=False), *_after(inner, gated)]


def upsampling(wide: int, narrow: int, *, gated: bool = False) -> Layers:
    """[B, wide, H, W] -> [B, narrow, 2 H, 2 W]: nearest neighbours, then `convolution`.

    The first two are one layer here. Names count from 1, as in the authors' files, where layer 0 is the upsampling.
    """
    inner = 2 * narrow if gated else narrow
    layers = [DoublingConvolution(wide, inner, bias=False), *_after(inner, gated)]
    return Layers(OrderedDict((str(number), layer) for number, layer in enumerate(layers, start=1)))


def _after(channels: int, gated: bool) -> list[nn.Module]:
    return [BatchNorm(channels), GatedUnit() if gated else nn.ReLU(inplace=True)]


def doubling(wide: int, narrow: int) -> list[nn.Module]:
    """Upsampling by a transposed convolution, batch normalisation and ReLU: less than half the arithmetic of `upsampling`."""
    return [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)]


class Residual(nn.Module):
    """x + BN(conv(act(BN(conv(x))))), [B, C, H, W] -> [B, C, H, W]; StackGAN has a ReLU after the sum, the gated methods have nothing."""

    def __init__(self, channels: int, *, gated: bool = False) -> None:
        super().__init__()
        self.layers = Layers(
            *convolution(channels, channels, gated=gated), nn.Conv2d(channels, channels, 3, padding=1, bias=False), BatchNorm(channels)
        )
        self.after = nn.Identity() if gated else nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(x + self.layers(x))


def to_picture(channels: int) -> nn.Sequential:
    """[B, C, H, W] -> [B, 3, H, W] in [-1, 1]."""
    return nn.Sequential(PictureConvolution(channels), nn.Tanh())


def picture_code(base: int, resolution: int, *, normalize: bool = True, deepest: int = 3) -> Layers:
    """A discriminator's trunk: [B, 3, R, R] -> [B, base x 2 ** deepest, 4, 4].

    Strided 4x4 convolutions double the channels down to 4x4; where that makes more than base x 2 ** deepest (above 64 px), 3x3
    convolutions halve them again, as in the official codes. normalize: batch normalisation, but for the first layer; without it,
    convolutions have biases, and the pictures of a batch are independent.
    """
    levels = doublings(resolution, "the discriminator", smallest=8)
    widths = [base * 2**level for level in range(levels)]
    layers: list[nn.Module] = [nn.Conv2d(3, base, 4, 2, 1, bias=not normalize), nn.LeakyReLU(0.2, inplace=True)]
    for narrow, wide in zip(widths, widths[1:], strict=False):
        layers += _leaky(Convolution(narrow, wide, 4, 2, 1, bias=not normalize), normalize)
    for level in range(levels - 1, deepest, -1):
        layers += _leaky(Convolution(widths[level], widths[level - 1], 3, padding=1, bias=not normalize), normalize)
    return Layers(*layers)


class Halving(nn.Module):
    """[B, narrow, H, W] -> [B, wide, H / 2, W / 2]: act((mean of each 2x2 of x, channels repeated + conv4(act(conv3(x)))) / sqrt 2).

    act is a leaky ReLU of slope .2, conv4 has a stride of 2, and wide is a multiple of narrow. No normalisation.
    """

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(narrow, narrow, 3, padding=1), nn.Conv2d(narrow, wide, 4, 2, 1)
        self.times = wide // narrow

    def forward(self, x: Tensor) -> Tensor:
        found = self.second(F.leaky_relu(self.first(x), 0.2))
        return F.leaky_relu((found + F.avg_pool2d(x, 2).repeat(1, self.times, 1, 1)) * 0.5**0.5, 0.2)


def residual_code(base: int, resolution: int) -> Layers:
    """A deeper trunk without normalisation: [B, 3, R, R] -> [B, base x 4, 4, 4]; at 16 px, which has one block less, base x 2.

    Two strided 4x4 convolutions bring pictures to a quarter of their side, and `Halving` blocks to 4x4. Where those sides are large,
    a convolution that keeps the side costs most and tells least.
    """
    levels = doublings(resolution, "the discriminator", smallest=16)
    narrow = 2 * base
    layers = [
        nn.Conv2d(3, base, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(base, narrow, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    for _ in range(levels - 2):
        layers.append(Halving(narrow, 4 * base))
        narrow = 4 * base
    return Layers(*layers)


class Head(nn.Module):
    """A discriminator's head: picture codes [B, C, 4, 4] and, unless width is 0, conditions [B, D] -> [B] logits.

    width: D, or 0. condition_first: whether the condition's channels come before the picture's (StackGAN++) or after (the others).
    """

    def __init__(self, channels: int, width: int = 0, *, normalize: bool = True, condition_first: bool = False) -> None:
        super().__init__()
        self.condition_first = condition_first
        self.joint = (
            Layers(*_leaky(Convolution(channels + width, channels, 3, padding=1, bias=not normalize), normalize)) if width else None
        )
        self.logits = nn.Conv2d(channels, 1, FIRST_SIDE, stride=FIRST_SIDE)

    def forward(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.apart((code, condition))[0]

    def apart(self, *pairs: tuple[Tensor, Tensor | None]) -> list[Tensor]:
        """Logits [B_i] of several batches of codes and conditions, at once, each by its own batch statistics."""
        sizes, codes = [len(code) for code, _ in pairs], torch.cat([code for code, _ in pairs])
        if self.joint is not None:
            given = torch.cat([condition for _, condition in pairs if condition is not None])
            tiled = given[:, :, None, None].expand(-1, -1, *codes.shape[2:])
            joined = torch.cat([tiled, codes] if self.condition_first else [codes, tiled], dim=1)
            codes = torch.cat(self.joint.apart(*joined.split(sizes)))
        return list(self.logits(codes).flatten().split(sizes))


def _leaky(layer: nn.Conv2d, normalize: bool) -> list[nn.Module]:
    return [layer, *([BatchNorm(layer.out_channels)] if normalize else []), nn.LeakyReLU(0.2, inplace=True)]
