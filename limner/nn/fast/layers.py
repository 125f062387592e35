"""Sequences of layers, and what can be saved between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.fast.upsampling import DoublingConvolution, summed
from limner.nn.spectral import SpectralConv2d

PART = 1 << 17
"""Numbers that are added up at a time."""


class Layers(nn.Sequential):
    """A sequence of layers. Outside training, batch normalisation after a convolution is folded into the convolution's weights."""

    def forward(self, *batches: Tensor) -> Any:
        """The output for [B, ...]; for several batches a list of outputs (see `apart`)."""
        if len(batches) > 1:
            return self._side_by_side(batches)
        (x,) = batches
        if self.training or torch.is_grad_enabled() or torch.compiler.is_exporting():  # who runs what is exported folds by itself
            return super().forward(x)
        before: nn.Conv2d | None = None  # a convolution whose normalisation comes next
        for layer, after in pairwise([*self, None]):
            if isinstance(after, nn.BatchNorm2d) and isinstance(layer, nn.Conv2d) and not isinstance(layer, SpectralConv2d):
                before = layer
            elif before is not None and isinstance(layer, nn.BatchNorm2d):
                x, before = _normalized(before, layer, x), None
            else:
                assert layer is not None
                x = layer(x)
        return x

    def apart(self, *batches: Tensor) -> list[Tensor]:
        """The outputs for several batches [B_i, ...], whose rows go through convolutions together.

        Batch normalisation sees each batch by itself, in this order, and so does a layer that changes with every pass.
        """
        return [self(*batches)] if len(batches) == 1 else self(*batches)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Layers:
        """Drop folded weights where the weights move or change their type."""
        for layer in self:
            _FOLDED.pop(layer, None)
        return super()._apply(fn, recurse)

    def _side_by_side(self, batches: Sequence[Tensor]) -> list[Tensor]:
        sizes, x = [len(batch) for batch in batches], torch.cat(list(batches))
        if not self.training and not any(isinstance(layer, SpectralConv2d) for layer in self):
            return list(self.forward(x).split(sizes))
        for layer in self:
            alone = isinstance(layer, (nn.BatchNorm2d, SpectralConv2d))
            x = torch.cat([layer(batch) for batch in x.split(sizes)]) if alone else layer(x)
        return list(x.split(sizes))


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose statistics are as exact with channels last in memory as with channels first.

    For channels last on a CPU, PyTorch adds up a batch's squares one after the other in float32: the variance of a map of 128 px is off by
    1e-5.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        last = input.device.type == "cpu" and not input.is_contiguous() and input.is_contiguous(memory_format=torch.channels_last)
        if not (last and self.training and input.dtype == torch.float32) or torch.compiler.is_compiling():
            return super().forward(input)
        normalized, mean, variance = _Normalization.apply(input, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None
            count = input.numel() // input.shape[1]
            with torch.no_grad():  # data: PyTorch would record them for backward, which does not need them
                self.num_batches_tracked.add_(1)
                self.running_mean.data.lerp_(mean, self.momentum)
                self.running_var.data.lerp_(variance * (count / (count - 1)), self.momentum)
        return normalized


class _Normalization(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _statistics(x.permute(0, 2, 3, 1).flatten(0, 2))
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + epsilon))
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, epsilon), mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, inverse = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)  # five times as slow where the two have different layouts
        by_input, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse, True, ctx.epsilon, [True, True, True]
        )
        return by_input, by_weight, by_bias, None


def _statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the columns of [P, C], in parts that fit into a processor's cache."""
    shift = rows[0]  # so that squares are of the size of the variance
    sums, squares = [], []
    for part in rows.split(max(1, PART // rows.shape[1])):
        part = part - shift
        sums.append(part.sum(0))
        squares.append(part.square_().sum(0))
    mean, square = (torch.stack(values).double().sum(0) / len(rows) for values in (sums, squares))
    return (mean + shift).to(rows.dtype), (square - mean.square()).clamp_min_(0.0).to(rows.dtype)


class _Folded(NamedTuple):
    """A convolution with its normalisation folded in. stamp: identifies the tensors that it was computed from, and the kind of maps."""

    stamp: tuple[object, ...]
    weight: Tensor
    bias: Tensor


_FOLDED: WeakKeyDictionary[nn.Module, _Folded] = WeakKeyDictionary()
"""Folded weights of each convolution, so that painting picture after picture with the same weights folds them once."""


def _normalized(layer: nn.Conv2d, normalization: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """A convolution and the batch normalisation after it, in evaluation; one by one where the map is smaller than the weights."""
    mean, variance = normalization.running_mean, normalization.running_var
    if mean is None or variance is None or x.numel() < layer.weight.numel():
        normalized: Tensor = normalization(layer(x))
        return normalized
    sums = isinstance(layer, DoublingConvolution) and layer.sums(x)
    made_of = [
        tensor for tensor in (layer.weight, layer.bias, normalization.weight, normalization.bias, mean, variance) if tensor is not None
    ]
    if torch.compiler.is_compiling() or any(tensor.is_inference() for tensor in made_of):  # these cannot be kept or compared
        return layer._conv_forward(x, *_folded(layer, normalization, mean, variance, sums))
    # The count shows that training has changed the statistics, which versions do not (see BatchNorm).
    count = normalization.num_batches_tracked
    stamp = (sums, *((tensor.data_ptr(), tensor._version) for tensor in (*made_of, *([] if count is None else [count]))))
    folded = _FOLDED.get(layer)
    if folded is None or folded.stamp != stamp:
        folded = _FOLDED[layer] = _Folded(stamp, *_folded(layer, normalization, mean, variance, sums))
    return layer._conv_forward(x, folded.weight, folded.bias)


def _folded(layer: nn.Conv2d, normalization: nn.BatchNorm2d, mean: Tensor, variance: Tensor, sums: bool) -> tuple[Tensor, Tensor]:
    """Weights and biases of both. They are rounded once, so that results are as near to the exact sums as layer by layer."""
    scale = normalization.weight.double() * torch.rsqrt(variance.double() + normalization.eps)
    weight = (layer.weight * scale[:, None, None, None]).to(layer.weight.dtype)
    bias = normalization.bias - mean * scale if layer.bias is None else normalization.bias + (layer.bias - mean) * scale
    return summed(weight) if sums else weight, bias.to(layer.weight.dtype)


class GatedUnit(nn.GLU):
    """`nn.GLU` of the channels of [B, 2 C, ...], whose gradient has the memory layout of its input.

    PyTorch's gradient always has its channels first. After maps with channels last, that made the backward pass of batch normalisation five
    times as slow on a CPU.
    """

    def __init__(self) -> None:
        super().__init__(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = _Gate.apply(x) if x.requires_grad and not torch.compiler.is_compiling() else super().forward(x)
        return gated


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.glu(x, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives
            slope: Tensor = torch.ops.aten.glu_backward(gradient, x, 1)
            return slope
        found = torch.empty_like(x)
        torch.ops.aten.glu_backward.grad_input(gradient, x, 1, grad_input=found)
        return found
