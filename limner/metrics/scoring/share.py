"""One evaluation by several processes: each sees every n-th batch, and what they kept is put together."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from limner.core.errors import SettingsError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def _alone(mine: T) -> list[T]:
    return [mine]


@dataclass(frozen=True)
class Share:
    """A process's part of the work."""

    rank: int = 0
    processes: int = 1
    gather: Callable[[object], list[object]] = _alone
    """What every process gave, in the order of their ranks, on all of them; to be called by all."""

    def mine(self, batch: int) -> bool:
        """Whether a batch, counted from 0, is this process's."""
        return batch % self.processes == self.rank

    @classmethod
    def of(cls, fabric: Fabric) -> Share:
        """The part of a launched Fabric's process."""
        if fabric.world_size == 1:
            return cls()

        def gather(mine: object) -> list[object]:
            import torch.distributed

            everything: list[object] = [None] * fabric.world_size
            torch.distributed.all_gather_object(everything, mine)
            return everything

        return cls(fabric.global_rank, fabric.world_size, gather)


ALONE = Share()
"""All of the work."""


def launched(devices: int, device: str) -> Fabric:
    """`devices` processes on this machine, of which this is one: each runs the whole command from its start. Raises SettingsError for more
    GPUs than there are."""
    import torch
    from lightning_fabric import Fabric

    accelerator = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and devices > torch.cuda.device_count():
        raise SettingsError(f"--devices is {devices}, but PyTorch sees {torch.cuda.device_count()} GPUs: lower it")
    for name in ("lightning.fabric", "lightning_fabric"):  # their notices of what they start are for developers
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(accelerator=accelerator, devices=devices, strategy="ddp" if devices > 1 else "auto")
        if accelerator == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // devices))
        fabric.launch()
    return fabric
