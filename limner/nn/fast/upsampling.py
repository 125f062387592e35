"""Doubles the side of feature maps."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.fast.convolution import FEW, as_product
from limner.nn.fast.layout import for_convolutions

MANY = 256
"""With this many places or more, a CPU convolves a map faster with its channels last."""
SINGLE = 64
"""With this many places or fewer, over all maps, a CPU convolves them faster with their channels first: those of one picture."""
SUMMABLE = 1 << 18
"""With this many weights or more, summing them costs a CPU more than it saves, if maps have few places."""


def doubled(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2 H, 2 W], by nearest neighbours."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class DoublingConvolution(nn.Conv2d):
    """A 3x3 convolution of doubled feature maps, without doubling them: [B, wide, H, W] -> [B, narrow, 2 H, 2 W].

    Those of a kernel's nine weights that meet copies of one value can be summed first. Four sums remain for each new place; they are the
    weights of a 4x4 transposed convolution of stride 2. Weights and results are those of `Conv2d` on doubled maps, to rounding, for 4/9 of
    the multiplications and a quarter of the memory for the input.
    """

    def __init__(self, wide: int, narrow: int, *, bias: bool = True) -> None:
        super().__init__(wide, narrow, 3, padding=1, bias=bias)

    def sums(self, x: Tensor) -> bool:
        """Whether maps [B, wide, H, W] are convolved by sums of weights; for few places, these cost a CPU more than they save."""
        few = x.device.type == "cpu" and len(x) * 4 * x.shape[2] * x.shape[3] <= FEW
        return not few or self.weight.numel() < SUMMABLE

    def train(self, mode: bool = True) -> DoublingConvolution:
        """Forget the sums where training begins: PyTorch's fused Adam changes weights without counting their versions."""
        if mode:
            _KEPT.pop(self, None)
        return super().train(mode)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the base class's name
        """weight: [narrow, wide, 3, 3], or already their sums [narrow, wide, 4, 4]."""
        if torch.compiler.is_exporting():  # the number of places must not decide, so that the batch size stays open
            return super()._conv_forward(doubled(input), weight, bias)
        if not self.sums(input):
            return as_product(doubled(input), weight, bias)
        sums = self._sums(weight) if weight.shape[2] == 3 else weight
        if input.shape[2] * input.shape[3] >= MANY:
            input = for_convolutions(input)
        elif input.device.type == "cpu" and input.shape[0] * input.shape[2] * input.shape[3] <= SINGLE:
            input = input.contiguous()
        return F.conv_transpose2d(input, sums.transpose(0, 1), bias, stride=2, padding=1)

    def _sums(self, weight: Tensor) -> Tensor:
        """The sums of the weights; in painting, where they stay what they are, those of the last time."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling() or weight is not self.weight or weight.is_inference():
            return summed(weight)
        stamp = weight.data_ptr(), weight._version, weight.dtype
        kept = _KEPT.get(self)
        if kept is None or kept[0] != stamp:
            kept = _KEPT[self] = stamp, summed(weight)
        return kept[1]


_KEPT: WeakKeyDictionary[nn.Module, tuple[tuple[object, ...], Tensor]] = WeakKeyDictionary()
"""Sums of weights of each convolution, with what identifies the weights."""


def summed(weight: Tensor) -> Tensor:
    """The 4x4 kernels [narrow, wide, 4, 4] that give the same from maps as 3x3 kernels from doubled maps."""
    device = "cpu" if weight.is_meta else weight.device.type  # autocast does not know the device of weights without values
    with torch.autocast(device, enabled=False):  # sum before rounding
        return (weight.flatten(2) @ _summing().to(weight)).unflatten(2, (4, 4))


def _summing() -> Tensor:
    """[9, 16]: which of a 3x3 kernel's weights are summed in each of the 4x4 kernel's."""
    along = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    return torch.kron(along, along)
