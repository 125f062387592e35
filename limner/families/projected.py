"""A discriminator's look through a frozen network that has seen more pictures than a set of one's own holds.

Projected GAN (Sauer et al., NeurIPS 2021, arXiv:2111.01007) judges pictures by several stages of a network trained on ImageNet, each mixed
by random weights that are never trained, so that the discriminator cannot rest on the few features that give a generator away. There the
stages replace the discriminator's own trunk; here their codes stand next to it, and stages are not mixed with each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.families.stacked import FIRST_SIDE
from limner.features.network import StagedNetwork
from limner.features.registry import load_feature_network

STAGES = 2
"""Sizes of maps that are looked at, the smallest ones of at least 4x4."""


class FrozenStages(nn.Module):
    """Two stages of a frozen network, mixed at random. A method keeps it as a guide, so that nothing trains or stores it.

    network: `NAME` or `NAME=FILE`, as `load_feature_network` takes it. channels: of each mixture, whose weights follow from the place of
    the stage alone. resolution: of the pictures. Raises SettingsError for a network that does not exist, has no stages or too few that are
    large enough, and for weights that cannot be had.
    """

    def __init__(self, network: str, channels: int, resolution: int) -> None:
        super().__init__()
        loaded = load_feature_network(network)
        if not isinstance(loaded, StagedNetwork):
            raise SettingsError(f"the feature network '{loaded.name}' has no stages to look through: take another")
        self.network = loaded
        sizes: dict[int, tuple[str, int]] = {}  # by side: the last stage of that size, and its channels
        with torch.no_grad():
            maps = loaded.scaled(torch.zeros(1, 3, resolution, resolution))
            for name, stage in loaded.stages():
                maps = stage(maps)
                if maps.ndim != 4 or maps.shape[2] < FIRST_SIDE:
                    break
                if maps.shape[2] < resolution:
                    sizes[maps.shape[2]] = name, maps.shape[1]
        if len(sizes) < STAGES:
            reason = f"has maps of {len(sizes)} sizes from 4x4 on at {resolution} px, and {STAGES} are needed"
            raise SettingsError(f"the feature network '{loaded.name}' {reason}: take another, or a higher --resolution")
        found = [sizes[side] for side in sorted(sizes)[:STAGES]]
        self.names = [name for name, _ in found]
        for place, (_, seen) in enumerate(found):
            mixture = torch.randn(channels, seen, 1, 1, generator=torch.Generator().manual_seed(place)) / seen**0.5
            self.register_buffer(f"mixture{place}", mixture)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, R, R] in [-1, 1] -> of each stage [B, channels, H, W], of maps whose mean square was made 1, picture by picture."""
        maps = self.network.taps(self.network.scaled(pictures), self.names)
        level = [maps[name] * maps[name].square().mean((1, 2, 3), keepdim=True).add(1e-8).rsqrt() for name in self.names]
        return tuple(F.conv2d(found, self.get_buffer(f"mixture{place}")) for place, found in enumerate(level))


class StageCodes(nn.Module):
    """What `FrozenStages` gives -> [B, 2 x channels, 4, 4]: of each stage two 3x3 convolutions, before and after a mean over places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(STAGES))
        self.wide = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(STAGES))

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        codes = []
        for maps, near, wide in zip(stages, self.near, self.wide, strict=True):
            code = F.adaptive_avg_pool2d(F.leaky_relu(near(maps), 0.2), FIRST_SIDE)
            codes.append(F.leaky_relu(wide(code), 0.2))
        return torch.cat(codes, dim=1)
