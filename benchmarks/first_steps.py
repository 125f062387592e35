"""Does everything still train as it did? `python benchmarks/first_steps.py OUT.json --data prepared/mine [--than BEFORE.json]`.

The losses of the first ten steps of every method and matching model, on the garden and on a data set of one's own, as `limner train` writes
them to its log. They are written to OUT.json, and compared with an earlier file to the digit: a change of code that should not change
training must leave every number as it is. Both files must come from the same machine and the same number of threads.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from limner import methods
from limner.cli.main import main as limner
from limner.matching.registry import names as matching_models

SMALL = ("--device", "cpu", "--data.garden-pictures", "96", "--training.log-every", "1", "--training.sample-every", "1000")
GARDEN = ("--data", "garden", "--resolution", "64", "--steps", "10")
MEASURED = ("seconds", "images_per_second", "memory", "time")
"""Fields of the log that no two runs share."""
Log = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    out: Annotated[Positional[Path], tyro.conf.arg(metavar="OUT.json")]
    """File for the losses."""
    data: Path
    """A prepared data set of one's own."""
    than: Path | None = None
    """An earlier file to compare with."""
    only: tuple[str, ...] = ()
    """Runs by name, such as gan-cls; all unless given."""


def runs(data: Path, out: Path) -> dict[str, list[str]]:
    """What follows `limner train`, for each run by its name. Some build upon the run `damsm` in `out`."""
    small_batch = [*GARDEN, "--training.batch-size", "8"]
    own = ["--data", str(data), "--resolution", "64", "--steps", "10"]
    own_text = [*own, "--training.batch-size", "8", "--text.steps", "10"]
    damsm = ["--text.encoder", str(out / "damsm")]
    return {
        **{name: [name, *small_batch] for name in methods.names()},
        **{name: [name, *GARDEN, "--evaluation.every", "0"] for name in matching_models()},
        "text, gan-cls, style": ["gan-cls", *own_text, "--style.steps", "10"],
        "attngan by damsm": ["attngan", *small_batch, *damsm, "--method.matching", str(out / "damsm")],
        "mirrorgan by damsm": ["mirrorgan", *small_batch, *damsm],
        "stackgan, own text": ["stackgan", *own_text],
        "damsm, own pictures": ["damsm", *own, "--evaluation.every", "0"],
    }


def read(run: Path) -> Log:
    """The lines of a run's log that speak of training, without what the clock measures."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key not in MEASURED} for line in lines if "phase" in line]


def compare(before: Log, after: Log) -> str:
    """Whether the figures that both have are the same, to the digit."""
    old, new = ([line for line in log if "step" in line and any("/loss" in key for key in line)] for log in (before, after))
    if not old or len(old) != len(new):
        return f"{len(old)} steps before, {len(new)} now"
    pairs = [(key, was[key], now.get(key)) for was, now in zip(old, new) for key in was if isinstance(was[key], float)]
    gone = sorted({key for key, _, now in pairs if now is None})
    differing = {key: f"{was!r} -> {now!r}" for key, was, now in pairs if now is not None and was != now}
    told = f"DIFFERS: {differing}" if differing else "equal"
    return f"{told}; not there now: {', '.join(gone)}" if gone else told


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    before: dict[str, Log] = json.loads(arguments.than.read_text(encoding="utf-8")) if arguments.than else {}
    losses: dict[str, Log] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        wanted = runs(arguments.data, out)
        if arguments.only:
            on_damsm = any(str(out / "damsm") in wanted[name] for name in arguments.only)
            wanted = {name: words for name, words in wanted.items() if name in arguments.only or (name == "damsm" and on_damsm)}
        for name, words in wanted.items():
            run, started = out / name.replace(" ", "-").replace(",", ""), time.monotonic()
            if code := limner(["train", *words, "--out", str(run), *SMALL]):
                sys.exit(f"{name} ended with exit status {code}")
            losses[name] = read(run)
            print(f"{name}: {len(losses[name])} lines in {time.monotonic() - started:.1f} s", flush=True)
    arguments.out.write_text(json.dumps(losses, indent=1), encoding="utf-8")
    for name, log in losses.items():
        if arguments.than:
            print(f"{name}: {compare(before[name], log) if name in before else f'not in {arguments.than}'}")


if __name__ == "__main__":
    main()
