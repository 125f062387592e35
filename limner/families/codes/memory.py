"""Whether a machine can hold a transformer at all: said before gigabytes are drawn at random."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import nn

from limner.core.errors import SettingsError
from limner.families.codes.transformer import CodeTransformer, Shape


def refuse_what_does_not_fit(shape: Shape, dvae: Callable[[], nn.Module], copies: int) -> None:
    """Raise SettingsError where so many copies of the weights, in float32, are more than this machine's largest memory.

    Activations come on top of that. Nothing is refused on the meta device, which holds nothing.
    """
    if torch.empty(0).device.type == "meta":
        return
    with torch.device("meta"):
        parameters = sum(value.numel() for module in (CodeTransformer(shape), dvae()) for value in module.parameters())
    needed, there = 4 * copies * parameters, largest_memory()
    if needed > there:
        what = "with gradients, averages and moments" if copies > 1 else "alone"
        raise SettingsError(
            f"the networks have {parameters / 1e9:,.1f} billion parameters, which {what} take {needed / 2**30:,.0f} GiB, and the largest "
            f"memory here has {there / 2**30:,.0f} GiB: choose the preset cpu or dalle-pytorch, or a smaller method.width and method.depth"
        )


def largest_memory() -> int:
    """Bytes of the machine's memory, or of its largest GPU where that is more."""
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62
    gpus = [torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())]
    return max([own, *gpus])
