"""The processes of a run: one by itself, or several that lightning_fabric starts and connects."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor


class Processes(Protocol):
    """What a run asks of its processes, by the names that `lightning_fabric.Fabric` gives them."""

    device: torch.device
    """Where this process trains."""
    world_size: int
    global_rank: int

    def autocast(self) -> AbstractContextManager[Any]:
        """Within it, networks compute in the run's precision."""

    def barrier(self) -> None:
        """Wait for all processes."""

    def all_reduce(self, data: Tensor, *, reduce_op: str) -> Any:
        """The mean or sum of a tensor over all processes."""

    def broadcast(self, obj: Any) -> Any:
        """What the first process has, in all of them."""


class Alone:
    """The only process of a run: what a Fabric of one device does, loaded in no time, where lightning_fabric takes longer than PyTorch.

    precision: "32-true" or "bf16-mixed".
    """

    world_size, global_rank = 1, 0

    def __init__(self, accelerator: str, precision: str) -> None:
        self.device = torch.device("cuda", 0) if accelerator == "cuda" else torch.device("cpu")
        self.precision = precision
        if accelerator == "cuda":
            torch.cuda.set_device(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """torch.autocast in bfloat16 where the precision asks for it."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.precision == "bf16-mixed" else nullcontext()

    def barrier(self) -> None:
        """There is nobody to wait for."""

    def all_reduce(self, data: Tensor, *, reduce_op: str) -> Tensor:
        """The tensor itself."""
        return data

    def broadcast(self, obj: Any) -> Any:
        """The thing itself."""
        return obj
