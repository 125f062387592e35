"""`limner evaluate` of a judge of garden attributes: how often it reads each of them right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, chosen_device
from limner.cli.outputs import check_file
from limner.core.errors import SettingsError

if TYPE_CHECKING:
    from limner.parts.garden_judge import GardenJudgeSettings

DESCRIPTION = """Score a judge of garden attributes: the share of fresh pictures, painted for it, in which it reads each attribute right.
A line for each split and resolution, and one of descriptions that no training picture fitted, where there are such.

examples:
  limner evaluate garden-judge
  limner evaluate runs/judge --count 1000"""


@dataclass(frozen=True, kw_only=True)
class EvaluateJudgeArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """The run folder or model folder of a judge, or garden-judge, which ships with Limner."""
    count: Annotated[int, arg(metavar="N")] = 4000
    """Pictures for each line."""
    seed: Annotated[int | None, arg(metavar="S")] = None
    """Decides the pictures; by default 10 above the seed of the judge's training, whose pictures they must not be."""
    out: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Where the figures go, in place of accuracy.json in the run or model folder."""
    device: Device = "auto"
    """Where to look: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(EvaluateJudgeArguments, argv, prog="limner evaluate", description=DESCRIPTION)
    if arguments.count < 1:
        raise SettingsError(f"--count is {arguments.count}: accuracy needs at least 1 picture")
    if arguments.out is not None:
        check_file(arguments.out)
    import limner
    from limner.core.files import write_whole
    from limner.features.garden_judge import load_judge
    from limner.metrics.judge import accuracy_table, check_judge
    from limner.parts.garden_judge import training_gardens

    judge = load_judge(Path(arguments.model)).to(chosen_device(arguments.device))
    trained = trained_with(arguments.model)
    if arguments.seed in (trained.seed, trained.seed + 1):
        raise SettingsError(f"--seed {arguments.seed} paints the pictures that the judge was trained on: give another")
    seed = trained.seed + 10 if arguments.seed is None else arguments.seed
    figures = check_judge(judge, seed=seed, count=arguments.count, trained_on=training_gardens(trained))
    facts = {"judge": judge.content_hash, "seed": seed, "count": arguments.count, "version": limner.__version__}
    print(accuracy_table(figures))
    print("\nprotocol: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    target = arguments.out or (Path(arguments.model) / "accuracy.json" if Path(arguments.model).is_dir() else None)
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, json.dumps({"protocol": facts, "accuracy": figures}, indent=1) + "\n")
        print(f"\nscores  {target}")
    return 0


def trained_with(name: str) -> GardenJudgeSettings:
    """How a judge was trained, as its folder says; a folder that says nothing was trained as the one that ships."""
    import msgspec

    from limner.core.folder import describe, located
    from limner.parts.garden_judge import GardenJudgeSettings

    with located(name, "judge") as folder:
        return msgspec.convert(describe(folder, "judge").get("settings", {}), GardenJudgeSettings)
