"""What benchmarks that run next to the authors' code have in common: each of the two has a process of its own, in turn."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence


def measured(step: Callable[[], None], steps: int) -> dict[str, float]:
    """Median milliseconds of processor time of a step, the first one left out, and this process's peak in MB."""
    taken = []
    for _ in range(steps + 1):
        start = time.process_time()
        step()
        taken.append(1e3 * (time.process_time() - start))
    return {"step": statistics.median(taken[1:]), "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def compare(script: str, names: Sequence[str], turns: int) -> None:
    """Run a script again with `--who NAME` for each of two names in turn, print their least figures, and the first one's as shares."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(turns):
        for name, taken in found.items():
            command = [sys.executable, script, *sys.argv[1:], "--who", name]
            taken.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))
    best = {name: {key: min(turn[key] for turn in taken) for key in ("step", "memory")} for name, taken in found.items()}
    print("| code | step, ms | peak, MB |\n| --- | ---: | ---: |")
    for name, figures in best.items():
        print(f"| {name} | {figures['step']:.0f} | {figures['memory']:.0f} |")
    one, other = (best[name] for name in names)
    print(f"\nratios: {one['step'] / other['step']:.2f}, {one['memory'] / other['memory']:.2f}")
