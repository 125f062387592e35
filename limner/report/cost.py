"""What a model costs: its parameters, and the time and memory of a painting, measured here and now."""

from __future__ import annotations

import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from limner.model import Model

COUNTS = (1, 8)
"""Pictures of one painting that are timed."""
REPEATS, SECONDS = 7, 2.0
"""A painting is timed this many times, or fewer where that would take longer; at least twice."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one model costs."""

    painting: int
    """Parameters of the networks that paint."""
    all: int
    """Parameters of all networks of the method, those that only training needs among them."""
    text: int
    """Parameters of the text encoder."""
    seconds: dict[int, float]
    """For each count of pictures, the median time from captions to pixels."""
    bytes: dict[int, int]
    """For each count of pictures, the most memory that tensors held at once, weights included."""


def cost(model: Model, captions: Sequence[str], seed: int = 0) -> Cost:
    """Count and measure a model, on the device it is on, painting these captions, again from the first where there are too few."""
    seconds, most = {}, {}
    for count in COUNTS:
        texts = [captions[number % len(captions)] for number in range(count)]

        def paint(texts: Sequence[str] = texts) -> None:
            model.pictures(texts, range(len(texts)), seed)

        paint()
        seconds[count], most[count] = _median_seconds(paint), _peak(model, paint)
    painters = [player.module for player in model.method.players().values() if player.averaged]
    return Cost(
        painting=_parameters(*painters), all=_parameters(model.method), text=_parameters(model.encoder), seconds=seconds, bytes=most
    )


def _median_seconds(work: Callable[[], None]) -> float:
    taken: list[float] = []
    while len(taken) < 2 or (len(taken) < REPEATS and sum(taken) < SECONDS):
        start = time.perf_counter()
        work()  # pictures come back to the CPU, so nothing is left to wait for
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _peak(model: Model, work: Callable[[], None]) -> int:
    """The most bytes that tensors held at once while the model painted, with the weights that paint."""
    parts = [*(player.module for player in model.method.players().values() if player.averaged), model.encoder]
    weights = {id(value): value.nbytes for part in parts for value in (*part.parameters(), *part.buffers())}
    if model.device.type == "cuda":
        before = torch.cuda.memory_allocated(model.device)
        torch.cuda.reset_peak_memory_stats(model.device)
        work()
        most = torch.cuda.max_memory_allocated(model.device) - before
    else:
        with Held() as held:
            work()
        most = held.most
    return sum(weights.values()) + most


class Held(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make within the block, for as long as each is there.

    What an operation takes for itself and gives back before it returns is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {value.untyped_storage()._cdata for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in given | self._known:
                self._add(value.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self._known.add(storage._cdata)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, storage._cdata, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _parameters(*modules: nn.Module) -> int:
    """Parameters of modules, one that is shared counted once."""
    return sum(value.numel() for value in {id(value): value for module in modules for value in module.parameters()}.values())


def machine(device: torch.device) -> str:
    """Where times were measured, in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'' if threads == 1 else 's'} of {os.cpu_count()} cores, PyTorch {torch.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
