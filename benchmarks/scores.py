"""What an evaluation costs compared with painting and looking alone, and whether it tells good generators from bad ones.

    python benchmarks/scores.py speed                  # every metric on 10,000 pictures of the shipped `garden-fast`
    python benchmarks/scores.py speed --count 2000
    python benchmarks/scores.py known                  # the table of docs/scores.md: generators whose right scores are known

`speed` paints, looks, and evaluates in one run, and counts seconds of processor time, so that its ratios hold on a busy machine as on an
idle one. It evaluates three times: with an empty cache, with a full one, and for a quarter of the pictures, whose memory is compared.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import limner
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.features.registry import load_feature_network
from limner.metrics.scoring.evaluate import MOST_CAPTIONS, ScoringRequest, evaluate
from limner.metrics.scoring.known import Known, Reader
from limner.metrics.scoring.metric import NOISES
from limner.metrics.scoring.protocol import Score
from limner.metrics.scoring.registry import METRICS
from limner.metrics.scoring.survey import TRAINING_PICTURES, stored

BATCH = 64


def private_memory() -> float:
    """MiB that belong to this process alone."""
    lines = Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), float("nan"))


def timed(work: Callable[[], object]) -> float:
    """Seconds of this process's own work, on all its threads: others on the machine lengthen the wall clock's and not these."""
    start = time.process_time()
    work()
    return time.process_time() - start


def speed(count: int) -> None:
    model, network = limner.load("garden-fast"), load_feature_network("garden")
    pictures = GardenPictures(Garden("test", resolution=model.resolution))
    training = GardenPictures(Garden("train", length=TRAINING_PICTURES, resolution=model.resolution))
    for source in (pictures, training):
        source.read([0])  # they are painted now, and belong to the data
    names = [name for name in METRICS if name not in ("r-precision", "r-precision-as-published", "vs", "clip-score", "ap")]
    paint, shown = model.painter(), min(count, len(pictures))
    varied = max(4, min(MOST_CAPTIONS, count // NOISES))

    @torch.no_grad()
    def look(images: Tensor) -> None:
        network(images)

    def generate(number: int) -> None:
        for start in range(0, number, BATCH):
            rows = np.arange(start, min(start + BATCH, number))
            look(paint([pictures.captions(int(row) % len(pictures))[0] for row in rows], rows, 0))

    def read(source: GardenPictures, number: int) -> None:
        for start in range(0, number, BATCH):
            look(stored(source, np.arange(start, min(start + BATCH, number))))

    def request(number: int, **more: Any) -> ScoringRequest:
        return ScoringRequest(metrics=names, count=number, network=network, **more)

    generate(2 * BATCH)
    evaluate(paint, [pictures], request(2 * BATCH, training=pictures))  # imports what is imported late
    base = timed(lambda: generate(count + varied * NOISES))  # those of one caption, which diversity wants, among them
    real = timed(lambda: read(pictures, shown)) + timed(lambda: read(training, len(training)))
    peaks: list[float] = []

    def score(number: int, cache: Path) -> float:
        before, peak = private_memory(), [0.0]

        def watch(done: int, total: int, what: str) -> None:
            peak[0] = max(peak[0], private_memory())

        seconds = timed(lambda: evaluate(paint, [pictures], request(number, training=training, cache=cache), progress=watch))
        peaks.append(max(peak[0], private_memory()) - before)
        return seconds

    with tempfile.TemporaryDirectory() as folder:
        score(count // 4, Path(folder) / "quarter")
        cold = score(count, Path(folder) / "cache")
        warm = score(count, Path(folder) / "cache")
    per = 1000 / count
    print(f"{count:,} pictures of {model.resolution} px, {shown:,} real and {len(training):,} training ones, {len(names)} metrics, "
          f"{torch.get_num_threads()} thread(s)")  # fmt: skip
    print(f"painting and looking ({varied * NOISES:,} more for diversity) {base:8.1f} s  {base * per:6.2f} ms a picture")
    print(f"looking at real and training pictures       {real:8.1f} s")
    print(f"evaluation, nothing cached                  {cold:8.1f} s  {cold / (base + real):6.2f} x all of that")
    print(f"evaluation, real and training ones cached   {warm:8.1f} s  {warm / base:6.2f} x painting and looking")
    grown = (peaks[2] - peaks[1]) * 2**20 / (count - count // 4)
    growth = f"{grown:,.0f} bytes a picture"
    print(f"memory at its peak, above the start: {peaks[1]:.0f} MiB for {count // 4:,}, {peaks[2]:.0f} MiB for {count:,}: {growth}")


TABLES = (
    ("faithfulness", "r-precision", "r-precision-as-published", "vs", "clip-score", "ap", "top-1", "class-accuracy", "psnr", "ssim"),
    ("fid", "fid-infinity", "kid", "is", "precision", "recall", "density", "coverage", "diversity", "ms-ssim", "memorisation"),
)
"""Scores that hear the caption, and scores that do not."""


def known(count: int, resolution: int) -> None:
    """Two tables in Markdown, a generator a row."""
    # Pictures of the train split's combinations that nobody was trained on: only their newness sets them apart from the training pictures.
    pictures, held_out = (GardenPictures(Garden("train", seed=1, length=count, resolution=resolution)) for _ in range(2))
    held_out.split = "test"  # for memorisation, which takes a split called train to be what was trained on
    generators = Known("train", resolution, GardenPictures(Garden("train", length=TRAINING_PICTURES, resolution=resolution)))
    found: dict[str, dict[str, Score]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name, paint in generators.painters():
            scores = evaluate(paint, [pictures], ScoringRequest(metrics=["all"], count=count, matching=Reader(), cache=Path(cache)))
            copies = ScoringRequest(metrics=["memorisation"], count=count, training=generators.training, cache=Path(cache))
            scores += evaluate(paint, [held_out], copies)
            found[name] = {score.name: score for score in scores}
    for columns in TABLES:
        print("| generator | " + " | ".join(f"`{name}`" for name in columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
        for name, own in found.items():
            print(f"| {name} | " + " | ".join(_short(own[column].value) for column in columns) + " |")
        reals = [own[column].real for own in [found["perfect"]] for column in columns]
        print("| *real pictures* | " + " | ".join("" if real is None else _short(real) for real in reals) + " |\n")


def _short(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "known"))
    parser.add_argument("--count", type=int, help="pictures (10,000 for speed, 1,000 for known)")
    parser.add_argument("--resolution", type=int, default=32, help="side in pixels, of known")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    if options.what == "speed":
        speed(options.count or 10_000)
    else:
        known(options.count or 1_000, options.resolution)


if __name__ == "__main__":
    main()
