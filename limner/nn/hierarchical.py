"""Blocks of HDGAN: maps padded by reflection on the way up, strided 3x3 convolutions on the way down."""

from __future__ import annotations

from torch import Tensor, nn


def reflected(narrow: int, wide: int, *after: nn.Module) -> nn.Sequential:
    """3x3 convolution of a map padded by reflection, batch normalisation, and what comes after."""
    return nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(narrow, wide, 3, bias=False), nn.BatchNorm2d(wide), *after)


class Residual(nn.Module):
    """x + BN(conv(ReLU(BN(conv(x))))), [B, C, H, W] -> [B, C, H, W], padded by reflection, with nothing after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(reflected(channels, channels, nn.ReLU(inplace=True)), reflected(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def leaky(convolution: nn.Conv2d, normalize: bool) -> nn.Sequential:
    """A convolution, batch normalisation or none, LeakyReLU."""
    norm = [nn.BatchNorm2d(convolution.out_channels)] if normalize else []
    return nn.Sequential(convolution, *norm, nn.LeakyReLU(0.2, inplace=True))
