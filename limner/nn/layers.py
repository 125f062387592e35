"""Layers one after another, and what can be saved between them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.spectral import SpectralConv2d


class Layers(nn.Sequential):
    """Layers one after another. Where nothing is trained, batch normalisation behind a convolution is part of the convolution's weights."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            return super().forward(x)
        before: nn.Conv2d | None = None  # a convolution that waits for its normalisation
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
        """What the layers make of each of several batches [B_i, ...], whose rows go through convolutions side by side.

        Batch normalisation sees each batch by itself and in this order, and so does a layer that changes with every pass.
        """
        sizes, x = [len(batch) for batch in batches], batches[0] if len(batches) == 1 else torch.cat(batches)
        if not self.training and not any(isinstance(layer, SpectralConv2d) for layer in self):
            return list(self(x).split(sizes))
        for layer in self:
            if len(sizes) > 1 and isinstance(layer, (nn.BatchNorm2d, SpectralConv2d)):
                x = torch.cat([layer(batch) for batch in x.split(sizes)])
            else:
                x = layer(x)
        return list(x.split(sizes))


def _normalized(layer: nn.Conv2d, normalization: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """A convolution and the batch normalisation behind it in evaluation."""
    mean, variance = normalization.running_mean, normalization.running_var
    assert mean is not None and variance is not None
    scale = normalization.weight * torch.rsqrt(variance + normalization.eps)
    shift = normalization.bias - mean * scale
    return layer._conv_forward(x, layer.weight * scale[:, None, None, None], shift if layer.bias is None else shift + layer.bias * scale)


class GatedUnit(nn.GLU):
    """Half of the channels of [B, 2 C, ...], gated by the sigmoid of the others: `nn.GLU`, whose gradient lies in memory as its input does.

    PyTorch's own always lies channels first. After maps with their channels last that made batch normalisation's backward, on a CPU, five
    times as slow.
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
        if torch.is_grad_enabled():  # to be differentiated once more
            slope: Tensor = torch.ops.aten.glu_backward(gradient, x, 1)
            return slope
        found = torch.empty_like(x)
        torch.ops.aten.glu_backward.grad_input(gradient, x, 1, grad_input=found)
        return found
