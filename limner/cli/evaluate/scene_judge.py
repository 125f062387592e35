"""`limner evaluate` of a judge of bouquets: how often it finds the flowers, and reads each of their attributes right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, chosen_device
from limner.cli.outputs import check_file
from limner.core.errors import SettingsError

DESCRIPTION = """Score a judge of bouquets on fresh pictures, painted for it, of which everything is known. A line for each split and
resolution.

how many: pictures with the right number of flowers. found: flowers found where they are. Attributes: of the flowers found. in front: which
of two is. captions: sentences of which everything is read in their own picture.

example:
  limner evaluate runs/bouquet-judge --count 500"""


@dataclass(frozen=True, kw_only=True)
class EvaluateSceneJudgeArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """The run folder or model folder of a judge of bouquets."""
    count: Annotated[int, arg(metavar="N")] = 2000
    """Pictures for each line."""
    seed: Annotated[int | None, arg(metavar="S")] = None
    """Decides the pictures; by default 10 above the seed of the judge's training, whose pictures they must not be."""
    out: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Where the figures go, in place of accuracy.json in the run or model folder."""
    device: Device = "auto"
    """Where to look: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(EvaluateSceneJudgeArguments, argv, prog="limner evaluate", description=DESCRIPTION)
    if arguments.count < 1:
        raise SettingsError(f"--count is {arguments.count}: accuracy needs at least 1 picture")
    if arguments.out is not None:
        check_file(arguments.out)
    import msgspec

    import limner
    from limner.core.files import write_whole
    from limner.core.folder import describe, located
    from limner.features.bouquet_judge import load_scene_judge
    from limner.metrics.scene_judge import check_scene_judge, scene_table
    from limner.parts.bouquet_judge import BouquetJudgeSettings

    judge = load_scene_judge(Path(arguments.model)).to(chosen_device(arguments.device))
    with located(arguments.model, "scene judge") as folder:
        trained = msgspec.convert(describe(folder, "scene judge").get("settings", {}), BouquetJudgeSettings)
    if arguments.seed in (trained.seed, trained.seed + 1):
        raise SettingsError(f"--seed {arguments.seed} paints the pictures that the judge was trained on: give another")
    seed = trained.seed + 10 if arguments.seed is None else arguments.seed
    figures = check_scene_judge(judge, seed=seed, count=arguments.count)
    facts = {"judge": judge.content_hash, "seed": seed, "count": arguments.count, "version": limner.__version__}
    print(scene_table(figures))
    print("\nprotocol: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    target = arguments.out or (Path(arguments.model) / "accuracy.json" if Path(arguments.model).is_dir() else None)
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, json.dumps({"protocol": facts, "accuracy": figures}, indent=1) + "\n")
        print(f"\nscores  {target}")
    return 0
