"""SqueezeNet v1.0 (Iandola et al., 2016, arXiv:1602.07360), trained on ImageNet: a small network of real-picture features.

Numbers from it cannot be compared with published FID or Inception Score, which use Inception-v3. It was published twice, trained
separately: for Caffe, and by torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from limner.features.imagenet import normalised
from limner.features.network import Stage, resized, to_float, to_levels
from limner.features.pretrained import PretrainedNetwork, Published

# Channels of each fire module's squeeze layer and of each half of its expand layer (table 1 of the paper).
_FIRES = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256)}
_POOLED_AFTER = (4, 8)
_BLUE_GREEN_RED_MEANS = (104.0, 117.0, 123.0)
_TORCHVISION_POSITIONS = {0: "conv1", 3: "fire2", 4: "fire3", 5: "fire4", 7: "fire5", 8: "fire6", 9: "fire7", 10: "fire8", 12: "fire9"}


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


class SqueezeNet(PretrainedNetwork):
    """The Caffe release's network: mean-pooled `fire9` features [B, 512] and 1,000 ImageNet logits.

    Stages are conv1, pool1, fire2, ... fire9, logits.
    """

    name = "squeezenet"
    width = 512
    logit_count: int = 1000
    resize = "bilinear antialiased, squashed to 227x227"
    published = Published(
        file="squeezenet-v1.0-imagenet.safetensors",
        url="https://github.com/songhan/SqueezeNet-Deep-Compression",
        advice="they were published compressed and must be decoded first; tv-squeezenet can be downloaded",
    )
    padding = 1
    at_once = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        channels = 96
        for number, (squeezed, expanded) in _FIRES.items():
            self.add_module(f"fire{number}", Fire(channels, squeezed, expanded))
            channels = 2 * expanded
        self.conv10 = nn.Conv2d(channels, self.logit_count, 1, padding=self.padding)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)

    def prepare(self, images: Tensor) -> Tensor:
        """[B, 3, H, W], uint8 or float in [-1, 1] -> [B, 3, 227, 227], channels blue green red, 0..255 less their means."""
        return self._less_means(resized(to_levels(images), 227))

    def scaled(self, images: Tensor) -> Tensor:
        """Pictures at their own size, scaled as `prepare` scales them."""
        return self._less_means(to_levels(images))

    @staticmethod
    def _less_means(levels: Tensor) -> Tensor:
        channels = zip(levels.flip(1).split(1, dim=1), _BLUE_GREEN_RED_MEANS)
        return torch.cat([channel - mean for channel, mean in channels], dim=1)

    def stages(self) -> list[Stage]:
        chain: list[Stage] = [("conv1", lambda x: torch.relu(self.conv1(x))), ("pool1", self.pool)]
        for number in _FIRES:
            chain.append((f"fire{number}", self.get_submodule(f"fire{number}")))
            if number in _POOLED_AFTER:
                chain.append((f"pool{number}", self.pool))
        return [*chain, ("logits", lambda x: torch.relu(self.conv10(x)).mean((2, 3)))]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.taps(self.prepare(images), ("fire9", "logits"))
        return found["fire9"].mean((2, 3)), found["logits"]


class TorchvisionSqueezeNet(SqueezeNet):
    """torchvision's training of the same network, whose last convolution has no padding; features and stages as `SqueezeNet`'s."""

    name = "tv-squeezenet"
    resize = "bilinear antialiased, squashed to 224x224"
    published = Published(
        file="squeezenet1_0-b66bff10.pth",
        url="https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth",
        sha256="b66bff10",
    )
    padding = 0

    def prepare(self, images: Tensor) -> Tensor:
        """[B, 3, H, W], uint8 or float in [-1, 1] -> [B, 3, 224, 224], ImageNet-normalised."""
        return normalised(resized(to_float(images), 224))

    def scaled(self, images: Tensor) -> Tensor:
        """Pictures at their own size, ImageNet-normalised."""
        return normalised(to_float(images))

    @classmethod
    def renamed(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """From torchvision's positions, `features.3.squeeze.weight`, to names, `fire2.squeeze1x1.weight`."""
        prefixes = {f"features.{position}.": f"{name}." for position, name in _TORCHVISION_POSITIONS.items()} | {"classifier.1.": "conv10."}
        found = {}
        for name, value in tensors.items():
            for prefix, own in prefixes.items():
                if name.startswith(prefix):
                    name = own + name.removeprefix(prefix).replace("squeeze.", "squeeze1x1.")
                    break
            found[name] = value
        return found
