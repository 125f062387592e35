"""A small set of pictures, learned from nothing and from a trained model, for the same number of pictures seen: which paints better?

    python benchmarks/fine_tuning.py --data prepared/mine --model runs/garden --out runs/fine --images 80000

trains each way once (what is there already is kept), scores all of them by one feature network and by one matching model that is trained on
the set, and prints a table. `--only NAME ...` chooses among the ways; `--pretrained FOLDER` adds those that use a sentence encoder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

WAYS = {
    "nothing": [],
    "model": ["--from", "MODEL"],
    "nothing, pretrained text": ["--text.encoder", "PRETRAINED"],
    "model, pretrained text": ["--from", "MODEL", "--text.encoder", "PRETRAINED"],
    "model, pretrained neighbours": ["--from", "MODEL", "--start.neighbours", "PRETRAINED"],
    "model, all words": ["--from", "MODEL", "--start.words", "all"],
    "model, no words": ["--from", "MODEL", "--start.words", "none"],
    "model, two layers frozen": ["--from", "MODEL", "--start.freeze", "2"],
}


def limner(*words: str) -> None:
    """Run a command, and show what it says."""
    subprocess.run([sys.executable, "-m", "limner", *words], check=True)


def figures(scores: Path) -> dict[str, float]:
    """The scores of a file by metric and figure."""
    found = json.loads(scores.read_text(encoding="utf-8"))
    return {one["name"]: one["value"] for one in found["scores"]}


def train(way: str, arguments: argparse.Namespace) -> Path:
    """The run of one way, trained unless it is there."""
    run = arguments.out / way.replace(",", "").replace(" ", "-")
    given = [word.replace("MODEL", arguments.model).replace("PRETRAINED", str(arguments.pretrained)) for word in WAYS[way]]
    if not (run / "report.html").exists():
        budget = ["--training.images", str(arguments.images), "--training.epochs", "1000000", "--text.steps", str(arguments.text_steps)]
        resume = ["--resume"] if (run / "recipe.yaml").exists() else [*given]
        limner("train", arguments.method, "--data", str(arguments.data), "--out", str(run), "--device", "cpu", *budget, *resume)
    return run


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--method", default="limner-gan", help="the method of MODEL")
    parser.add_argument("--model", required=True, help="what is started from: a run, a model folder or a shipped name of the method")
    parser.add_argument("--pretrained", type=Path, help="the folder of a pretrained sentence encoder")
    parser.add_argument("--images", type=int, default=20_000, help="training pictures that each run sees, at most")
    parser.add_argument("--text-steps", type=int, default=300)
    parser.add_argument("--judge-steps", type=int, default=300, help="training of the matching model that scores all")
    parser.add_argument("--features", default="garden", help="as limner evaluate takes it; tv-squeezenet=FILE is better for photographs")
    parser.add_argument("--metrics", default="kid,memorisation,clip-score", help="r-precision wants 100 captions in the test split")
    parser.add_argument("--count", type=int, default=500, help="pictures that are painted for a score")
    parser.add_argument("--only", nargs="*", choices=list(WAYS))
    arguments = parser.parse_args()
    ways = arguments.only or [way for way, given in WAYS.items() if arguments.pretrained or "PRETRAINED" not in given]
    judge = arguments.out / "judge"
    if not (judge / "report.html").exists():
        limner("train", "sje", "--data", str(arguments.data), "--out", str(judge), "--device", "cpu", "--steps", str(arguments.judge_steps))
    rows = {}
    for way in ways:
        run = train(way, arguments)
        if not (run / "scores.json").exists():
            wanted = ["--split", "test", "--metrics", arguments.metrics, "--count", str(arguments.count)]
            eyes = ["--features", arguments.features, "--matching", str(judge)]
            limner("evaluate", str(run), "--data", str(arguments.data), *wanted, *eyes, "--device", "cpu")
        rows[way] = figures(run / "scores.json")
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    print(f"| start | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for way, row in rows.items():
        print(f"| {way} | {' | '.join(f'{row[name]:.4g}' if name in row else '-' for name in names)} |")
