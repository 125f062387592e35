"""When the processes of a run agree on what each may know alone: that it was asked to stop, or that its time is up."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from limner.training.processes import Processes

MOST_STEPS = 10
"""Steps between two meetings at most."""
SECONDS = 1.0
"""Time between two meetings, where that is more than a step and less than `MOST_STEPS`."""


class Meetings:
    """The steps at which all processes of a run look at each other: each step where steps are slow, and at most every tenth.

    At each meeting the first process says, by its own clock, after how many steps the next one is, so that all meet at the same steps.
    """

    def __init__(self, fabric: Processes, step: int) -> None:
        """step: the first meeting."""
        self._fabric = fabric
        self._newest, self._next, self._time = -1, step, 0.0

    def is_at(self, step: int) -> bool:
        """Whether the processes meet at a step. All must ask at the same steps, each step as often as they like."""
        if step == self._newest or step < self._next:
            return step == self._newest
        now = time.monotonic()
        a_step = (now - self._time) / (step - self._newest) if self._newest >= 0 else SECONDS
        said = max(1, min(MOST_STEPS, int(SECONDS / max(a_step, 1e-9)))) if self._fabric.global_rank == 0 else 0
        ahead = self._fabric.all_reduce(torch.tensor(float(said), device=self._fabric.device), reduce_op="sum")
        assert isinstance(ahead, Tensor)
        self._newest, self._next, self._time = step, step + int(ahead), now
        return True
