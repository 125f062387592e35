"""Perceptual losses: how far pictures are apart as a frozen network sees them (Johnson et al., ECCV 2016, arXiv:1603.08155)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError, unknown_name
from limner.features.network import StagedNetwork
from limner.features.registry import load_feature_network
from limner.features.vgg import VGG


class PerceptualLoss(nn.Module):
    """Mean squared difference of one stage's output between generated pictures and the real ones they stand for, as a share of the real
    ones' mean square: papers leave that out, but networks differ ten thousandfold in the size of their features, and so would the weights.

    network: `NAME` or `NAME=FILE`, as `load_feature_network` takes it. tap: a stage's name. plain: the mean squared difference itself, of
    pictures that the network sees in [-1, 1] as they are, whatever it was trained on (ControlGAN's authors). Methods hold it as a guide, so
    that nothing stores or trains its weights. Raises SettingsError for names that do not exist and weights that cannot be had.
    """

    def __init__(self, network: str, tap: str, *, plain: bool = False) -> None:
        super().__init__()
        self.plain = plain
        loaded = load_feature_network(network)
        if not isinstance(loaded, StagedNetwork):
            raise SettingsError(f"the feature network '{loaded.name}' has no stages for a perceptual loss: take another")
        if tap not in loaded.tap_names():
            raise unknown_name(f"stage of the feature network '{loaded.name}' called", tap, loaded.tap_names())
        if isinstance(loaded, VGG) and tap.startswith(("conv", "relu", "pool")):
            loaded.classifier = None  # nine tenths of its weights, which no convolution looks at
        self.network, self.tap = loaded, tap

    def forward(self, pictures: Tensor, real: Tensor) -> Tensor:
        """[B, 3, R, R] and [B, 3, R, R] in [-1, 1] -> a scalar; only `pictures` takes a gradient. Sizes are kept where the network can."""
        with torch.no_grad():
            target = self._seen(real)
        difference = F.mse_loss(self._seen(pictures), target)
        return difference if self.plain else difference / target.square().mean().clamp_min(1e-12)

    def rows(self, pictures: Tensor, real: Tensor) -> Tensor:
        """The same for each picture by itself: [B]."""
        with torch.no_grad():
            target = self._seen(real).flatten(1)
        difference = (self._seen(pictures).flatten(1) - target).square().mean(1)
        return difference if self.plain else difference / target.square().mean(1).clamp_min(1e-12)

    def _seen(self, pictures: Tensor) -> Tensor:
        return self.network.taps(pictures if self.plain else self.network.scaled(pictures), [self.tap])[self.tap]
