"""Methods side by side on the garden, each given the same wall-clock time: `python benchmarks/methods.py gan-cls stackgan hdgan`.

Each method is trained by its preset `cpu` at 64 px for as many minutes as the others (`--minutes`, evaluations and grids not counted) and
scored on the attribute combinations that training never showed: every attribute's faithfulness, diversity, and FID by the garden's
features. Results go to OUT/results.json, as a table to OUT/results.md, and OUT/methods.png has the same captions and noises by all of them
(of seed 0). A run that is there is not trained again, and one that was
interrupted goes on, so the same command may be given again with more methods or seeds.

A method may carry settings, and so become an entry of its own: `"hdgan method.local-weight=0"`.

`--together 2` trains two runs at a time, each on its share of the processor's cores. Runs that are to be compared should be made with the
same `--together`: it is part of the results.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from PIL import Image
from tyro.conf import Positional

from limner.core.settings import DataSettings
from limner.data.catalog import open_data
from limner.data.sheet import caption_grid
from limner.model import load
from limner.report.curves import read_log

ATTRIBUTES = ("colour", "count", "shape", "centre", "background", "size")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    entries: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="METHOD ...")]
    """Methods, each with settings after a space if wanted: "gan-cls method.captions=4"."""
    minutes: float = 12.0
    """Training time of each run."""
    seeds: tuple[int, ...] = (0,)
    """Every method is trained once from each."""
    together: int = 1
    """Runs at a time; each has its share of the cores."""
    cores: int = os.cpu_count() or 1
    """Cores to share out."""
    count: int = 2000
    """Pictures that are scored of each run."""
    resolution: int = 64
    """Side of the final pictures."""
    out: Path = Path("runs/methods")
    """Folder for the runs, results.json and results.md."""


def main(arguments: Arguments) -> None:
    arguments.out.mkdir(parents=True, exist_ok=True)
    wanted = [(entry, seed) for seed in arguments.seeds for entry in arguments.entries]
    with ThreadPoolExecutor(arguments.together) as pool:
        for _ in pool.map(lambda pair: one(arguments, *pair), wanted):
            write(arguments)
    picture(arguments.out).save(arguments.out / "methods.png")
    print((arguments.out / "results.md").read_text())


def one(arguments: Arguments, entry: str, seed: int) -> None:
    """Train and score one entry from one seed; what is done already is left alone."""
    method, *settings = entry.split()
    run = arguments.out / run_name(entry, seed)
    record = run / "benchmark.json"
    if record.exists():
        return
    threads = max(1, arguments.cores // arguments.together)
    common = ["--training.minutes", str(arguments.minutes), "--training.device", "cpu"]
    if (run / "recipe.yaml").exists():
        limner(["train", method, "--out", str(run), "--resume", *common], run, threads)
    else:
        given = [word for setting in settings for word in ("--" + setting.partition("=")[0], setting.partition("=")[2])]
        where = ["--data", "garden", "--preset", "cpu", "--resolution", str(arguments.resolution), "--training.seed", str(seed)]
        limner(["train", method, *where, "--out", str(run), *common, *given], run, threads)
    scores = run / "scores.json"
    metrics = ["--metrics", "faithfulness,diversity,fid", "--split", "test", "--count", str(arguments.count)]
    limner(["evaluate", str(run), *metrics, "--out", str(scores), "--device", "cpu"], run, threads)
    facts = {"entry": entry, "seed": seed, "minutes": arguments.minutes, "threads": threads, "together": arguments.together}
    record.write_text(json.dumps(facts | training(run) | figures(scores), indent=1) + "\n")


def run_name(entry: str, seed: int) -> str:
    """The name of a run's folder."""
    return f"{re.sub(r'[^a-zA-Z0-9_.=-]+', '-', entry)}-seed{seed}"


def limner(words: list[str], run: Path, threads: int) -> None:
    """Run the command line as a process; what it says goes to a log beside the run's folder."""
    with run.with_name(f"{run.name}.log").open("a") as log:
        subprocess.run(
            [sys.executable, "-m", "limner", *words],
            check=True,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )


def training(run: Path) -> dict[str, Any]:
    """Steps, pictures seen and seconds of each phase."""
    phases: dict[str, Any] = {}
    for line in read_log(run / "log.jsonl"):
        if "images_per_second" in line:
            phases[line["phase"]] = {"steps": line["step"], "images": line["images"], "seconds": line["seconds"]}
    return {"phases": phases, "images": sum(phase["images"] for phase in phases.values())}


def figures(scores: Path) -> dict[str, Any]:
    """The scores, by name, with every attribute's faithfulness."""
    found: dict[str, Any] = {score["name"]: score for score in json.loads(scores.read_text())["scores"]}
    attributes = {name: part["value"] for name, part in found["faithfulness"]["parts"].items()}
    return {
        "attributes": attributes,
        "overall": found["faithfulness"]["value"],
        "diversity": found["diversity"]["value"],
        "fid": found["fid"]["value"],
        "protocols": {name: score["protocol"] for name, score in found.items()},
    }


def write(arguments: Arguments) -> None:
    """All results in the folder so far, best overall first."""
    results = [json.loads(path.read_text()) for path in arguments.out.glob("*/benchmark.json")]
    results.sort(key=lambda result: -result["overall"])
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    titles = ["method", "seed", "minutes", "images seen", *ATTRIBUTES, "overall", "diversity", "FID"]
    rows = [titles, ["---"] * 2 + ["---:"] * (len(titles) - 2)]
    for result in results:
        shares = [*(result["attributes"].get(name) for name in ATTRIBUTES), result["overall"]]
        cells = [result["entry"], str(result["seed"]), f"{result['minutes']:g}", f"{result['images']:,}"]
        cells += ["" if share is None else f"{share:.1%}" for share in shares]
        rows.append([*cells, f"{result['diversity']:.2f}", f"{result['fid']:.1f}"])
    (arguments.out / "results.md").write_text("".join(f"| {' | '.join(row)} |\n" for row in rows))


def picture(out: Path, captions: int = 6) -> Image.Image:
    """A row for each of some captions of the test split, a column for each run of seed 0, best overall first."""
    results = [result for result in json.loads((out / "results.json").read_text()) if result["seed"] == 0]
    pictures = open_data("garden", "test", 64, DataSettings(), length=captions)
    wanted = [max(pictures.captions(index), key=len) for index in range(captions)]
    painted = [load(out / run_name(result["entry"], 0)).generate(wanted) for result in results]
    names = [[result["entry"].replace("method.", "") for result in results]] * captions
    return caption_grid([list(row) for row in zip(*painted, strict=True)], wanted, labels=names)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
