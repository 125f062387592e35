"""Doubling the side of feature maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.convolution import as_product, is_small
from limner.nn.layout import for_convolutions

MANY = 256
"""Places of a map from which on a CPU convolves it faster with its channels last."""
SUMMABLE = 1 << 18
"""Weights from which on their sums cost a CPU more than they save, if maps have few places."""


def doubled(x: Tensor) -> Tensor:
    """Each place becomes four: [B, C, H, W] -> [B, C, 2 H, 2 W], by nearest neighbours."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class DoublingConvolution(nn.Conv2d):
    """A 3x3 convolution of doubled feature maps, without doubling them: [B, wide, H, W] -> [B, narrow, 2 H, 2 W].

    Of the nine weights that look at a doubled map, those that fall on copies of one value may be summed before. Four remain for each new
    place, and they are those of a 4x4 transposed convolution of stride 2. Weights and results are those of `Conv2d` on doubled maps, to
    rounding, for 4/9 of the multiplications and a quarter of the memory for its input.
    """

    def __init__(self, wide: int, narrow: int, *, bias: bool = True) -> None:
        super().__init__(wide, narrow, 3, padding=1, bias=bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the base class's name
        if weight.numel() >= SUMMABLE and is_small(twice := doubled(input), weight):
            return as_product(twice, weight, bias)
        with torch.autocast(input.device.type, enabled=False):  # sums of weights are taken before they are rounded
            sums = weight.flatten(2) @ _summing().to(weight)  # [narrow, wide, 16]
        if input.shape[2] * input.shape[3] >= MANY:
            input = for_convolutions(input)
        return F.conv_transpose2d(input, sums.unflatten(2, (4, 4)).transpose(0, 1), bias, stride=2, padding=1)


def _summing() -> Tensor:
    """[9, 16]: which of a 3x3 kernel's weights make up each of the 4x4 kernel's."""
    along = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    return torch.kron(along, along)
