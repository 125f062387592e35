"""The networks around a frozen StyleGAN2: pictures to codes, codes to logits, captions to codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from limner.families.style.discriminator import Discriminator, ResidualBlock
from limner.families.style.generator import FIRST_SIDE
from limner.families.style.layers import SLOPE, EqualizedConvolution, EqualizedLinear
from limner.nn.fast.layout import for_convolutions
from limner.text.encoder import TextEncoder


class PictureEncoder(nn.Module):
    """Pictures [B, 3, R, R] to codes [B, W], less the mean code. A residual trunk as StyleGAN2's discriminator has, then two layers.

    widths: channels of the maps of 4, 8, ..., R px.
    """

    def __init__(self, widths: Sequence[int], style: int) -> None:
        super().__init__()
        self.colours = EqualizedConvolution(3, widths[-1], 1)
        self.blocks = nn.ModuleList(ResidualBlock(widths[level], widths[level - 1]) for level in range(len(widths) - 1, 0, -1))
        self.last = EqualizedConvolution(widths[0], widths[0], 3, padding=1)
        self.hidden = EqualizedLinear(widths[0] * FIRST_SIDE**2, 2 * style, activated=True)
        self.code = EqualizedLinear(2 * style, style)

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.colours(for_convolutions(pictures))
        for block in self.blocks:
            x = block(x)
        found: Tensor = self.code(self.hidden(self.last(x).contiguous().flatten(1)))
        return found


class CodeDiscriminator(nn.Sequential):
    """Codes [B, W] to logits [B]: four linear layers, as e4e has them (Tov et al., SIGGRAPH 2021, arXiv:2102.02766)."""

    def __init__(self, style: int) -> None:
        super().__init__(*(EqualizedLinear(style, style, activated=True) for _ in range(3)), EqualizedLinear(style, 1))

    def forward(self, codes: Tensor) -> Tensor:
        found: Tensor = super().forward(codes)[:, 0]
        return found


class Reading(NamedTuple):
    """What is read in captions. codes: [B, W], less the mean code. gates: [B, W] in (0, 1), which directions the caption speaks of."""

    codes: Tensor
    gates: Tensor


class TextToCode(nn.Module):
    """Captions to codes, and what of a code captions speak of.

    encoder: an LSTM that is trained with it, None where sentences come from elsewhere. A linear layer follows the LSTM, whose own output
    lies within (-1, 1), where codes do not. deep: sentences are those of an encoder that stands still, and pass one more layer.

    `spoken` finds the part of a code that a caption decides: gates, which the caption sets, in directions of W that are learned. It is
    linear in the code, so that it cannot name what is not there.
    """

    def __init__(self, sentence: int, style: int, encoder: TextEncoder | None, *, deep: bool) -> None:
        super().__init__()
        self.encoder = encoder
        wide = 2 * style if deep else sentence
        self.hidden = nn.Sequential(nn.Linear(sentence, wide), nn.LeakyReLU(SLOPE)) if deep else nn.Identity()
        self.code = nn.Linear(wide, style)
        self.gates = nn.Linear(wide, style)
        self.inwards = nn.Linear(style, style, bias=False)
        self.outwards = nn.Linear(style, style, bias=False)
        for layer in (self.inwards, self.outwards):
            nn.init.eye_(layer.weight)

    def forward(self, sentence: Tensor) -> Reading:
        """sentence: [B, D]. The gates take no part in what the code is trained for."""
        x = self.hidden(sentence)
        return Reading(self.code(x), torch.sigmoid(self.gates(x.detach())))

    def spoken(self, codes: Tensor, gates: Tensor) -> Tensor:
        """Codes [B, W], less the mean code -> the part of each that a caption with these gates speaks of."""
        found: Tensor = self.outwards(gates * self.inwards(codes))
        return found


def maps_seen(discriminator: Discriminator, pictures: Tensor) -> list[Tensor]:
    """The maps after each of a discriminator's blocks, fine to coarse: features of pictures [B, 3, R, R] that need no other network."""
    x, maps = discriminator.colours(for_convolutions(pictures)), []
    for block in discriminator.blocks:
        x = block(x)
        maps.append(x)
    return maps
