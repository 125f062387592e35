"""What it costs that a prepared set leaves its pictures where they are: `python benchmarks/in_place.py SHARD ... [--resolution 64]`.

The shards are prepared both ways in a temporary folder. Then batches of both sets are read in the order of a training: the time of reading
alone, and that of reading next to a computation as long as a training step, which the reading in place overlaps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from limner.core.trainable import Phase
from limner.data.loader import Loader
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared


def busy(seconds: float) -> None:
    """Compute for so long, without Python's lock, as a training step does."""
    until = time.perf_counter() + seconds
    matrix = torch.rand(400, 400)
    while time.perf_counter() < until:
        matrix @ matrix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", type=Path)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--step-seconds", type=float, default=0.1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    phase = Phase(name="gan", epochs=1000.0, batch_size=given.batch_size, resolution=given.resolution)
    with tempfile.TemporaryDirectory() as place:
        for name, in_place in (("prepared", False), ("in place", True)):
            folder = Path(place) / name
            prepare(given.shards, folder, resolution=given.resolution, in_place=in_place, max_rejected=1.0)
            size = sum(file.stat().st_size for file in folder.iterdir())
            loader = Loader(open_prepared(folder, "train", given.resolution), phase, seed=0)
            loader.batch(0)
            begun = time.perf_counter(), time.process_time()
            for step in range(1, given.steps):
                loader.batch(step)
            alone, work = time.perf_counter() - begun[0], time.process_time() - begun[1]
            waited = 0.0
            for step in range(given.steps, 2 * given.steps):
                before = time.perf_counter()
                loader.batch(step)
                waited += time.perf_counter() - before
                busy(given.step_seconds)
            count = given.batch_size * (given.steps - 1)
            print(
                f"{name}: {size / 1e6:.1f} MB; {count / alone:,.0f} pictures a second, {1e3 * work / count:.2f} ms of a core each; next to "
                f"steps of {given.step_seconds} s a batch of {given.batch_size} is waited for {1e3 * waited / given.steps:.1f} ms"
            )


if __name__ == "__main__":
    main()
