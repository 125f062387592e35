"""What a model costs: its parameters, and the time and memory of a painting, measured here and now."""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

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
    """The most bytes that PyTorch had allocated at once while it painted, with the model's weights."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
        work()
        return torch.cuda.max_memory_allocated(model.device)
    weights = sum(value.nbytes for module in (model.method, model.encoder) for value in (*module.parameters(), *module.buffers()))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]")
    held = most = 0
    for _, change in changes:
        held += change
        most = max(most, held)
    return weights + most


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
