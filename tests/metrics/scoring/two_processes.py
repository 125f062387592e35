"""Run by test_processes.py in one or two processes: scores a generator and writes each process's scores."""

from __future__ import annotations

import sys
from pathlib import Path

from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.metrics.scoring.evaluate import ScoringRequest, evaluate
from limner.metrics.scoring.known import Known
from limner.metrics.scoring.protocol import write_scores
from limner.metrics.scoring.share import Share, launched


def main(out: Path, processes: int) -> None:
    fabric = launched(processes, "cpu")
    pictures = GardenPictures(Garden("test", length=60, resolution=32))
    known = Known("test", 32, GardenPictures(Garden("train", length=50, resolution=32)))
    scores = evaluate(
        known.perfect,
        [pictures],
        ScoringRequest(
            metrics=["fid", "prdc", "ssim", "memorisation", "faithfulness"],
            count=90,
            training=known.training,
            batch_size=16,
            share=Share.of(fabric),
            cache=out / "cache",
        ),
    )
    write_scores(out / f"process-{fabric.global_rank}.json", scores)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
