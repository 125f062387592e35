"""CLIP's two picture towers (Radford et al., ICML 2021, arXiv:2103.00020, section 2.4).

Both map pictures [B, 3, R, R], with channels of mean 0 and variance 1 (`normalized`), to embeddings [B, width], which are not normalised.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.text.transformer import Activation, Transformer

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of each channel of the authors' training pictures, in [0, 1]."""


def normalized(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1], normalised for the towers."""
    mean, deviation = (torch.tensor(values, device=pictures.device)[:, None, None] for values in (MEAN, DEVIATION))
    return (pictures * 0.5 + 0.5 - mean) / deviation


class VisionTransformer(nn.Module):
    """A vision transformer (Dosovitskiy et al., ICLR 2021) with one more norm before its blocks; the class token gives the embedding."""

    def __init__(self, resolution: int, patch: int, width: int, layers: int, heads: int, embedding: int, activation: Activation) -> None:
        super().__init__()
        if patch < 1 or resolution % patch:
            raise SettingsError(f"pictures of {resolution} px cannot be cut into patches of {patch} px: choose a divisor as method.patch")
        if width % heads:
            raise SettingsError(f"a picture width of {width} cannot be split among {heads} heads: choose a divisor")
        self.to_patches = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_token = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positions = nn.Parameter(width**-0.5 * torch.randn((resolution // patch) ** 2 + 1, width))
        self.norm_before = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, activation, causal=False)
        self.norm_after = nn.LayerNorm(width)
        self.to_embedding = nn.Parameter(width**-0.5 * torch.randn(width, embedding))

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.to_patches(pictures).flatten(2).transpose(1, 2)  # [B, patches, width]
        values = torch.cat((self.class_token.to(patches.dtype).expand(len(patches), 1, -1), patches), dim=1)
        values = self.transformer(self.norm_before(values + self.positions))
        embedded: Tensor = self.norm_after(values[:, 0]) @ self.to_embedding
        return embedded


class ModifiedResNet(nn.Module):
    """A residual network (He et al., CVPR 2016) with three changes: a stem of three convolutions, an average pool before each layer
    that halves the map (Zhang, ICML 2019), and attention instead of the last average pool.

    layers: blocks of each stage; the published networks have four, which halve the map down to 1/32 of the picture. Small pictures do
    better with fewer.
    """

    def __init__(self, resolution: int, layers: Sequence[int], width: int, heads: int, embedding: int) -> None:
        super().__init__()
        reduction = 2 ** (len(layers) + 1)
        if not layers or resolution % reduction:
            raise SettingsError(
                f"pictures of {resolution} px do not suit {len(layers)} stages of a residual network: choose a multiple of {reduction}"
            )
        features = width * 2 ** (len(layers) - 1) * Bottleneck.expansion
        if features % heads:
            raise SettingsError(f"the {features} features of the last stage cannot be split among {heads} heads: choose a divisor")
        self.stem = nn.Sequential(
            *_convolution(3, width // 2, 3, stride=2),
            *_convolution(width // 2, width // 2, 3),
            *_convolution(width // 2, width, 3),
            nn.AvgPool2d(2),
        )
        stages, channels = [], width
        for stage, blocks in enumerate(layers):
            planes = width * 2**stage
            made = [Bottleneck(channels if block == 0 else 4 * planes, planes, 2 if stage and block == 0 else 1) for block in range(blocks)]
            stages.append(nn.Sequential(*made))
            channels = 4 * planes
        self.stages = nn.Sequential(*stages)
        self.pool = AttentionPool(resolution // reduction, features, heads, embedding)

    def forward(self, pictures: Tensor) -> Tensor:
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        embedded: Tensor = self.pool(self.stages(self.stem(pictures)))
        return embedded


class Bottleneck(nn.Module):
    """relu(x + change(x)): [B, channels, H, W] -> [B, 4 planes, H / stride, W / stride]."""

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        halve = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        last = nn.BatchNorm2d(planes * self.expansion)
        nn.init.zeros_(last.weight)  # a block begins as its shortcut
        self.change = nn.Sequential(
            *_convolution(channels, planes, 1),
            *_convolution(planes, planes, 3),
            halve,
            nn.Conv2d(planes, planes * self.expansion, 1, bias=False),
            last,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != planes * self.expansion:
            project = nn.Conv2d(channels, planes * self.expansion, 1, bias=False)
            self.shortcut = nn.Sequential(halve, project, nn.BatchNorm2d(planes * self.expansion))

    def forward(self, values: Tensor) -> Tensor:
        return F.relu(self.shortcut(values) + self.change(values))


class AttentionPool(nn.Module):
    """One attention whose query is the mean of all places, which is also the first of the keys: [B, C, side, side] -> [B, embedding]."""

    def __init__(self, side: int, width: int, heads: int, embedding: int) -> None:
        super().__init__()
        self.heads = heads
        self.positions = nn.Parameter(width**-0.5 * torch.randn(side**2 + 1, width))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.to_embedding = nn.Linear(width, embedding)
        for layer in (self.query, self.key, self.value, self.to_embedding):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, features: Tensor) -> Tensor:
        places = features.flatten(2).transpose(1, 2)  # [B, places, C]
        places = torch.cat((places.mean(1, keepdim=True), places), dim=1) + self.positions
        asked = self._by_head(self.query(places[:, :1])), self._by_head(self.key(places)), self._by_head(self.value(places))
        pooled = F.scaled_dot_product_attention(*asked)  # [B, heads, 1, C / heads]
        embedded: Tensor = self.to_embedding(pooled.flatten(1))
        return embedded

    def _by_head(self, values: Tensor) -> Tensor:
        return values.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _convolution(before: int, after: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()
