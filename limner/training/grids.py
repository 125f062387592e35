"""Sample grids of a run: after which steps they are painted, and what their files are called."""

from __future__ import annotations

import math
import re
from pathlib import Path

GRIDS = 10
"""How many grids a phase gets at least, unless it is short."""
MOST_STEPS, FEWEST_STEPS = 500, 25
"""The most and the fewest steps between two grids, unless the recipe says how many."""


def steps_between(steps: int, every: int | None) -> int:
    """Steps between two grids of a phase of so many steps. every: what the recipe says."""
    return every or min(max(math.ceil(steps / GRIDS), FEWEST_STEPS), MOST_STEPS)


def is_due(step: int, steps: int, every: int | None) -> bool:
    """Whether a grid is painted after this step of a phase of so many. every: what the recipe says.

    Where it says nothing, the first grid comes after a tenth of the phase, however short it is. The last step is not asked for here.
    """
    if every is not None:
        return step % every == 0
    between = steps_between(steps, None)
    return step % between == 0 or step == min(math.ceil(steps / GRIDS), between)


def grid_name(stage: int, phase: str, step: int) -> str:
    """The file of a grid: the phase, numbered from 1 in the run, and the step in it."""
    return f"{stage + 1}-{re.sub(r'[^A-Za-z0-9_.=+-]+', '-', phase)}-{step:08d}.png"


def grids_of(run: Path) -> list[Path]:
    """The sample grids in a run's folder, in the order of their making, which from the tenth phase on is not that of their names."""

    def order(path: Path) -> tuple[int, int, str]:
        named = re.fullmatch(r"(\d+)-.+-(\d{8,})", path.stem)
        return (int(named[1]), int(named[2]), path.name) if named else (0, 0, path.name)  # others are of earlier versions

    return sorted((run / "samples").glob("*.png"), key=order)


def grid_moment(path: Path) -> str:
    """When a grid was painted, in words: "gan step 50", or "step 150" over all phases for the files of earlier versions."""
    if path.stem.isdigit():
        return f"step {int(path.stem):,}"
    named = re.fullmatch(r"\d+-(.+)-(\d{8,})", path.stem)
    return f"{named[1]} step {int(named[2]):,}" if named else path.stem
