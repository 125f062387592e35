"""Figures of docs/small-sets.md: `python benchmarks/small_sets.py RUN ... --out FILE.jpg`, and a row of the table for each run.

Of each run the first captions of its sample grids are shown, each by the same noises after some minutes of processor time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from PIL import Image
from tyro.conf import Positional

from limner.data.pngwords import captions_in
from limner.data.sheet import caption_grid
from limner.explore.stages import over_training
from limner.training.grids import grid_moment, grids_of

CAPTIONS, NOISES = 2, 4


@dataclass(frozen=True)
class Arguments:
    runs: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN ...")]
    """Runs of one recipe on several sets."""
    out: Path
    """The figure."""
    minutes: tuple[float, ...] = (10.0, 30.0)
    """Minutes of processor time since painting began; the grid nearest to each is shown."""


def lines_of(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log in its painting phase."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line.get("phase") == "gan"]


def at_minutes(run: Path, lines: list[dict[str, Any]], minutes: float) -> tuple[str, float]:
    """The moment of the grid that is nearest to so many minutes, as grids are called, and its own minutes."""
    spent = {line["step"]: line["core_seconds"] / 60 for line in lines}
    steps = {int(path.stem.rpartition("-")[2]): path for path in grids_of(run) if "-gan-" in path.name}
    nearest = min(steps.keys() & spent.keys(), key=lambda step: abs(spent[step] - minutes))
    return grid_moment(steps[nearest]), spent[nearest]


def rows_of(run: Path, minutes: tuple[float, ...]) -> tuple[list[list[Image.Image]], list[str], list[list[str]]]:
    """Rows of pictures, their captions, and what stands under each picture."""
    lines = lines_of(run)
    moments = list(dict.fromkeys(at_minutes(run, lines, each) for each in minutes))
    known = captions_in(grids_of(run)[-1])[:CAPTIONS]
    rows, labels = [], []
    for caption in known:
        courses = [over_training(run, caption, number=number) for number in range(NOISES)]
        rows.append([course.pictures[course.moments.index(moment)] for moment, _ in moments for course in courses])
        labels.append([f"{spent:.0f} min" for _, spent in moments for _ in courses])
    return rows, known, labels


def table_row(run: Path) -> str:
    """What a run did, in a line of Markdown."""
    lines = lines_of(run)
    judged, last = [line for line in lines if "evaluation/score" in line], lines[-1]
    best = max(judged, key=lambda line: line["evaluation/score"], default=None)
    scores = " | | "
    if best is not None:
        scores = f" {best['step']:,} | {best['evaluation/likeness']:.2f} | {best['evaluation/recognised']:.2f} "
    return f"| {run.name} | {last['step']:,} | {last['core_seconds'] / 60:.0f} |{scores}|"


def main(arguments: Arguments) -> None:
    rows: list[list[Image.Image]] = []
    captions: list[str] = []
    labels: list[list[str]] = []
    for run in arguments.runs:
        print(table_row(run))
        pictures, known, told = rows_of(run, arguments.minutes)
        rows, captions, labels = rows + pictures, captions + known, labels + told
    caption_grid(rows, captions, labels=labels, tile=96, apart=NOISES).convert("RGB").save(arguments.out, quality=88)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
