"""The layers and blocks of ProGAN (Karras et al., ICLR 2018, arXiv:1710.10196), as pro_gan_pytorch and BMSG-GAN have them.

Every weight begins as standard normal noise and is multiplied by a constant, `scale`, whenever it is used: the equalised learning rate of
section 4.1. Biases begin as zeros and are not scaled. The constants differ between the authors' versions: see `Scaling`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.nn.fast.convolution import Convolution
from limner.nn.fast.upsampling import DoublingConvolution

FIRST_SIDE = 4
"""Side of the maps that generators begin with and discriminators end with."""
SLOPE = 0.2
"""Slope of every LeakyReLU below zero."""
EPSILON = 1e-8
"""Added below the square roots of pixel norm and minibatch deviation."""

Scaling = Literal["unit", "he"]
"""How large a layer's scale is.

- "unit": 1 / sqrt(fan_in), as pro_gan_pytorch 1.x has it, up to chance: it divides He's random weights by their root mean square, takes
  that as the scale, and does not save it.
- "he": sqrt(2 / fan_in), as in the paper, pro_gan_pytorch from 2.0 on and BMSG-GAN.
"""
GAINS: dict[Scaling, float] = {"unit": 1.0, "he": math.sqrt(2.0)}


class EqualizedConvolution(Convolution):
    """A convolution by `scale * weight`: [B, narrow, H, W] -> [B, wide, H', W'], H' being H + 2 padding - kernel + 1."""

    def __init__(self, narrow: int, wide: int, kernel: int, *, padding: int = 0, scaling: Scaling = "he") -> None:
        super().__init__(narrow, wide, kernel, padding=padding)
        self.scale = _begun(self, narrow * kernel**2, scaling)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        weight = self.weight * self.scale
        if self.padding == (0, 0) and input.shape[2:] == weight.shape[2:]:  # one product of matrices, which needs no reordering
            return F.linear(input.flatten(1), weight.flatten(1), self.bias)[:, :, None, None]
        return self._conv_forward(input, weight, self.bias)


class EqualizedDoublingConvolution(DoublingConvolution):
    """A 3x3 convolution of doubled maps by `scale * weight`: [B, wide, H, W] -> [B, narrow, 2 H, 2 W]."""

    def __init__(self, wide: int, narrow: int, *, scaling: Scaling = "he") -> None:
        super().__init__(wide, narrow)
        self.scale = _begun(self, wide * 9, scaling)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        return self._conv_forward(input, self.weight * self.scale, self.bias)


class EqualizedTransposedConvolution(nn.ConvTranspose2d):
    """A transposed convolution of a single place by `scale * weight`: [B, narrow] -> [B, wide, k, k], of weights [narrow, wide, k, k].

    The fan-in differs between the versions: wide x kernel x kernel with "unit", as PyTorch counts it, and narrow with "he", as it is.
    """

    def __init__(self, narrow: int, wide: int, kernel: int, *, scaling: Scaling = "he") -> None:
        super().__init__(narrow, wide, kernel)
        self.scale = _begun(self, wide * kernel**2 if scaling == "unit" else narrow, scaling)

    def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]  # noqa: A002  # the base class's name
        maps = (input @ (self.weight * self.scale).flatten(1)).unflatten(1, self.weight.shape[1:])
        assert self.bias is not None
        return maps + self.bias[:, None, None]


class EqualizedLinear(nn.Linear):
    """A linear layer by `scale * weight`: [B, narrow] -> [B, wide]."""

    def __init__(self, narrow: int, wide: int, *, scaling: Scaling = "he") -> None:
        super().__init__(narrow, wide)
        self.scale = _begun(self, narrow, scaling)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        return F.linear(input, self.weight * self.scale, self.bias)


def _begun(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, fan_in: int, scaling: Scaling) -> float:
    """Give a layer its first weights; returns its scale."""
    nn.init.normal_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return GAINS[scaling] / math.sqrt(fan_in)


def pixel_norm(x: Tensor) -> Tensor:
    """[B, C, ...] with the C numbers of every place divided by their root mean square (section 4.2)."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)


def with_minibatch_deviation(x: Tensor, group: int | None = None) -> Tensor:
    """[B, C, H, W] -> [B, C + 1, H, W]: one more map, all of it the mean deviation of a feature over a group of the batch (section 3).

    group: how many pictures are compared with each other, or all where there are fewer; None compares the whole batch, as 1.x and 2.x of
    pro_gan_pytorch and BMSG-GAN do (3.x: 4). Raises SettingsError for a batch that is not made of whole groups.
    """
    size = len(x) if group is None else min(group, len(x))
    if len(x) % size:
        raise SettingsError(f"minibatch deviation compares {size} pictures: a batch of {len(x)} must be a multiple of that")
    groups = x.unflatten(0, (size, -1))  # [G, M, C, H, W]: pictures m, M + m, 2 M + m, ... are compared
    deviation = (groups - groups.mean(0)).square().mean(0).add(EPSILON).sqrt().mean((1, 2, 3))  # [M]
    tiled = deviation.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])
    return torch.cat([x, tiled], dim=1)


def block_widths(channels: int, depth: int, full: int = 4) -> list[int]:
    """Channels after each of `depth` blocks of a generator, the first at 4x4: `full` times `channels`, then half as many each time.

    A discriminator has them in reverse. full: 4 in pro_gan_pytorch 1.x and 2.x and in BMSG-GAN, 5 in 3.x and in the paper. Raises
    SettingsError where nothing would be left.
    """
    widths = [channels >> max(block - full + 1, 0) for block in range(depth)]
    if widths[-1] < 1:
        raise SettingsError(f"{channels} channels cannot be halved {depth - full} times: choose {2 ** (depth - full)} or more")
    return widths


class FirstBlock(nn.Module):
    """Latents to the first maps of a generator: [B, L] -> [B, C, 4, 4].

    normalize: whether pixel norm, here of the whole latent, comes before all else, as in the paper and in
    pro_gan_pytorch 3.x. BMSG-GAN normalises its latents before it calls the network.
    """

    def __init__(self, latent: int, channels: int, *, scaling: Scaling = "he", normalize: bool = False) -> None:
        super().__init__()
        self.normalize = normalize
        self.transposed = EqualizedTransposedConvolution(latent, channels, FIRST_SIDE, scaling=scaling)
        self.convolution = EqualizedConvolution(channels, channels, 3, padding=1, scaling=scaling)

    def forward(self, latent: Tensor) -> Tensor:
        x = self.transposed(pixel_norm(latent) if self.normalize else latent)
        x = self.convolution(F.leaky_relu(x, SLOPE, inplace=True))
        return pixel_norm(F.leaky_relu(x, SLOPE, inplace=True))


class GeneratorBlock(nn.Module):
    """Doubles maps by nearest neighbours, then two 3x3 convolutions with pixel norm: [B, wide, H, W] -> [B, narrow, 2 H, 2 W]."""

    def __init__(self, wide: int, narrow: int, *, scaling: Scaling = "he") -> None:
        super().__init__()
        self.first = EqualizedDoublingConvolution(wide, narrow, scaling=scaling)
        self.second = EqualizedConvolution(narrow, narrow, 3, padding=1, scaling=scaling)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            x = pixel_norm(F.leaky_relu(layer(x), SLOPE, inplace=True))
        return x


class DiscriminatorBlock(nn.Module):
    """Two 3x3 convolutions, then halves maps by their means: [B, narrow, 2 H, 2 W] -> [B, wide, H, W]."""

    def __init__(self, narrow: int, wide: int, *, scaling: Scaling = "he") -> None:
        super().__init__()
        self.first = EqualizedConvolution(narrow, narrow, 3, padding=1, scaling=scaling)
        self.second = EqualizedConvolution(narrow, wide, 3, padding=1, scaling=scaling)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            x = F.leaky_relu(layer(x), SLOPE, inplace=True)
        return F.avg_pool2d(x, 2)


class LastBlock(nn.Module):
    """The end of a discriminator: maps [B, C, 4, 4] and, unless `sentence_width` is 0, sentences [B, D] -> [B] scores.

    narrow: channels C of the maps that come in, where they are not `channels`. compressed: numbers to which a sentence is reduced before it
    is joined to every place (T2F). deviation, group: whether and how `with_minibatch_deviation` is used; without it, the pictures of a
    batch are independent. `look` and `match` are the two halves: a picture's features are computed once for several sentences.
    """

    def __init__(
        self,
        channels: int,
        *,
        narrow: int | None = None,
        sentence_width: int = 0,
        compressed: int = 0,
        deviation: bool = True,
        group: int | None = None,
        scaling: Scaling = "he",
    ) -> None:
        super().__init__()
        self.deviation, self.group = deviation, group
        self.first = EqualizedConvolution((narrow or channels) + deviation, channels, 3, padding=1, scaling=scaling)
        self.compression = EqualizedLinear(sentence_width, compressed, scaling=scaling) if sentence_width else None
        self.joint = EqualizedConvolution(channels + compressed, channels, 1, scaling=scaling) if sentence_width else None
        self.second = EqualizedConvolution(channels, channels, FIRST_SIDE, scaling=scaling)
        self.score = EqualizedConvolution(channels, 1, 1, scaling=scaling)

    def look(self, x: Tensor) -> Tensor:
        """[B, C, 4, 4] -> [B, channels, 4, 4], before the sentence is read."""
        x = with_minibatch_deviation(x, self.group) if self.deviation else x
        return F.leaky_relu(self.first(x), SLOPE, inplace=True)

    def match(self, features: Tensor, sentence: Tensor | None = None) -> Tensor:
        """[B, channels, 4, 4] and sentences [B, D], where it reads them -> [B] scores, linear."""
        if self.joint is not None:
            assert self.compression is not None and sentence is not None
            tiled = self.compression(sentence)[:, :, None, None].expand(-1, -1, *features.shape[2:])
            features = F.leaky_relu(self.joint(torch.cat([features, tiled], dim=1)), SLOPE, inplace=True)
        return self.score(F.leaky_relu(self.second(features), SLOPE, inplace=True)).flatten()

    def forward(self, x: Tensor, sentence: Tensor | None = None) -> Tensor:
        return self.match(self.look(x), sentence)


def to_picture(channels: int, *, scaling: Scaling = "he") -> EqualizedConvolution:
    """[B, C, H, W] -> [B, 3, H, W], linear: nothing keeps pictures within [-1, 1]."""
    return EqualizedConvolution(channels, 3, 1, scaling=scaling)


def from_picture(channels: int, *, scaling: Scaling = "he") -> EqualizedConvolution:
    """[B, 3, H, W] -> [B, C, H, W], linear in 1.x and 2.x of pro_gan_pytorch and in BMSG-GAN."""
    return EqualizedConvolution(3, channels, 1, scaling=scaling)
