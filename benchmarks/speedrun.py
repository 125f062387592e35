"""The garden speedrun: how few minutes of a core bring 95 % faithfulness at diversity .8 on pairs that training never showed?

    python benchmarks/speedrun.py benchmarks/speedrun/limner-gan.yaml --out runs/speedrun

trains the recipe once from each of three seeds, one after the other on one core, and scores each on the test split. docs/speedrun.md has
the rules and the records. What is trained and scored already is kept, so that the command goes on where it was stopped; but the time of a
run counts only where it was trained in one go.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

FAITHFUL, DIVERSE, CAPTIONS, SEEDS = 0.95, 0.8, 2000, (0, 1, 2)
METRICS = "faithfulness,everything-right,diversity,openness,coherence,fid"


def limner(*words: str) -> float:
    """Run a command on one core; returns the processor time that it took, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "limner", *words], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trained(recipe: Path, run: Path, seed: int) -> float | None:
    """The seconds that a run took, trained now unless it is there; None where it was stopped in between."""
    took = run.with_suffix(".seconds.json")
    if not (run / "report.html").exists():
        resumed = (run / "recipe.yaml").exists()
        seconds = limner("train", str(recipe), "--training.seed", str(seed), "--out", str(run), *(["--resume"] if resumed else []))
        took.write_text(json.dumps(None if resumed else seconds))
    found: float | None = json.loads(took.read_text())
    return found


def scored(run: Path) -> dict[str, float]:
    """The scores of a run on the test split, taken now unless they are there."""
    scores = run.with_suffix(".scores.json")
    if not scores.exists():
        limner("evaluate", str(run), "--split", "test", "--count", str(CAPTIONS), "--metrics", METRICS, "--out", str(scores))
    return {one["name"]: one["value"] for one in json.loads(scores.read_text())["scores"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a recipe.yaml with a number of steps")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in SEEDS:
        run = arguments.out / f"seed{seed}"
        seconds = trained(arguments.recipe, run, seed)
        rows.append((seconds, scored(run)))
    names = METRICS.split(",")
    print(f"| seed | minutes of a core | {' | '.join(names)} |\n|---|---:|{'---:|' * len(names)}")
    for seed, (seconds, found) in zip(SEEDS, rows, strict=True):
        time = "stopped in between" if seconds is None else f"{seconds / 60:.1f}"
        print(f"| {seed} | {time} | {' | '.join(f'{found[name]:.3f}' for name in names)} |")
    faithful, diverse = (sum(found[name] for _, found in rows) / len(rows) for name in ("faithfulness", "diversity"))
    times = [seconds for seconds, _ in rows if seconds is not None]
    counts = faithful >= FAITHFUL and diverse >= DIVERSE and len(times) == len(rows)
    print(f"\nmean faithfulness {faithful:.1%}, diversity {diverse:.2f}: ", end="")
    print(f"a record of {sum(times) / len(times) / 60:.1f} minutes, if it is the shortest" if counts else "does not count")
