"""One evaluation by several processes: each sees every n-th batch, and what they kept is put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

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
