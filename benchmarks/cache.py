"""How fast the prepared cache feeds random batches from one process, and what it costs in memory.

    python benchmarks/cache.py                     # a set of noise, made in a temporary folder
    python benchmarks/cache.py prepared/flowers    # a set of your own

Prints pictures a second of `PreparedPictures.read` alone, of reading with captions, and of the loader's whole batch (crop, mirror,
float tensors), and the memory that stays in use. The files are read once beforehand: the figures are
of the code and not of the disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from limner.core import random
from limner.core.trainable import Phase
from limner.data.cache import FORMAT, CacheCard, SplitWriter, join, write_card
from limner.data.loader import Loader
from limner.data.prepared import open_prepared


def write_noise(folder: Path, count: int, resolution: int) -> None:
    """A cache of `count` pictures of noise with five captions each."""
    side = round(resolution * 76 / 64)
    writer = SplitWriter(folder, "train")
    pixels = (random.hash64(0, "noise", np.arange(side * side * 3)) & np.uint64(255)).astype(np.uint8).reshape(side, side, 3)
    for number in range(count):
        captions = [f"picture number {number} with {colour} noise" for colour in ("red", "green", "blue", "grey", "white")]
        writer.add(np.roll(pixels, number, 0), captions, str(number), 0, True)
    writer.close()
    write_card(
        folder,
        CacheCard(
            format=FORMAT,
            name="noise",
            resolution=resolution,
            stored_resolution=side,
            splits={"train": count},
            made_splits="given",
            captions=5 * count,
            uncaptioned=0,
            class_names=None,
            flip=True,
            upscaled=0,
            rejected={},
            sources=["noise"],
            seed=0,
            fingerprint=join(folder, {"train": writer}, False),
        ),
    )
    (folder / "vocabulary.json").write_text("{}")


def pictures_per_second(step: Callable[[int], object], batch: int, seconds: float) -> float:
    """The best of three stretches: others on the machine can only slow it down."""
    best, number = 0.0, 0
    for _ in range(3):
        start, first = time.perf_counter(), number
        while time.perf_counter() - start < seconds:
            step(number)
            number += 1
        best = max(best, (number - first) * batch / (time.perf_counter() - start))
    return best


def private_memory() -> float:
    """MiB that belong to this process alone; mapped files do not count, for the system takes their pages back when it needs them."""
    lines = Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), float("nan"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=8192, help="pictures of noise")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if options.folder is None:
            write_noise(folder, options.count, options.resolution)
        before = private_memory()
        pictures = open_prepared(folder, "train")
        for start in range(0, len(pictures), 512):
            pictures.read(np.arange(start, min(start + 512, len(pictures))))
        batches = [random.integers(len(pictures), 0, "benchmark", number, np.arange(options.batch)) for number in range(256)]
        loader = Loader(pictures, Phase(name="benchmark", resolution=pictures.resolution, batch_size=options.batch, encoded=False), seed=0)

        def read_captions(number: int) -> None:
            indices = batches[number % 256]
            pictures.read(indices)
            for index in indices.tolist():
                pictures.captions(index)

        side, stored = pictures.stored_resolution, (folder / "pictures.u8").stat().st_size / 2**20
        print(
            f"{len(pictures):,} pictures of {side} px ({pictures.resolution} px with margin), random batches of {options.batch}, one thread"
        )
        steps: dict[str, Callable[[int], object]] = {
            "read": lambda number: pictures.read(batches[number % 256]),
            "read with captions": read_captions,
            "whole batch": loader.batch,
        }
        for name, step in steps.items():
            print(f"{name:20}{pictures_per_second(step, options.batch, options.seconds):12,.0f} pictures/s")
        print(f"{'memory of its own':20}{private_memory() - before:12,.1f} MiB, for {stored:,.0f} MiB of pictures")


if __name__ == "__main__":
    main()
