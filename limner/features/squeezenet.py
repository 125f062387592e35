"""SqueezeNet v1.0 (Iandola et al., 2016, arXiv:1602.07360), trained on ImageNet: a small network of real-picture features.

Numbers from it cannot be compared with published FID or Inception Score, which use Inception-v3.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.features.network import FeatureNetwork, resized, to_float

# Channels of each fire module's squeeze layer and of each half of its expand layer (table 1 of the paper).
_FIRES = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256)}
_POOLED_AFTER = (4, 8)
_BLUE_GREEN_RED_MEANS = (104.0, 117.0, 123.0)


class Fire(nn.Module):
    """A 1x1 squeeze layer, then 1x1 and 3x3 expand layers side by side: [B, in, H, W] -> [B, 2 * expanded, H, W]."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze1x1(x))
        return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class SqueezeNet(FeatureNetwork):
    """The Caffe release's network: mean-pooled `fire9` features [B, 512] and 1,000 ImageNet logits."""

    name = "squeezenet"
    width = 512
    logit_count = 1000
    resize = "bilinear antialiased, squashed to 227x227"

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        channels = 96
        for number, (squeezed, expanded) in _FIRES.items():
            self.add_module(f"fire{number}", Fire(channels, squeezed, expanded))
            channels = 2 * expanded
        self.conv10 = nn.Conv2d(channels, self.logit_count, 1, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.register_buffer("means", torch.tensor(_BLUE_GREEN_RED_MEANS).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.features(resized((to_float(images) + 1.0) * 127.5, 227).flip(1) - self.get_buffer("means"))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of prepared input: [B, 3, 227, 227], channels blue green red, 0..255 less the means."""
        x = self.pool(torch.relu(self.conv1(x)))  # [B, 96, 55, 55]
        for number in _FIRES:
            x = self.get_submodule(f"fire{number}")(x)
            if number in _POOLED_AFTER:
                x = self.pool(x)
        return x.mean((2, 3)), torch.relu(self.conv10(x)).mean((2, 3))  # fire9 gives [B, 512, 13, 13]


def load_squeezenet(path: Path) -> SqueezeNet:
    """Read the weights, tensors named `conv1.weight`, `fire2.squeeze1x1.weight` and so on; raises SettingsError where they do not fit."""
    network = SqueezeNet()
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        cause = str(error).splitlines()[0]
        raise SettingsError(f"{path} does not hold SqueezeNet v1.0 weights ({cause}): give a safetensors file of them") from error
    network.freeze()
    return network
