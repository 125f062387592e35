"""A U-Net that says, of a picture in noise, what the picture is: by how much noise there is, and by what the caption says.

Built like the U-Nets of diffusion models (Dhariwal and Nichol, arXiv:2105.05233), but on unshuffled pixels: each square of `patch` x
`patch` pixels becomes the channels of one place (Hoogeboom et al., "Simple Diffusion", arXiv:2301.11093). At 64 px the largest map then has
16x16 places.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.core.text import TextFeatures
from limner.nn.fast.layout import for_convolutions
from limner.nn.fast.upsampling import DoublingConvolution

SMALLEST = 4
"""Side of the smallest map."""
ATTENDING = 8
"""Side of the maps, and of all smaller ones, whose places attend to each other and to the words."""
GROUPS, HEADS = 8, 4
FREQUENCIES = 16
LOWEST, HIGHEST = 0.25, 8.0
"""Slowest and fastest wave of a time, in periods: slow enough for a difference of a hundredth to show how something changes in time."""


class FlowNetwork(nn.Module):
    """Pictures in noise [B, 3, R, R] -> pictures [B, 3, R, R], as it expects them to be without noise.

    resolution, patch: R, and the side of the squares that become one place; channels: of the largest map; each smaller one has half of them
    more. blocks: residual blocks of each map on the way down, of which there is one more on the way up. sentence, word: widths of their
    embeddings, word None for none. guided: it can do without captions, too.
    """

    def __init__(
        self, resolution: int, patch: int, channels: int, blocks: int, sentence: int, word: int | None, *, guided: bool = False
    ) -> None:
        super().__init__()
        sides = sides_of(resolution, patch)
        widths = [channels + level * channels // 2 for level in range(len(sides))]
        self.patch, context = patch, 4 * channels
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, context), nn.SiLU(), nn.Linear(context, context))
        self.span = nn.Sequential(nn.Linear(2 * FREQUENCIES, context), nn.SiLU(), nn.Linear(context, context))
        self.sentence = nn.Linear(sentence, context)
        self.no_text = nn.Parameter(torch.zeros(context)) if guided else None
        self.first = nn.Conv2d(3 * patch**2, channels, 3, padding=1)
        kept, last = [channels], channels
        self.down, self.up = nn.ModuleList(), nn.ModuleList()

        def block(narrow: int, wide: int, side: int) -> Block:
            attends = side <= ATTENDING
            return Block(narrow, wide, context, word if attends else None, attends=attends)

        for side, wide in zip(sides, widths, strict=True):
            if wide != last:
                self.down.append(nn.Conv2d(last, wide, 3, 2, 1))
                kept.append(wide)
            self.down.extend(block(wide, wide, side) for _ in range(blocks))
            kept += [wide] * blocks
            last = wide
        self.middle = block(last, last, sides[-1])
        for side, wide in zip(reversed(sides), reversed(widths), strict=True):
            for _ in range(blocks + 1):
                self.up.append(block(last + kept.pop(), wide, side))
                last = wide
            if side != sides[0]:
                self.up.append(DoublingConvolution(wide, wide))
        self.normalization = nn.GroupNorm(GROUPS, last)
        self.last = nn.Conv2d(last, 3 * patch**2, 3, padding=1)
        silenced(self.last)

    def forward(self, noisy: Tensor, time: Tensor, span: Tensor, text: TextFeatures, told: Tensor | None = None) -> Tensor:
        """noisy: [B, 3, R, R]; time: [B], how much of it is noise, 0 to 1; span: [B], how far the step goes from there, 0 to time.

        told: [B], False where the caption is not to be known; by default it always is.
        """
        sentence = self.sentence(text.sentence)
        mask = None if text.words is None else text.mask
        if told is not None:
            assert self.no_text is not None
            sentence = torch.where(told[:, None], sentence, self.no_text)
            mask = None if mask is None else mask & told[:, None]
        context = F.silu(self.time(waves(time)) + self.span(waves(span)) + sentence)
        x = self.first(for_convolutions(F.pixel_unshuffle(noisy, self.patch)))
        kept = [x]
        for layer in self.down:
            x = layer(x, context, text.words, mask) if isinstance(layer, Block) else layer(x)
            kept.append(x)
        x = self.middle(x, context, text.words, mask)
        for layer in self.up:
            x = layer(torch.cat([x, kept.pop()], dim=1), context, text.words, mask) if isinstance(layer, Block) else layer(x)
        return F.pixel_shuffle(self.last(F.silu(self.normalization(x))), self.patch)


class Block(nn.Module):
    """[B, narrow, H, W] -> [B, wide, H, W]: a residual block that is scaled and shifted by the context, and, if it `attends`, attention of
    its places to each other and to the words."""

    def __init__(self, narrow: int, wide: int, context: int, word: int | None, *, attends: bool) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.GroupNorm(_groups(narrow), narrow), nn.SiLU(), nn.Conv2d(narrow, wide, 3, padding=1))
        self.normalization = nn.GroupNorm(GROUPS, wide, affine=False)
        self.affine = nn.Linear(context, 2 * wide)
        self.after = nn.Conv2d(wide, wide, 3, padding=1)
        self.shortcut = nn.Conv2d(narrow, wide, 1) if narrow != wide else nn.Identity()
        self.attention = Attention(wide, word) if attends else None
        silenced(self.after)

    def forward(self, x: Tensor, context: Tensor, words: Tensor | None, mask: Tensor | None) -> Tensor:
        scale, shift = self.affine(context)[:, :, None, None].chunk(2, dim=1)
        inner = self.normalization(self.before(x)) * (1 + scale) + shift
        x = self.shortcut(x) + self.after(F.silu(inner))
        return x if self.attention is None else self.attention(x, words, mask)


class Attention(nn.Module):
    """The places of a map attend to each other and to the words, in one attention (Saharia et al., Imagen, arXiv:2205.11487, appendix)."""

    def __init__(self, channels: int, word: int | None) -> None:
        super().__init__()
        self.normalization = nn.GroupNorm(GROUPS, channels)
        self.places = nn.Linear(channels, 3 * channels)
        self.words = None if word is None else nn.Linear(word, 2 * channels)
        self.out = nn.Linear(channels, channels)
        silenced(self.out)

    def forward(self, x: Tensor, words: Tensor | None, mask: Tensor | None) -> Tensor:
        height, width = x.shape[2:]
        query, key, value = self.places(self.normalization(x).flatten(2).transpose(1, 2)).chunk(3, dim=2)  # [B, P, C] each
        seen = None
        if self.words is not None and words is not None:
            assert mask is not None
            keys, values = self.words(words).chunk(2, dim=2)
            key, value = torch.cat([key, keys], dim=1), torch.cat([value, values], dim=1)
            seen = torch.cat([mask.new_ones(x.shape[0], height * width), mask], dim=1)[:, None, None]
        query, key, value = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (query, key, value))
        found = F.scaled_dot_product_attention(query, key, value, seen)
        return x + self.out(found.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, (height, width))


def silenced(layer: nn.Conv2d | nn.Linear) -> None:
    """Let a fresh layer answer nothing, so that a block begins as what goes around it."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def sides_of(resolution: int, patch: int) -> list[int]:
    """Sides of the maps, from the largest down to `SMALLEST`. Raises SettingsError where squares do not make such maps."""
    count = math.log2(resolution / patch / SMALLEST)
    if count < 0 or count % 1:
        fits = [side for side in range(1, resolution // SMALLEST + 1) if not math.log2(resolution / side / SMALLEST) % 1]
        named = f"give method.patch {', '.join(map(str, fits))}" if fits else "give a resolution such as 32 or 64"
        raise SettingsError(f"limner-flow cannot paint {resolution} px in squares of {patch}: {named}")
    return [resolution // patch >> level for level in range(int(count) + 1)]


def waves(value: Tensor) -> Tensor:
    """Sines and cosines of numbers [B]: [B, 2 x FREQUENCIES]."""
    periods = torch.logspace(math.log10(LOWEST), math.log10(HIGHEST), FREQUENCIES, device=value.device, dtype=value.dtype)
    angles = 2 * math.pi * value[:, None] * periods
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _groups(channels: int) -> int:
    """Groups of a normalisation: as many as divide the channels, up to GROUPS."""
    return math.gcd(channels, GROUPS)
