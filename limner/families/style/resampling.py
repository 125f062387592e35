"""Maps made larger, smaller or smoother by a small filter: what StyleGAN2's official code calls `upfirdn2d`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pads = tuple[int, int, int, int]
"""Zeros added at the left, right, top and bottom; a negative number crops."""


def binomial(gain: float = 1.0) -> Tensor:
    """The filter of all of StyleGAN2's layers, [1, 3, 3, 1] along both axes, with a sum of `gain`: [4, 4]."""
    along = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(along, along) * (gain / 64.0)


class Filter(nn.Module):
    """`resampled` by `binomial`.

    before, after: zeros added at either side of both axes. gain: the sum of the filter, up^2 where the zeros between a map's values are to
    leave its mean alone.
    """

    kernel: Tensor

    def __init__(self, before: int, after: int, *, up: int = 1, down: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.up, self.down, self.pads = up, down, (before, after, before, after)
        self.register_buffer("kernel", binomial(gain), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return resampled(x, self.kernel, up=self.up, down=self.down, pads=self.pads)


def resampled(x: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1, pads: Pads = (0, 0, 0, 0)) -> Tensor:
    """Put `up` - 1 zeros after each value along both axes, add `pads`, convolve with the kernel, keep each `down`-th value.

    x: [B, C, H, W]; kernel: [h, w], the same for all channels. It is a convolution in the mathematical sense: the kernel is mirrored.
    Returns [B, C, H', W'] with H' = (H up + top + bottom - h) // down + 1.
    """
    height, width = kernel.shape
    left, right, top, bottom = pads
    if up == 1:
        padding = left if left == right == top == bottom >= 0 else 0
        return _gathered(x if padding or not any(pads) else F.pad(x, pads), kernel.flip(0, 1), down, padding)
    # A transposed convolution gives all places that a value reaches, which are these pads; from there to those asked for.
    edges = (left - width + 1, right - width + up, top - height + 1, bottom - height + up)
    padding = -edges[0] if len(set(edges)) == 1 and edges[0] <= 0 else 0
    spread = _spread(x, kernel, up, padding, 0)
    return (spread if padding or not any(edges) else F.pad(spread, edges))[:, :, ::down, ::down]


def _gathered(x: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    """A convolution of each channel by itself."""
    if x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        gathered: Tensor = _Gathering.apply(x, kernel, stride, padding)
        return gathered
    return F.conv2d(x, _each(kernel, x), stride=stride, padding=padding, groups=x.shape[1])


def _spread(x: Tensor, kernel: Tensor, stride: int, padding: int, output_padding: int | tuple[int, int]) -> Tensor:
    """A transposed convolution of each channel by itself."""
    if x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        spread: Tensor = _Spreading.apply(x, kernel, stride, padding, output_padding)
        return spread
    weight = _each(kernel, x)
    return F.conv_transpose2d(x, weight, stride=stride, padding=padding, output_padding=output_padding, groups=x.shape[1])


def _each(kernel: Tensor, x: Tensor) -> Tensor:
    return kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape)


class _Gathering(torch.autograd.Function):
    """Each of the two is the other's gradient. PyTorch's own second derivative goes channel by channel, which takes 20 times as long."""

    @staticmethod
    def forward(context: Any, x: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
        context.save_for_backward(kernel)
        context.sizes = stride, padding, x.shape[2:]
        return F.conv2d(x, _each(kernel, x), stride=stride, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (kernel,) = context.saved_tensors
        stride, padding, sides = context.sizes
        reached = [(given - 1) * stride - 2 * padding + own for given, own in zip(gradient.shape[2:], kernel.shape, strict=True)]
        missing = (sides[0] - reached[0], sides[1] - reached[1])
        return _spread(gradient, kernel, stride, padding, missing), None, None, None


class _Spreading(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, kernel: Tensor, stride: int, padding: int, output_padding: int | tuple[int, int]) -> Tensor:
        context.save_for_backward(kernel)
        context.sizes = stride, padding
        weight = _each(kernel, x)
        return F.conv_transpose2d(x, weight, stride=stride, padding=padding, output_padding=output_padding, groups=x.shape[1])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (kernel,) = context.saved_tensors
        return _gathered(gradient, kernel, *context.sizes), None, None, None, None
