"""Seconds from a cold start: `limner --help`, `limner generate garden` and a bare `import torch`: `python benchmarks/command_line.py`."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(command: list[str], rounds: int) -> list[float]:
    """Wall time of the command, once for each round."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return times


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "flower.png")
        limner = [sys.executable, "-m", "limner"]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "limner --help": [*limner, "--help"],
            "limner generate garden": [*limner, "generate", "garden", "a red flower with five round petals", "--out", picture],
        }
        for name, command in commands.items():
            times = seconds(command, rounds)
            print(f"{name}: median {statistics.median(times):.2f} s, from {min(times):.2f} to {max(times):.2f} s")
