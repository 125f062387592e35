"""Gathers tensors of all processes, with gradients back to the process that computed them."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor


def processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def own_rows(count: int) -> slice:
    """The places of this process's `count` rows among the gathered ones."""
    rank = distributed.get_rank() if processes() > 1 else 0
    return slice(rank * count, (rank + 1) * count)


def gathered(rows: Tensor) -> Tensor:
    """The rows [b, ...] of every process, one after the other: [processes x b, ...]; all must have the same number.

    A row's gradient is the sum of the gradients of all processes' losses, as in a single process with all rows and the sum of the losses.
    The trainer's mean over processes then makes it the gradient of the mean loss.
    """
    if processes() == 1:
        return rows
    result: Tensor = _Gathered.apply(rows)
    return result


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.count = len(rows)
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(processes())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        distributed.all_reduce(total)
        return total[own_rows(context.count)]
