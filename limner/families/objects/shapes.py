"""The shape generator: boxes to masks, by a convolutional LSTM that reads a picture's boxes in both directions.

Li et al., CVPR 2019, arXiv:1902.10740, section 3.2; after Hong et al., CVPR 2018, and Shi et al., NeurIPS 2015 (the convolutional LSTM).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.families.matching_aware import bce
from limner.features.network import StagedNetwork
from limner.features.registry import load_feature_network

NOISE = 4
"""Numbers of noise for each thing, in units of the generator's width."""


class ConvolutionalLSTM(nn.Module):
    """An LSTM whose states are maps: [B, inner, H, W] -> [B, hidden, H, W]."""

    def __init__(self, inner: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(inner + hidden, 4 * hidden, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, N, inner, H, W], one after the other -> the states after each, [B, N, hidden, H, W]."""
        hidden = cell = maps.new_zeros(maps.shape[0], self.hidden, *maps.shape[3:])
        states = []
        for number in range(maps.shape[1]):
            let_in, keep, let_out, new = self.gates(torch.cat([maps[:, number], hidden], 1)).chunk(4, 1)
            cell = keep.sigmoid() * cell + let_in.sigmoid() * new.tanh()
            hidden = let_out.sigmoid() * cell.tanh()
            states.append(hidden)
        return torch.stack(states, 1)


class ShapeGenerator(nn.Module):
    """Draws each thing's mask in the whole picture.

    labels: how many there are. width: channels of the finest map, which is the number of labels as published. Normalisation is by instance,
    so that the things of a batch do not depend on each other.
    """

    def __init__(self, labels: int, width: int, residuals: int = 1) -> None:
        super().__init__()
        self.width = width
        self.first, self.second = _halving(labels, 2 * width), _halving(2 * width, 4 * width)
        self.forwards, self.backwards = (ConvolutionalLSTM(4 * width, 2 * width) for _ in range(2))
        self.joint = nn.Sequential(*_gated(8 * width, 4 * width))
        self.residuals = nn.ModuleList(
            nn.Sequential(
                *_gated(4 * width, 4 * width), *_gated(4 * width, 4 * width), nn.Conv2d(4 * width, 4 * width, 3, padding=1, bias=False)
            )
            for _ in range(residuals)
        )
        self.up = nn.ModuleList([_doubling(4 * width, 2 * width), _doubling(2 * width, width)])
        self.last = nn.Conv2d(width, 1, 1, bias=False)

    @property
    def noise_width(self) -> int:
        """Numbers of noise for each thing."""
        return NOISE * self.width

    def forward(self, noise: Tensor, maps: Tensor, inside: Tensor) -> Tensor:
        """Noise [B, N, 4 width]; box maps [B, N, L, S, S], each thing's box in its label's map; boxes [B, N, S / 4, S / 4] -> masks
        [B, N, S, S] from 0 to 1."""
        seen = self.second(self.first(maps.flatten(0, 1))).unflatten(0, maps.shape[:2])  # [B, N, 4 width, S / 4, S / 4]
        after, before = self.forwards(seen), self.backwards(seen.flip(1)).flip(1)
        tiled = noise[..., None, None].expand(-1, -1, -1, *seen.shape[3:])
        hidden = self.joint(torch.cat([after, before, tiled], 2).flatten(0, 1)) * inside.flatten(0, 1)[:, None]
        for residual in self.residuals:
            hidden = hidden + residual(hidden)
        for doubling in self.up:
            hidden = doubling(hidden)
        return self.last(hidden).sigmoid().view(*maps.shape[:2], *maps.shape[3:])


class ShapeDiscriminator(nn.Module):
    """Does a mask look real, in the boxes of these labels? One network judges each thing's mask, another all masks of a picture in one.

    width: channels of the first map, and half as many of each after it; halvings: of masks, down to 4 x 4.
    """

    def __init__(self, labels: int, width: int, halvings: int) -> None:
        super().__init__()
        widths = [labels + 1, *(max(width >> level, 1) for level in range(halvings))]
        self.layers = nn.Sequential(*(_halving(wide, narrow, 4) for wide, narrow in zip(widths, widths[1:], strict=False)))
        self.logits = nn.Conv2d(widths[-1], 1, 4)

    def forward(self, masks: Tensor, maps: Tensor) -> Tensor:
        """Masks [B, S, S] and box maps [B, L, S, S] -> logits [B]."""
        return self.logits(self.layers(torch.cat([masks[:, None], maps], 1))).flatten()


def shape_discriminator_loss(discriminator: nn.Module, real: Tensor, fake: Tensor, maps: Tensor) -> Tensor:
    """Real and generated masks [B, S, S] in the same box maps."""
    return bce(discriminator(real, maps), 1.0) + bce(discriminator(fake.detach(), maps), 0.0)


def _halving(inner: int, outer: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inner, outer, kernel, 2, 1, bias=False), nn.InstanceNorm2d(outer), nn.LeakyReLU(0.2))


def _gated(inner: int, outer: int) -> list[nn.Module]:
    return [nn.Conv2d(inner, 2 * outer, 3, padding=1, bias=False), nn.InstanceNorm2d(2 * outer), nn.GLU(dim=1)]


def _doubling(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest"), *_gated(inner, outer))


class MaskDistance(nn.Module):
    """How far masks are apart as a frozen network sees them: the sum over its activations of their mean differences.

    The released code has VGG-19 with batch normalisation there. network: `NAME` or `NAME=FILE`, as `load_feature_network` takes it. Raises
    SettingsError for names that do not exist and weights that cannot be had.
    """

    def __init__(self, network: str) -> None:
        super().__init__()
        loaded = load_feature_network(network)
        if not isinstance(loaded, StagedNetwork):
            raise SettingsError(f"the feature network '{loaded.name}' has no stages for a perceptual loss: take another")
        self.network = loaded
        self.taps = [name for name in loaded.tap_names() if "relu" in name]

    def forward(self, masks: Tensor, real: Tensor) -> Tensor:
        """[B, S, S] and [B, S, S] from 0 to 1 -> a scalar; only `masks` takes a gradient."""
        with torch.no_grad():
            target = self._seen(real)
        found = self._seen(masks)
        return torch.stack([F.l1_loss(found[name], target[name]) for name in self.taps]).sum()

    def _seen(self, masks: Tensor) -> dict[str, Tensor]:
        pictures = F.interpolate(masks[:, None].expand(-1, 3, -1, -1), size=(224, 224), mode="bilinear", align_corners=True)
        return dict(self.network.taps(self.network.scaled(pictures * 2.0 - 1.0), self.taps))
