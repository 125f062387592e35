"""Weights for feature networks that tests can draw without a file."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

OF_NORMALIZATION = ("bn.weight", "normalization.weight", "running_var")


def seeded_weights(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Seeded values under a network's own names, of a size that keeps signals alive."""
    generator, state = torch.Generator().manual_seed(5), {}
    with torch.device("meta"):
        named = build().state_dict()
    for name, value in named.items():
        drawn = torch.randn(value.shape, generator=generator)
        if value.ndim > 1:
            drawn *= (2 / value[0].numel()) ** 0.5
        elif name.endswith(OF_NORMALIZATION):
            drawn = drawn.abs().clamp(0.5, 1.5)
        state[name] = drawn.to(value.dtype)
    return state
