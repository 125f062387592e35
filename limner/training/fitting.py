"""Makes a recipe fit into a given memory: `limner train ... --memory 6GB`. Each way is tried by two real steps in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limner.core.errors import LimnerError, SettingsError
from limner.core.recipes import load_recipe, save_recipe
from limner.core.registry import VARIABLE, given_file
from limner.core.settings import Recipe

UNITS = {"MB": 1e6, "MiB": 2.0**20, "GB": 1e9, "GiB": 2.0**30}
MARGIN = 1.1
"""What a run may take beyond its first steps: for sample grids, and as memory falls into pieces."""


@dataclass(frozen=True)
class Tried:
    """What two steps of each phase took. memory: the most of the process, or of the GPU, in MiB; None where there was too little of it."""

    memory: int | None
    seconds: float
    rows: int
    """Pictures a step, of the phase that has the most."""
    frames: int
    """Of a story, which no part of a batch may cut; else 1."""
    coupled: str | None
    """Why a batch cannot be trained on in parts; None where it can."""
    base: int = 0
    """What the process, or the GPU, had taken before the first step, in MiB: by Python, PyTorch, the networks and the data."""

    @property
    def needs(self) -> int:
        """MiB for a run, with a margin."""
        return math.ceil((self.memory or 0) * MARGIN)


def bytes_of(size: str) -> float:
    """6GB, 6.5 GiB or 800MB in bytes. Raises SettingsError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([MG]i?B)\s*", size)
    if not found or not float(found[1]):
        raise SettingsError(f"--memory {size} is not an amount of memory: give one such as 6GB, 800MB or 5.5GiB")
    return float(found[1]) * UNITS[found[2]]


def fitted(recipe: Recipe, size: str) -> Iterator[str | Recipe]:
    """Lines that say what was tried, and at last the recipe that fits: as it is, with recomputed maps, or with as large parts as may be.

    Raises SettingsError where nothing fits, and LimnerError for what could not be trained.
    """
    limit = bytes_of(size) / 2**20
    if recipe.training.devices * recipe.training.nodes > 1:
        raise SettingsError("--memory tries one process: find the settings with --training.devices 1, then give them with your number")
    tried: list[Tried] = []
    for candidate, words in _ways(recipe, tried):
        found = two_steps(candidate)
        tried.append(found)
        if found.memory is None:
            yield f"memory  {words}: more than there is here"
            continue
        yield f"memory  {words}: {found.needs:,} MiB, of them {found.memory:,} in two steps, {found.seconds:.3g} s a step"
        if found.needs <= limit:
            yield candidate
            return
        if found.base >= limit:
            raise SettingsError(
                f"--memory {size} is too little: before the first step, Python, PyTorch, networks and data take {found.base:,} MiB; "
                f"give {found.needs:,}MiB for these settings, or not much less"
            )
    least = min((found.needs for found in tried if found.memory is not None), default=None)
    needs = f"this recipe takes at least {least:,.0f} MiB" if least else "this recipe takes more than there is here"
    why = f" (its batches cannot be split, because {tried[0].coupled})" if tried[0].coupled else ""
    raise SettingsError(f"--memory {size} is too little, {needs}{why}: lower --training.batch-size, --resolution or the networks' channels")


def _ways(recipe: Recipe, tried: list[Tried]) -> Iterator[tuple[Recipe, str]]:
    """Recipes that need less and less memory, and what they are called. tried: what those before took."""
    training = recipe.training
    yield recipe, "as it is"
    recompute = training.recompute
    if training.compile != "networks" and not training.recompute:
        yield dataclasses.replace(recipe, training=dataclasses.replace(training, recompute=True)), "--training.recompute"
        recompute = tried[0].memory is None or (tried[1].memory or math.inf) < tried[0].memory  # of small networks it takes more
    rows, frames = training.micro_batch or tried[0].rows, tried[0].frames
    while not tried[0].coupled and rows > frames:
        rows = max(rows // 2 // frames, 1) * frames
        parts = dataclasses.replace(training, micro_batch=rows, recompute=recompute)
        yield dataclasses.replace(recipe, training=parts), f"--training.micro-batch {rows}{' --training.recompute' * recompute}"


def two_steps(recipe: Recipe) -> Tried:
    """Two steps of each phase in a process of its own: what a process once took, it does not give back."""
    file = given_file(recipe.method)
    environment = os.environ | ({VARIABLE: str(file)} if file else {})
    with tempfile.TemporaryDirectory(prefix="limner-") as folder:
        save_recipe(recipe, Path(folder) / "recipe.yaml")
        command = [sys.executable, "-m", "limner.training.fitting", str(Path(folder) / "recipe.yaml"), str(os.getpid())]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    answers = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    found = {key: value for answer in answers for key, value in answer.items()}
    if "error" in found:
        raise SettingsError(found["error"])
    if "memory" in found:
        return Tried(**found)
    if found and (ended.returncode < 0 or re.search("out of memory|OutOfMemory|MemoryError|DefaultCPUAllocator", ended.stderr)):
        return Tried(**found, memory=None, seconds=0.0)  # it knew its plan, and a step was too much for this machine
    last = (ended.stderr.strip().splitlines() or [f"its process ended with code {ended.returncode}"])[-1]
    raise LimnerError(f"a step could not be tried: {last}")


def _end_with(parent: int) -> None:
    """Let this process end when the one that asked for it does, on Linux."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            sys.exit(1)


def main(path: str, parent: int) -> None:
    """Try a recipe. Its plan, what its steps took, or why it cannot be trained go to standard output, each as a line of JSON."""
    from limner.training.accumulation import coupling
    from limner.training.dry_run import rehearse
    from limner.training.memory import most_memory

    _end_with(parent)
    try:
        rehearsal = rehearse(load_recipe(path))
        phases = [planned.phase for planned in rehearsal.plan.phases if planned.act.is_asked_for]
        largest = max(phases, key=lambda phase: phase.batch_size)
        plan = {"rows": largest.batch_size, "frames": largest.frames, "coupled": coupling(rehearsal.plan.asked_for.trained)}
        print(json.dumps({**plan, "base": most_memory(rehearsal.fabric.device)}), flush=True)
        found = [measured for _, measured in rehearsal.measured()]
        most = max(measured.memory for measured in found)
        print(json.dumps({"memory": most, "seconds": max(measured.seconds for measured in found)}))
    except LimnerError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
