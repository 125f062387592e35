"""How fast methods learn: an evaluation's figure over minutes of training, from the logs of runs, as a picture.

    python benchmarks/curves.py runs/methods/runs/garden/*-seed* --out docs/images/methods-curves.svg

A line for each run that was evaluated as it trained (`--evaluation.every`); runs of one folder name but for `-seedN` share a colour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib import rc_context
from matplotlib.figure import Figure
from tyro.conf import Positional

from limner.report.entries import read_contender
from limner.report.plots import AXES, course

MINUTES = AXES[0]


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
        points = course(read_contender(run), f"evaluation/{arguments.figure}", MINUTES)
        if points:
            name = re.sub(r"-seed\d+$", "", run.name)
            lines.setdefault(name, []).append(([minutes for minutes, _ in points], [value for _, value in points]))
    if not lines:
        raise SystemExit(f"none of the runs has evaluation/{arguments.figure} in its log: train with --evaluation.every")
    order = sorted(lines, key=lambda name: -max(values[-1] for _, values in lines[name]))
    with rc_context({"svg.hashsalt": "limner", "font.size": 9.5}):
        figure = Figure(figsize=(8.4, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for place, name in enumerate(order):
            style = {"color": f"C{place % 10}", "linestyle": "-" if place < 10 else "--", "linewidth": 1.3, "marker": ".", "markersize": 4}
            for number, (minutes, values) in enumerate(lines[name]):
                axes.plot(minutes, values, label=None if number else name, **style)
        axes.set(xlabel="minutes of training", ylabel=arguments.figure, xlim=(0, None), ylim=(arguments.lowest, arguments.highest))
        axes.grid(linewidth=0.5, alpha=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
        figure.savefig(arguments.out, metadata={"Date": None} if arguments.out.suffix == ".svg" else None)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
