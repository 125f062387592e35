"""Feature maps that are computed again for the gradient instead of kept: less memory for more time, with the same weights.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174. A network keeps only what goes into each of its *blocks*.
The maps within a block are computed again when its gradient is due, and freed before those of the next one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from limner.core.errors import SettingsError
from limner.nn.fast.layers import Layers

FEW = 3
"""Convolutions of a block at most: those of a residual block with its shortcut. A plain sequence with more is cut into pairs of them."""
SHARE = 8
"""Of a network with many convolutions, a block may have this part, where that is more: a block of Inception has up to ten of 94."""
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
RUN = (nn.Sequential.forward, Layers.forward)
"""What runs the layers of a sequence one after another."""
NORMALIZATIONS = nn.modules.batchnorm._NormBase


def recompute_maps(network: nn.Module) -> None:
    """Let the blocks of a network compute their maps again, wherever gradients are asked for. Names in its state dict stay."""
    for block in list(_blocks(network, max(FEW, _convolutions(network) // SHARE))):
        block.__class__ = _recomputing(type(block))  # type: ignore[arg-type]  # mypy asks a class for the hash of its objects


def _blocks(module: nn.Module, most: int) -> Iterator[nn.Module]:
    """The largest parts of a module with few convolutions, `most`, and plain sequences of layers.

    A convolution with its activation is none: what it keeps, the next layer needs anyway.
    """
    for child in module.children():
        count = _convolutions(child)
        if not count or isinstance(child, (*CONVOLUTIONS, _Recomputing)):
            continue
        plain = isinstance(child, nn.Sequential) and type(child).forward in RUN and not any(list(layer.children()) for layer in child)
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)) or (count > most and not plain):
            yield from _blocks(child, most)
        elif count > 1 or any(isinstance(part, NORMALIZATIONS) for part in child.modules()):
            yield child


def _convolutions(module: nn.Module) -> int:
    return sum(isinstance(part, CONVOLUTIONS) for part in module.modules())


class _Recomputing:
    """What the class of a block becomes: itself, with maps that are computed again."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        block: Any = self
        forward = super().forward  # type: ignore[misc]  # the block's own
        if not torch.is_grad_enabled():
            return forward(*inputs, **named)
        if not isinstance(block, nn.Sequential) or _convolutions(block) <= FEW:
            return _again(block, forward, *inputs, **named)
        found: Any = inputs
        for part in _pairs(block):
            found = _again(part, part, *(found if isinstance(found, (tuple, list)) else (found,)))
        return found


@functools.cache
def _recomputing(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (_Recomputing, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})


def _pairs(layers: nn.Sequential) -> Iterator[nn.Module]:
    """A plain sequence in parts of two convolutions each, and what stands between them."""
    starts = [place for place, layer in enumerate(layers) if isinstance(layer, CONVOLUTIONS)][2::2]
    for start, end in zip([0, *starts], [*starts, len(layers)], strict=True):
        part = (Layers if isinstance(layers, Layers) else nn.Sequential)(*list(layers)[start:end])
        part.training = layers.training
        yield part


def _again(block: nn.Module, function: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    state = _Standing(list(block.buffers()) if block.training else [])
    versions = [value._version for value in inputs if isinstance(value, Tensor)]
    found = checkpoint(function, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), state), **named)
    if versions != [value._version for value in inputs if isinstance(value, Tensor)]:
        raise SettingsError(f"training.recompute is not for {type(block).__name__}, which changes its input in place: leave it out")
    return found


class _Standing(AbstractContextManager[None]):
    """While it is entered, statistics and the like stand as they stood when it was made; afterwards as they were found.

    It may be entered again: second derivatives compute maps again, too.
    """

    def __init__(self, buffers: list[Tensor]) -> None:
        self.buffers, self.before = buffers, _copied(buffers)
        self.found: list[Tensor] = []

    def __enter__(self) -> None:
        self.found = _copied(self.buffers)
        self._set(self.before)

    def __exit__(self, *_: object) -> None:
        self._set(self.found)

    def _set(self, values: list[Tensor]) -> None:
        for buffer, value in zip(self.buffers, values, strict=True):
            buffer.data.copy_(value)  # data: autograd reads what it noted of a buffer only while this stands as it stood then


def _copied(buffers: list[Tensor]) -> list[Tensor]:
    return [buffer.detach().clone() for buffer in buffers]
