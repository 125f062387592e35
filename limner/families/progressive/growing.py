"""ProGAN's networks, which grow from 4x4 by one doubling after the other (ICLR 2018, section 2), as pro_gan_pytorch has them.

A depth counts doublings: 0 for 4x4, d for 4 x 2^d. While a block is new, its result fades in: `alpha` is its share, and 1 - alpha that of
the pictures, or maps, without it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.progressive.layers import (
    SLOPE,
    DiscriminatorBlock,
    FirstBlock,
    GeneratorBlock,
    LastBlock,
    Scaling,
    block_widths,
    from_picture,
    to_picture,
)
from limner.nn.fast.layout import for_convolutions
from limner.nn.fast.upsampling import doubled


def phase_name(depth: int) -> str:
    """What the phase of a depth is called: "4px", "8px", ..."""
    return f"{4 << depth}px"


def faded(pictures: Tensor, alpha: float) -> Tensor:
    """Real pictures as generated ones look while a block fades in: 1 - alpha of them at half their resolution. [B, 3, R, R], R from 8."""
    if alpha >= 1.0:
        return pictures
    return doubled(F.avg_pool2d(pictures, 2)).lerp(pictures, alpha)


class Generator(nn.Module):
    """Latents [B, L] to pictures [B, 3, 4 x 2^d, 4 x 2^d], which nothing keeps within [-1, 1].

    depth: how many sides it can paint, the first of them 4 px. full, normalize: as `block_widths` and `FirstBlock` take them.
    """

    def __init__(self, latent: int, channels: int, depth: int, *, full: int = 4, normalize: bool = False, scaling: Scaling = "he") -> None:
        super().__init__()
        widths = block_widths(channels, depth, full)
        self.first = FirstBlock(latent, widths[0], scaling=scaling, normalize=normalize)
        self.blocks = nn.ModuleList(GeneratorBlock(wide, narrow, scaling=scaling) for wide, narrow in zip(widths, widths[1:], strict=False))
        self.colours = nn.ModuleList(to_picture(width, scaling=scaling) for width in widths)

    def forward(self, latent: Tensor, depth: int, alpha: float = 1.0) -> Tensor:
        x = self.first(latent)
        for block in self.blocks[: max(depth - 1, 0)]:
            x = block(x)
        if depth == 0:
            return self.colours[0](x)
        fine: Tensor = self.colours[depth](self.blocks[depth - 1](x))
        return fine if alpha >= 1.0 else doubled(self.colours[depth - 1](x)).lerp(fine, alpha)

    def train_at(self, depth: int) -> None:
        """Let those weights learn that pictures of this depth are painted with, and no others."""
        _train(self, self.first, *self.blocks[:depth], *self.colours[max(depth - 1, 0) : depth + 1])


class Discriminator(nn.Module):
    """Pictures [B, 3, 4 x 2^d, 4 x 2^d] and, unless `sentence_width` is 0, sentences [B, D] -> [B] scores.

    activation: whether a LeakyReLU follows the convolution of a picture's colours. The other settings are `LastBlock`'s.
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        *,
        full: int = 4,
        sentence_width: int = 0,
        compressed: int = 0,
        activation: bool = False,
        deviation: bool = True,
        group: int | None = None,
        scaling: Scaling = "he",
    ) -> None:
        super().__init__()
        widths = block_widths(channels, depth, full)
        self.activation = activation
        self.colours = nn.ModuleList(from_picture(width, scaling=scaling) for width in widths)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(narrow, wide, scaling=scaling) for wide, narrow in zip(widths, widths[1:], strict=False)
        )  # blocks[d - 1] reduces maps of depth d to those of depth d - 1
        self.last = LastBlock(
            widths[0], sentence_width=sentence_width, compressed=compressed, deviation=deviation, group=group, scaling=scaling
        )

    def look(self, pictures: Tensor, depth: int, alpha: float = 1.0) -> Tensor:
        """Features [B, C, 4, 4] of pictures, before the sentence is read."""
        return self.last.look(self.reduced(pictures, depth, alpha))

    def reduced(self, pictures: Tensor, depth: int, alpha: float = 1.0) -> Tensor:
        """Maps [B, C, 4, 4] of pictures before the last block: those of a picture are the same in any batch."""
        x = self._begin(pictures, depth)
        if depth:
            x = self.blocks[depth - 1](x)
            if alpha < 1.0:
                x = self._begin(F.avg_pool2d(pictures, 2), depth - 1).lerp(x, alpha)
        for place in range(depth - 2, -1, -1):
            x = self.blocks[place](x)
        return x

    def _begin(self, pictures: Tensor, depth: int) -> Tensor:
        x: Tensor = self.colours[depth](for_convolutions(pictures))
        return F.leaky_relu(x, SLOPE, inplace=True) if self.activation else x

    def match(self, features: Tensor, sentence: Tensor | None = None) -> Tensor:
        """[B, C, 4, 4] and sentences [B, D], where it reads them -> [B] scores."""
        return self.last.match(features, sentence)

    def forward(self, pictures: Tensor, sentence: Tensor | None, depth: int, alpha: float = 1.0) -> Tensor:
        return self.match(self.look(pictures, depth, alpha), sentence)

    def train_at(self, depth: int) -> None:
        """Let those weights learn that pictures of this depth are judged with, and no others."""
        _train(self, self.last, *self.blocks[:depth], *self.colours[max(depth - 1, 0) : depth + 1])


def _train(network: nn.Module, *parts: nn.Module) -> None:
    network.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
