"""A tree of generators: one trunk of feature maps, coarse to fine, with pictures at several scales (StackGAN++, the AttnGAN family).

`FirstStage` makes the first map from vectors. Each `NextStage` makes a map twice as large from the one before and a second input: the
condition at every place in StackGAN++, a map of attended words in AttnGAN and later methods. A `ScaleDiscriminator` sees the pictures of
one scale. All blocks are gated: they have a gated linear unit instead of a ReLU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.families.stacked import FIRST_SIDE, Head, Residual, convolution, doublings, picture_code, upsampling
from limner.nn.fast.layers import Layers
from limner.nn.fast.layout import for_convolutions

SMALLEST = 8
"""Side of the smallest pictures that a discriminator can look at."""


def scales(resolution: int, branches: int, method: str) -> tuple[int, ...]:
    """Sides of the pictures that the branches of a tree paint: each is twice the one before, the last is `resolution`.

    Raises SettingsError where the first would be too small, or `resolution` is not a power of two.
    """
    doublings(resolution, method)
    first = resolution // 2 ** (branches - 1)
    if first < SMALLEST:
        most = (resolution // SMALLEST).bit_length()
        raise SettingsError(
            f"{method} cannot paint {resolution} px with {branches} branches: the first would be below {SMALLEST} px, give {most} or fewer"
        )
    return tuple(first * 2**branch for branch in range(branches))


class FirstStage(nn.Module):
    """Vectors [B, D] -> [B, channels, side, side]: a normalised, gated linear layer to 4x4, then upsamplings that halve the channels."""

    def __init__(self, width: int, channels: int, side: int, method: str) -> None:
        super().__init__()
        levels = doublings(side, method, smallest=SMALLEST)
        self.top = channels * 2**levels
        inner = self.top * FIRST_SIDE**2 * 2
        self.linear = nn.Sequential(nn.Linear(width, inner, bias=False), nn.BatchNorm1d(inner), nn.GLU(dim=1))
        self.layers = nn.Sequential(*(upsampling(self.top >> level, self.top >> level + 1, gated=True) for level in range(levels)))

    def forward(self, *vectors: Tensor) -> Tensor:
        """Vectors [B, D_i], which are concatenated in this order to D numbers."""
        return self.layers(self.linear(torch.cat(vectors, dim=1)).view(-1, self.top, FIRST_SIDE, FIRST_SIDE))


class NextStage(nn.Module):
    """[B, inner, H, W] -> [B, outer, 2 H, 2 W]: residual blocks, then an upsampling. StackGAN++ halves the channels. AttnGAN goes from
    twice as many, those of map and context, to as many as before.

    condition: width of a vector [B, C] that is first joined with the map at every place, before its channels, by a 3x3 convolution to
    `inner` channels; 0 where the caller has concatenated the map with its second input.
    """

    def __init__(self, inner: int, outer: int, residuals: int, *, condition: int = 0) -> None:
        super().__init__()
        self.join = Layers(*convolution(condition + inner, inner, gated=True)) if condition else None
        self.residuals = nn.Sequential(*(Residual(inner, gated=True) for _ in range(residuals)))
        self.upsampling = upsampling(inner, outer, gated=True)

    def forward(self, hidden: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.join is not None:
            assert condition is not None
            hidden = joined(self.join, condition, hidden)
        return self.upsampling(self.residuals(for_convolutions(hidden)))


def joined(layers: nn.Sequential, vectors: Tensor, maps: Tensor) -> Tensor:
    """Apply `layers`, the first of which is a padded 3x3 convolution, to vectors [B, C] at every place, concatenated with maps [B, D, H,
    W].

    A 3x3 convolution of a constant map has nine different results: at four corners, at four edges and inside. A map of 3x3 has them all, so
    the vectors are convolved there and the results spread, which saves most of the arithmetic.
    """
    first, width, side = layers[0], vectors.shape[1], maps.shape[-1]
    assert isinstance(first, nn.Conv2d)
    answers = F.conv2d(vectors[:, :, None, None].expand(-1, -1, 3, 3), first.weight[:, :width], padding=1)  # [B, E, 3, 3]
    return layers[1:](F.conv2d(maps, first.weight[:, width:], first.bias, padding=1) + _spread(answers, side))


def _spread(answers: Tensor, side: int) -> Tensor:
    """[B, E, 3, 3] -> [B, E, side, side]: the middle row and column are repeated."""
    rows = torch.cat([answers[:, :, :1], answers[:, :, 1:2].expand(-1, -1, side - 2, -1), answers[:, :, 2:]], dim=2)
    return torch.cat([rows[..., :1], rows[..., 1:2].expand(-1, -1, -1, side - 2), rows[..., 2:]], dim=3)


class ScaleDiscriminator(nn.Module):
    """Do pictures of one scale look real, and do they match a condition? One code of a picture serves both, and several conditions.

    base: channels of the first map at 64 px and above; below, there are more, so that the 4x4 code has 8 x base channels at every side.
    condition: width of the condition that pictures must match; 0 for none.
    unconditional: whether it also judges pictures alone.
    """

    def __init__(
        self, base: int, side: int, condition: int, *, unconditional: bool, normalize: bool = True, condition_first: bool = False
    ) -> None:
        super().__init__()
        levels = doublings(side, "the discriminator", smallest=SMALLEST)
        self.picture = picture_code(base << max(0, 4 - levels), side, normalize=normalize)
        code = 8 * base
        self.matching = Head(code, condition, normalize=normalize, condition_first=condition_first) if condition else None
        self.reality = Head(code) if unconditional or not condition else None

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, 8 base, 4, 4]."""
        return self.picture(for_convolutions(pictures))

    def look_apart(self, *pictures: Tensor) -> list[Tensor]:
        """`look` of several batches at once, each normalised by its own statistics."""
        return self.picture.apart(*map(for_convolutions, pictures))

    def match(self, code: Tensor, condition: Tensor) -> Tensor:
        """[B, 8 base, 4, 4] and [B, C] -> [B] logits."""
        assert self.matching is not None
        return self.matching(code, condition)

    def match_apart(self, *pairs: tuple[Tensor, Tensor]) -> list[Tensor]:
        """`match` of several batches of codes and conditions at once, each normalised by its own statistics."""
        assert self.matching is not None
        return self.matching.apart(*pairs)

    def realism(self, code: Tensor) -> Tensor:
        """[B, 8 base, 4, 4] -> [B] logits."""
        assert self.reality is not None
        return self.reality(code)


def discriminator_name(side: int) -> str:
    """The name of the player that is the discriminator of this side."""
    return f"discriminator-{side}"
