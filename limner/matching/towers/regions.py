"""Picture sides that give regions in addition to the whole picture, which matching by words needs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.features.inception import SIDE, TorchvisionInception
from limner.features.pretrained import PretrainedNetwork
from limner.features.registry import load_feature_network
from limner.features.resize import CORNERS
from limner.matching.towers.compact import PreactivatedResidual, normalisation

_STAGES: Mapping[str, tuple[str, int]] = {
    "tv-inception": ("Mixed_6e", 768),
    "squeezenet": ("fire9", 512),
    "tv-squeezenet": ("fire9", 512),
}
"""The stage of each network that regions come from, and its channels."""


class FrozenRegions(nn.Module):
    """DAMSM's picture side: a frozen network, whose regions and pooled features two trained maps project to the text's width.

    As published the network is Inception-v3: regions are the 17 x 17 places of Mixed_6e through a 1 x 1 convolution without bias, the whole
    picture the average-pooled Mixed_7c through a linear map. Of SqueezeNet they are the 13 x 13 places of fire9, and their mean. Gradients
    flow to the pictures. The network stays in evaluation mode, even when the model around it is trained.
    """

    def __init__(self, width: int, network: PretrainedNetwork) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.stage, channels = _STAGES[network.name]
        self.to_regions = nn.Conv2d(channels, width, 1, bias=False)
        self.to_picture = nn.Linear(network.width, width)
        for layer in (self.to_regions, self.to_picture):
            nn.init.uniform_(layer.weight, -0.1, 0.1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] in [-1, 1], not ImageNet-normalised -> regions [B, width, places], pictures [B, width]."""
        regions, pooled = self._seen(pictures)
        return self.to_regions(regions).flatten(2), self.to_picture(pooled)

    def _seen(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The network's map [B, channels, side, side] and pooled features [B, D]."""
        at_once = self.network.at_once
        if at_once is None or pictures.device.type != "cpu" or (pictures.requires_grad and torch.is_grad_enabled()):
            return self._look(pictures)
        with torch.no_grad():
            parts = [self._look(part) for part in pictures.contiguous(memory_format=torch.channels_last).split(at_once)]
        return torch.cat([regions for regions, _ in parts]), torch.cat([pooled for _, pooled in parts])

    def _look(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        pooled = "pool" if "pool" in self.network.tap_names() else self.stage
        found = self.network.taps(self.network.prepare(pictures), tuple(dict.fromkeys((self.stage, pooled))))
        return found[self.stage], found[pooled] if found[pooled].ndim == 2 else found[pooled].mean((2, 3))

    def for_losses(self) -> None:
        """Prepare the network for use in losses (`TorchvisionInception.for_losses`); it must not be saved afterwards."""
        if isinstance(self.network, TorchvisionInception):
            self.network.for_losses()

    def train(self, mode: bool = True) -> FrozenRegions:
        super().train(mode)
        self.network.eval()
        return self

    def players(self) -> nn.Module:
        """The tensors that are trained."""
        return nn.ModuleList([self.to_regions, self.to_picture])


class CompactRegions(nn.Module):
    """A small picture side trained from scratch: 4 x 4 regions, and the whole picture by a linear map of all their places.

    Residual stages halve the picture, as in `PictureEncoder`; normalisation is in groups of channels, so that a picture's features do not
    depend on its batch. Regions are few, because the scores by words of a batch cost in proportion.
    """

    def __init__(self, width: int, channels: int, resolution: int) -> None:
        super().__init__()
        halvings = round(math.log2(resolution)) - 2
        if halvings < 1 or resolution != 4 * 2**halvings:
            raise SettingsError(
                f"the trained picture network cannot see {resolution} px: choose a power of two from 8 on, such as 32 or 64"
            )
        widths = [min(channels * 2**stage, 4 * channels) for stage in range(halvings)]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=2, padding=1), PreactivatedResidual(widths[0])]
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [normalisation(before), nn.ReLU(), nn.Conv2d(before, after, 3, stride=2, padding=1), PreactivatedResidual(after)]
        self.body = nn.Sequential(*layers, normalisation(widths[-1]), nn.ReLU())
        self.to_regions = nn.Conv2d(widths[-1], width, 1, bias=False)
        self.to_picture = nn.Linear(16 * widths[-1], width)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> regions [B, width, 16], pictures [B, width]."""
        features = self.body(pictures.contiguous(memory_format=torch.channels_last))  # [B, C, 4, 4]
        return self.to_regions(features).flatten(2), self.to_picture(features.flatten(1))

    def players(self) -> nn.Module:
        """The tensors that are trained: all of them."""
        return self


def load_regions_network(spec: str, align_corners: bool) -> PretrainedNetwork:
    """A frozen network that has regions, by NAME or NAME=FILE; an Inception-v3 resizes its input as asked."""
    network = load_feature_network(spec)
    if not isinstance(network, PretrainedNetwork) or network.name not in _STAGES:
        known = ", ".join(f"{name} or {name}=FILE" for name in _STAGES)
        raise SettingsError(f"method.pictures is '{spec}', of which no regions can be taken: give {known}, or trained")
    if align_corners and isinstance(network, TorchvisionInception):
        network.align_corners, network.resize = True, f"{CORNERS} to {SIDE}x{SIDE}"
    return network
