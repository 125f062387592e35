"""OpenAI's dVAE, the one of DALL-E: residual networks with max-pooling (Ramesh et al., ICML 2021, appendix A.1).

Sizes and initialisation follow the released networks (github.com/openai/DALL-E, commit 5be4b23), which are all that was published of them;
the training of them was not.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.codes.dvae import DVAE, Reconstruction, mapped


class OpenAIDVAE(DVAE):
    """width: channels of the maps at the full resolution, twice as many after each halving. entry: channels of the decoder's first map."""

    def __init__(
        self,
        codes: int = 8192,
        width: int = 256,
        entry: int = 128,
        halvings: int = 3,
        blocks: int = 2,
        reconstruction: Reconstruction = "logit-laplace",
    ) -> None:
        super().__init__()
        self.codes, self.halvings, self.reconstruction = codes, halvings, reconstruction
        widths = [width * 2**level for level in range(halvings + 1)]
        self.encoder = Encoder(codes, widths, blocks)
        self.decoder = Decoder(codes, entry, widths[::-1], blocks, self.channels)
        self.apply(_initialized)

    def logits(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.encoder(mapped((pictures + 1.0) / 2.0))
        return found

    def decode_weights(self, weights: Tensor) -> Tensor:
        said: Tensor = self.decoder(self.decoder.input(weights))
        return said

    def decode(self, codes: Tensor) -> Tensor:
        entry = self.decoder.input
        assert entry.bias is not None
        chosen = F.embedding(codes, entry.weight[:, :, 0, 0].t()).permute(0, 3, 1, 2)  # a 1x1 convolution of one-hot maps
        said: Tensor = self.decoder(chosen + entry.bias[:, None, None])
        return said


class Encoder(nn.Module):
    """Pictures in 0.1..0.9 [B, 3, H, W] -> logits [B, V, h, w]."""

    def __init__(self, codes: int, widths: list[int], blocks: int) -> None:
        super().__init__()
        gain = 1.0 / (len(widths) * blocks) ** 2
        self.input = nn.Conv2d(3, widths[0], 7, padding=3)
        self.groups = nn.ModuleList(
            nn.Sequential(*(Block(before if number == 0 else own, own, (3, 3, 3, 1), gain) for number in range(blocks)))
            for before, own in zip([widths[0], *widths], widths, strict=False)
        )
        self.output = nn.Conv2d(widths[-1], codes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.input(pictures)
        for level, group in enumerate(self.groups):
            x = group(F.max_pool2d(x, 2) if level else x)
        logits: Tensor = self.output(F.relu(x))
        return logits


class Decoder(nn.Module):
    """What `input` makes of the codes, [B, entry, h, w], -> what is said of the pixels, [B, channels, H, W]."""

    def __init__(self, codes: int, entry: int, widths: list[int], blocks: int, channels: int) -> None:
        super().__init__()
        gain = 1.0 / (len(widths) * blocks) ** 2
        self.input = nn.Conv2d(codes, entry, 1)
        self.groups = nn.ModuleList(
            nn.Sequential(*(Block(before if number == 0 else own, own, (1, 3, 3, 3), gain) for number in range(blocks)))
            for before, own in zip([entry, *widths], widths, strict=False)
        )
        self.output = nn.Conv2d(widths[-1], channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        for level, group in enumerate(self.groups):
            x = group(F.interpolate(x, scale_factor=2.0, mode="nearest") if level else x)
        said: Tensor = self.output(F.relu(x))
        return said


class Block(nn.Module):
    """shortcut(x) + gain * path(x), four convolutions of these kernels, each after a ReLU, through a quarter of the channels.

    gain: the square of one over the number of blocks, so that signals keep their size through all of them.
    """

    def __init__(self, before: int, width: int, kernels: tuple[int, ...], gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.shortcut = nn.Conv2d(before, width, 1) if before != width else nn.Identity()
        inner = width // 4
        sizes = zip([before, inner, inner, inner], [inner, inner, inner, width], kernels, strict=True)
        self.path = nn.ModuleList(nn.Conv2d(a, b, kernel, padding=kernel // 2) for a, b, kernel in sizes)

    def forward(self, x: Tensor) -> Tensor:
        path = x
        for convolution in self.path:
            path = convolution(F.relu(path))
        kept: Tensor = self.shortcut(x)
        return kept + self.gain * path


def _initialized(module: nn.Module) -> None:
    """Weights normal with the deviation that keeps a signal's size without nonlinearity, biases zero, as released."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=1.0 / math.sqrt(module.weight[0].numel()))
        assert module.bias is not None
        nn.init.zeros_(module.bias)
