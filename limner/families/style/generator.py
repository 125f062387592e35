"""StyleGAN2's generator: latents to styles (`Mapping`), styles and noise to pictures (`Synthesis`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limner.families.style.layers import EPSILON, EqualizedLinear, StyledConvolution, StyledPicture
from limner.families.style.resampling import Filter

FIRST_SIDE = 4
"""Side of the map that every picture begins with."""
SLOWER = 0.01
"""How much as fast as all else the mapping network learns."""
MEAN_DECAY = 0.995
"""Decay of the mean style, a step of training."""


def map_widths(resolution: int, base: int, limit: int) -> list[int]:
    """Channels of the maps of 4, 8, ..., `resolution` px: `base` divided by the side, `limit` at most, and one at least."""
    return [max(min(base // (FIRST_SIDE << level), limit), 1) for level in range(resolution.bit_length() - 2)]


def normalized(x: Tensor) -> Tensor:
    """[B, W] with each row divided by the root of its mean square."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)


class Mapping(nn.Module):
    """Latents [B, Z] and, where `condition_width` is not 0, conditions [B, D] to styles [B, W] (StyleGAN, section 2).

    latent: 0 for the discriminator's, which reads the condition alone. The condition joins the latent as in NVIDIA's stylegan2-ada-pytorch.
    mean: [W], a running mean of the styles in training, towards which truncation goes.
    """

    mean: Tensor

    def __init__(self, latent: int, style: int, layers: int, *, condition_width: int = 0) -> None:
        super().__init__()
        self.condition = EqualizedLinear(condition_width, style) if condition_width else None
        widths = [latent + (style if condition_width else 0), *[style] * layers]
        self.layers = nn.Sequential(
            *(EqualizedLinear(*pair, multiplier=SLOWER, activated=True) for pair in zip(widths, widths[1:], strict=False))
        )
        if latent:
            self.register_buffer("mean", torch.zeros(style))

    def forward(self, z: Tensor | None, condition: Tensor | None = None) -> Tensor:
        parts = [] if z is None else [normalized(z)]
        if self.condition is not None:
            assert condition is not None
            parts.append(normalized(self.condition(condition)))
        styles: Tensor = self.layers(torch.cat(parts, dim=1))
        return styles

    @torch.no_grad()
    def follow(self, styles: Tensor) -> None:
        """Move the mean towards that of a batch's styles [B, W]."""
        self.mean.data.lerp_(styles.detach().mean(0).to(self.mean), 1.0 - MEAN_DECAY)

    def truncated(self, styles: Tensor, share: float) -> Tensor:
        """Styles [..., W] at `share` of their distance from the mean: less varied, more typical (StyleGAN, section B)."""
        return styles if share == 1.0 else self.mean.lerp(styles.to(self.mean.dtype), share)


class Synthesis(nn.Module):
    """Styles and noise to pictures [B, 3, R, R], which nothing keeps within [-1, 1].

    Each side has one styled convolution (4 px) or two, and a layer of colours that is added to the picture of half the side, made larger
    (the skip generator, section 4.1). A layer of colours shares its style with the convolution that comes after it.
    widths: channels of the maps of 4, 8, ..., R px.
    """

    def __init__(self, widths: Sequence[int], style: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(1, widths[0], FIRST_SIDE, FIRST_SIDE))
        self.convolutions = nn.ModuleList([StyledConvolution(widths[0], widths[0], style)])
        for wide, narrow in zip(widths, widths[1:], strict=False):
            self.convolutions.append(StyledConvolution(wide, narrow, style, up=True))
            self.convolutions.append(StyledConvolution(narrow, narrow, style))
        self.pictures = nn.ModuleList(StyledPicture(width, style) for width in widths)
        self.enlarged = Filter(2, 1, up=2, gain=4.0)

    @property
    def places(self) -> int:
        """How many styles a picture has: one for each convolution, and one for the last layer of colours."""
        return len(self.convolutions) + 1

    @property
    def sides(self) -> list[int]:
        """Side of each convolution's map, and so of its noise."""
        return [FIRST_SIDE << ((number + 1) // 2) for number in range(len(self.convolutions))]

    def forward(self, styles: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """styles: [B, places, W]; maps: for each convolution [B or 1, 1, r, r]."""
        x = self.convolutions[0](self.constant.expand(styles.shape[0], -1, -1, -1), styles[:, 0], maps[0])
        picture: Tensor = self.pictures[0](x, styles[:, 1])
        for level in range(1, len(self.pictures)):
            for number in (2 * level - 1, 2 * level):
                x = self.convolutions[number](x, styles[:, number], maps[number])
            picture = self.enlarged(picture) + self.pictures[level](x, styles[:, 2 * level + 1])
        return picture

    def modulations(self) -> list[Tensor]:
        """The weights [C, W] by which the style of each place scales maps."""
        layers = [*self.convolutions, self.pictures[-1]]
        return [parameter for layer in layers for name, parameter in layer.named_parameters() if name == "modulation.weight"]


class Generator(nn.Module):
    """`Mapping` and `Synthesis`."""

    def __init__(self, widths: Sequence[int], latent: int, style: int, layers: int, *, condition_width: int = 0) -> None:
        super().__init__()
        self.mapping = Mapping(latent, style, layers, condition_width=condition_width)
        self.synthesis = Synthesis(widths, style)

    def repeated(self, styles: Tensor) -> Tensor:
        """One style a picture, [B, W], for every place: [B, places, W]."""
        return styles[:, None].expand(-1, self.synthesis.places, -1)

    def forward(self, z: Tensor, maps: Sequence[Tensor], condition: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """z: [B, Z], maps: noise for each convolution, condition: [B, D], where it reads one -> pictures [B, 3, R, R]."""
        styles = self.mapping.truncated(self.mapping(z, condition), truncation)
        pictures: Tensor = self.synthesis(self.repeated(styles), maps)
        return pictures


def mixed(first: Tensor, second: Tensor, places: int, at: int) -> Tensor:
    """Styles [B, W] up to place `at` - 1, others [B, W] from there on: [B, places, W] (style mixing, StyleGAN, section 3.1)."""
    fine = torch.arange(places, device=first.device)[:, None] >= at
    return torch.where(fine, second[:, None], first[:, None])
