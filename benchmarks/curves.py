"""How fast methods learn: an evaluation's figure over minutes of training, from the logs of runs, as a picture.

    python benchmarks/curves.py runs/methods/runs/garden/*-seed* --out docs/images/methods-curves.svg

A line for each run that was evaluated as it trained (`--evaluation.every`); runs of one folder name but for `-seedN` share a colour.
Also prints what to expect on the way: the figure after some minutes, straight between two evaluations, the mean of an entry's runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib import rc_context
from matplotlib.figure import Figure
from tyro.conf import Positional

from limner.report.curves import read_log
from limner.report.plots import AXES, course

MINUTES = AXES[0]
SHOWN = (1, 3, 6, 12)
"""The minutes of the table."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    runs: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN ...")]
    """Run folders."""
    figure: str = "faithfulness"
    """What evaluations gave."""
    highest: float = 1.0
    """Where the vertical axis ends."""
    lowest: float = 0.4
    """Where it begins."""
    out: Path = Path("curves.svg")
    """The picture: .svg or .png."""


def main(arguments: Arguments) -> None:
    lines: dict[str, list[tuple[list[float], list[float]]]] = {}
    for run in arguments.runs:
        points = course(read_log(run / "log.jsonl"), f"evaluation/{arguments.figure}", MINUTES)
        if points:
            name = re.sub(r"-seed\d+$", "", run.name)
            lines.setdefault(name, []).append(([minutes for minutes, _ in points], [value for _, value in points]))
    if not lines:
        raise SystemExit(f"none of the runs has evaluation/{arguments.figure} in its log: train with --evaluation.every")
    print(table(lines))
    order = sorted(lines, key=lambda name: -max(values[-1] for _, values in lines[name]))
    with rc_context({"svg.hashsalt": "limner", "font.size": 9.5}):
        figure = Figure(figsize=(8.4, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for place, name in enumerate(order):
            line = "-" if place < 10 else "--"
            style: dict[str, Any] = {"color": f"C{place % 10}", "linestyle": line, "linewidth": 1.3, "marker": ".", "markersize": 4}
            for number, (minutes, values) in enumerate(lines[name]):
                axes.plot(minutes, values, label=None if number else name, **style)
        axes.set(xlabel="minutes of training", ylabel=arguments.figure, xlim=(0, None), ylim=(arguments.lowest, arguments.highest))
        axes.grid(linewidth=0.5, alpha=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
        figure.savefig(arguments.out, metadata={"Date": None} if arguments.out.suffix == ".svg" else None)


def table(lines: Mapping[str, Sequence[tuple[list[float], list[float]]]]) -> str:
    """A row for each entry, of the figure after the minutes in `SHOWN`, as far as its runs have been evaluated by then."""
    rows = ["| entry | runs | " + " | ".join(f"{minutes} min" for minutes in SHOWN) + " |", "|---|---:|" + "---:|" * len(SHOWN)]
    for name, runs in lines.items():
        cells = []
        for minutes in SHOWN:
            found = [np.interp(minutes, times, values) for times, values in runs if times[0] - 0.1 <= minutes <= times[-1] + 0.5]
            cells.append(f"{np.mean(found):.3f}" if found else "")
        rows.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
