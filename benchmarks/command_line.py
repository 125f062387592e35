"""How long commands take from a cold start, next to a bare `import torch`: `python benchmarks/command_line.py`.

Processor time, of which a busy machine changes little, and its ratio to that of `import torch`; the median of some rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def seconds(command: list[str]) -> float:
    """Processor time of a command and of what it starts."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        run, picture = Path(folder) / "run", str(Path(folder) / "flower.png")
        limner = [sys.executable, "-m", "limner"]
        few = ["--data", "garden", "--data.garden-pictures", "16", "--training.batch-size", "4", "--steps", "1", "--device", "cpu"]
        train = [*limner, "train", "gan-cls", *few, "--out"]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "limner --help": [*limner, "--help"],
            "limner words garden": [*limner, "words", "garden"],
            "limner generate garden": [*limner, "generate", "garden", "a red flower with five round petals", "--out", picture],
            "limner train, one step": [*train, str(run)],
            "limner train --resume, with nothing left to do": [*train, str(run), "--resume"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for place in range(rounds):  # turn by turn, so that what else the machine does falls on all
            for name, command in commands.items():
                given = [f"{part}-{place}" if part == str(run) else part for part in command]
                times[name].append(seconds(given))
        bare = statistics.median(times["import torch"])
        for name, taken in times.items():
            middle = statistics.median(taken)
            print(f"{name}: {middle:.2f} s, {middle / bare:.2f} times `import torch` (from {min(taken):.2f} to {max(taken):.2f} s)")
