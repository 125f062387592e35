"""The blocks of Inception-v3 (Szegedy et al., CVPR 2016, arXiv:1512.00567), under the names of torchvision's state dict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pool = Callable[[Tensor], Tensor]


class Layer(NamedTuple):
    """One convolution of a branch; where it does not stride it keeps height and width."""

    name: str
    width: int
    kernel: tuple[int, int]
    stride: int


Branch = Sequence[Sequence[Layer]]
"""Steps in order; the layers of one step stand side by side."""


class NormalisedConvolution(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, channels: int, width: int, kernel: tuple[int, int], stride: int = 1, padding: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride=stride, padding=padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)

    @torch.no_grad()
    def fold(self) -> None:
        """Make the batch normalisation, as it is in evaluation, part of the convolution. Weights are then no published file's any more."""
        if isinstance(self.bn, nn.BatchNorm2d):
            mean, variance = self.bn.running_mean, self.bn.running_var
            assert mean is not None and variance is not None
            scale = self.bn.weight * torch.rsqrt(variance + self.bn.eps)
            self.conv.weight = nn.Parameter(self.conv.weight * scale[:, None, None, None], requires_grad=False)
            self.conv.bias = nn.Parameter(self.bn.bias - mean * scale, requires_grad=False)
            self.bn = nn.Identity()


class Mixed(nn.Module):
    """Branches side by side, a pool last: [B, channels, H, W] -> [B, width, H', W'], with H' = H where no layer strides."""

    def __init__(self, channels: int, branches: Sequence[Branch], pool: Pool, pooled: int | None = None) -> None:
        """Make the layers; `pooled` is the width of the 1x1 convolution behind the pool, None for a pool alone."""
        super().__init__()
        self.pool = pool
        self.branches = [[tuple(layer.name for layer in step) for step in branch] for branch in branches]
        self.width = channels if pooled is None else pooled
        for branch in branches:
            previous = channels
            for step in branch:
                for layer in step:
                    padding = (layer.kernel[0] // 2, layer.kernel[1] // 2) if layer.stride == 1 else (0, 0)
                    self.add_module(layer.name, NormalisedConvolution(previous, layer.width, layer.kernel, layer.stride, padding))
                previous = sum(layer.width for layer in step)
            self.width += previous
        self.branch_pool = None if pooled is None else NormalisedConvolution(channels, pooled, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for branch in self.branches:
            y = x
            for names in branch:
                outputs = [self.get_submodule(name)(y) for name in names]
                y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
            found.append(y)
        pooled = self.pool(x)
        return torch.cat([*found, pooled if self.branch_pool is None else self.branch_pool(pooled)], dim=1)


def average(x: Tensor) -> Tensor:
    """3x3 average that counts the padding as zeros."""
    return F.avg_pool2d(x, 3, stride=1, padding=1)


def average_inside(x: Tensor) -> Tensor:
    """3x3 average of what lies inside the map."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def maximum(x: Tensor) -> Tensor:
    """3x3 maximum of the same size."""
    return F.max_pool2d(x, 3, stride=1, padding=1)


def halving_maximum(x: Tensor) -> Tensor:
    """3x3 maximum with stride 2, without padding."""
    return F.max_pool2d(x, 3, stride=2)


def _layer(name: str, width: int, kernel: tuple[int, int] = (1, 1), stride: int = 1) -> tuple[Layer]:
    return (Layer(name, width, kernel, stride),)


def block_35(channels: int, pooled: int, pool: Pool) -> Mixed:
    """For maps of 35 x 35: 1x1, 5x5, two 3x3 in a row (figure 5 of the paper)."""
    five = [_layer("branch5x5_1", 48), _layer("branch5x5_2", 64, (5, 5))]
    double = [_layer("branch3x3dbl_1", 64), _layer("branch3x3dbl_2", 96, (3, 3)), _layer("branch3x3dbl_3", 96, (3, 3))]
    return Mixed(channels, [[_layer("branch1x1", 64)], five, double], pool, pooled)


def reduce_to_17(channels: int) -> Mixed:
    """From 35 x 35 to 17 x 17."""
    double = [_layer("branch3x3dbl_1", 64), _layer("branch3x3dbl_2", 96, (3, 3)), _layer("branch3x3dbl_3", 96, (3, 3), 2)]
    return Mixed(channels, [[_layer("branch3x3", 384, (3, 3), 2)], double], halving_maximum)


def block_17(channels: int, inner: int, pool: Pool) -> Mixed:
    """For maps of 17 x 17: 7x7 convolutions as 1x7 and 7x1 (figure 6)."""
    wide, tall = (1, 7), (7, 1)
    seven = [_layer("branch7x7_1", inner), _layer("branch7x7_2", inner, wide), _layer("branch7x7_3", 192, tall)]
    double = [_layer("branch7x7dbl_1", inner), _layer("branch7x7dbl_2", inner, tall), _layer("branch7x7dbl_3", inner, wide)]
    double += [_layer("branch7x7dbl_4", inner, tall), _layer("branch7x7dbl_5", 192, wide)]
    return Mixed(channels, [[_layer("branch1x1", 192)], seven, double], pool, 192)


def reduce_to_8(channels: int) -> Mixed:
    """From 17 x 17 to 8 x 8."""
    three = [_layer("branch3x3_1", 192), _layer("branch3x3_2", 320, (3, 3), 2)]
    seven = [_layer("branch7x7x3_1", 192), _layer("branch7x7x3_2", 192, (1, 7)), _layer("branch7x7x3_3", 192, (7, 1))]
    seven += [_layer("branch7x7x3_4", 192, (3, 3), 2)]
    return Mixed(channels, [three, seven], halving_maximum)


def block_8(channels: int, pool: Pool) -> Mixed:
    """For maps of 8 x 8: 1x3 and 3x1 side by side (figure 7)."""
    wide, tall = (1, 3), (3, 1)
    three = [_layer("branch3x3_1", 384), _layer("branch3x3_2a", 384, wide) + _layer("branch3x3_2b", 384, tall)]
    double = [_layer("branch3x3dbl_1", 448), _layer("branch3x3dbl_2", 384, (3, 3))]
    split = _layer("branch3x3dbl_3a", 384, wide) + _layer("branch3x3dbl_3b", 384, tall)
    return Mixed(channels, [[_layer("branch1x1", 320)], three, [*double, split]], pool, 192)
