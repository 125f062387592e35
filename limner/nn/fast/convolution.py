"""Convolutions that are fast on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAVY = 1 << 20
"""With this many weights or more, a convolution of small maps spends most of its time on the weights."""
FEW = 1024
"""With this many places or fewer, over all rows of a batch, maps are small compared with so many weights."""


class Convolution(nn.Conv2d):
    """A convolution that is one matrix product for many weights and few places on a CPU, and `Conv2d`'s everywhere else.

    oneDNN reorders all weights and their gradients, there and back, in every pass, which a product does not need. Deep in a
    discriminator, 1024 to 2048 channels at 4 x 4 places of four pictures, all three passes together take 0.3 s of one core instead of 0.8.
    The results agree to rounding. It supports only `dilation` and `groups` of 1 and padding by zeros.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the base class's name
        (stride, _), padding = self.stride, self.padding
        assert not isinstance(padding, str)
        if weight.numel() >= HEAVY and not torch.compiler.is_exporting() and is_small(input, weight, stride, padding[0]):
            return as_product(input, weight, bias, stride, padding[0])
        return super()._conv_forward(input, weight, bias)


class PictureConvolution(nn.Conv2d):
    """A 3x3 convolution of feature maps to the three channels of a picture: [B, wide, H, W] -> [B, 3, H, W].

    oneDNN takes as long for 3 channels as for 16. When painting on a CPU, each of the kernel's nine places is a product of its own, and
    these are summed at their offsets: at 256 px, from 32 channels, that takes 3 ms of one core instead of 9. The results agree to rounding.
    """

    def __init__(self, wide: int) -> None:
        super().__init__(wide, 3, 3, padding=1, bias=False)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the base class's name
        if input.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.compiler.is_exporting():
            return super()._conv_forward(input, weight, bias)
        height, width = input.shape[2:]
        kernel = weight.permute(2, 3, 0, 1).flatten(0, 2)  # [9 x 3, wide]
        products = (kernel @ input.flatten(2)).view(-1, 9, 3, height, width)
        sums = products.new_zeros(len(input), 3, height + 2, width + 2)
        for place in range(9):
            down, right = 2 - place // 3, 2 - place % 3
            sums[:, :, down : down + height, right : right + width] += products[:, place]
        return sums[:, :, 1:-1, 1:-1]


def is_small(x: Tensor, weight: Tensor, stride: int = 1, padding: int = 1) -> bool:
    """Whether a convolution of maps [B, C, H, W] runs on a CPU and its result has few places."""
    height, width = _sides(x, weight, stride, padding)
    return x.device.type == "cpu" and len(x) * height * width <= FEW


def as_product(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int = 1) -> Tensor:
    """The convolution of [B, C, H, W] with weights [E, C, k, k] as one product of matrices: [B, E, H', W']."""
    patches = F.unfold(x, weight.shape[2], padding=padding, stride=stride)  # [B, C k k, places]
    product = weight.flatten(1) @ patches.transpose(0, 1).flatten(1)  # [E, B places]
    maps = product.view(len(weight), len(x), *_sides(x, weight, stride, padding)).transpose(0, 1).contiguous()
    return maps if bias is None else maps + bias[:, None, None]


def _sides(x: Tensor, weight: Tensor, stride: int, padding: int) -> tuple[int, int]:
    height, width = ((side + 2 * padding - weight.shape[2]) // stride + 1 for side in x.shape[2:])
    return height, width
