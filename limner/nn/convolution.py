"""Convolutions as a CPU computes them fastest."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

HEAVY = 1 << 20
"""Weights from which on a convolution costs more for them than for its maps, if those are small."""
FEW = 1024
"""Places, over all rows of a batch, up to which maps are small beside so many weights."""


class Convolution(nn.Conv2d):
    """A convolution that is one matrix product where a CPU meets many weights and few places; else, and everywhere else, `Conv2d`'s.

    oneDNN brings all weights and their gradients into an order of its own and back in every pass, which a product does not need. Deep in a
    discriminator, 1024 to 2048 channels at 4 x 4 places of four pictures, all three passes together take 0.3 s of one core in place of 0.8.
    The results agree to rounding. For `dilation` and `groups` of 1 and padding by zeros, which is all that Limner has.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the base class's name
        if input.device.type != "cpu" or weight.numel() < HEAVY or input.ndim != 4:
            return super()._conv_forward(input, weight, bias)
        (kernel, _), (stride, _), padding = self.kernel_size, self.stride, self.padding
        assert not isinstance(padding, str)
        height, width = ((side + 2 * padding[0] - kernel) // stride + 1 for side in input.shape[2:])
        if len(input) * height * width > FEW:
            return super()._conv_forward(input, weight, bias)
        patches = F.unfold(input, kernel, padding=padding[0], stride=stride)  # [B, C k k, places]
        product = weight.flatten(1) @ patches.transpose(0, 1).flatten(1)  # [E, B places]
        maps = product.view(len(weight), len(input), height, width).transpose(0, 1).contiguous()
        return maps if bias is None else maps + bias[:, None, None]
