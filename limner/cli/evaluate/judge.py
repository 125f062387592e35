"""`limner evaluate` of a judge, of garden attributes or of bouquets: how often it reads right what fresh pictures show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, chosen_device
from limner.cli.outputs import check_file
from limner.core.errors import SettingsError
from limner.core.folder import kind_of

if TYPE_CHECKING:
    from limner.features.network import FeatureNetwork

DESCRIPTION = """Score a judge of garden attributes or a judge of bouquets: the share that it reads right of what fresh pictures show, which
are painted for it. A line for each split and resolution.

of a judge of garden attributes: each attribute. One more line is of descriptions that no training picture fitted, where there are such.

of a judge of bouquets: how many: pictures with the right number of flowers. found: flowers found where they are. Attributes: of the flowers
found. in front: which of two is. captions: sentences of which everything is read in their own picture.

examples:
  limner evaluate garden-judge
  limner evaluate runs/bouquet-judge --count 500"""

Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class EvaluateJudgeArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """The run folder or model folder of a judge, or one that ships with Limner: garden-judge, bouquet-judge."""
    count: Annotated[int | None, arg(metavar="N")] = None
    """Pictures for each line; by default 4000, or 2000 bouquets."""
    seed: Annotated[int | None, arg(metavar="S")] = None
    """Decides the pictures; by default 10 above the seed of the judge's training, whose pictures they must not be."""
    out: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Where the figures go, in place of accuracy.json in the run or model folder."""
    device: Device = "auto"
    """Where to look: `auto` takes a GPU if there is one."""

    def fresh_seed(self, trained: int) -> int:
        """The seed of pictures that a judge has not learned from. trained: the seed of its training, which takes the next one too."""
        if self.seed in (trained, trained + 1):
            raise SettingsError(f"--seed {self.seed} paints the pictures that the judge was trained on: give another")
        return trained + 10 if self.seed is None else self.seed


@dataclass(frozen=True)
class Checked:
    """How a judge did."""

    judge: FeatureNetwork
    seed: int
    count: int
    figures: dict[str, dict[str, float]]
    table: str


def main(argv: Sequence[str]) -> int:
    arguments = parse(EvaluateJudgeArguments, argv, prog="limner evaluate", description=DESCRIPTION)
    if arguments.count is not None and arguments.count < 1:
        raise SettingsError(f"--count is {arguments.count}: accuracy needs at least 1 picture")
    if arguments.out is not None:
        check_file(arguments.out)
    import limner
    from limner.core.files import write_whole

    checked = (checked_on_bouquets if kind_of(arguments.model) == "scene judge" else checked_on_flowers)(arguments)
    facts = {"judge": checked.judge.content_hash, "seed": checked.seed, "count": checked.count, "version": limner.__version__}
    print(checked.table)
    print("\nprotocol: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    target = arguments.out or (Path(arguments.model) / "accuracy.json" if Path(arguments.model).is_dir() else None)
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, json.dumps({"protocol": facts, "accuracy": checked.figures}, indent=1) + "\n")
        print(f"\nscores  {target}")
    return 0


def checked_on_flowers(arguments: EvaluateJudgeArguments) -> Checked:
    from limner.data.garden import Garden
    from limner.features.garden_judge import load_judge
    from limner.metrics.judge import accuracy_table, check_judge
    from limner.parts.garden_judge import GardenJudgeSettings

    judge = load_judge(Path(arguments.model)).to(chosen_device(arguments.device))
    trained = trained_with(arguments.model, "judge", GardenJudgeSettings)
    seed, count = arguments.fresh_seed(trained.seed), arguments.count or 4000
    figures = check_judge(judge, seed=seed, count=count, trained_on=trained.worlds(Garden))
    return Checked(judge, seed, count, figures, accuracy_table(figures))


def checked_on_bouquets(arguments: EvaluateJudgeArguments) -> Checked:
    from limner.features.bouquet_judge import load_scene_judge
    from limner.metrics.scene_judge import check_scene_judge, scene_table
    from limner.parts.bouquet_judge import BouquetJudgeSettings

    judge = load_scene_judge(Path(arguments.model)).to(chosen_device(arguments.device))
    trained = trained_with(arguments.model, "scene judge", BouquetJudgeSettings)
    seed, count = arguments.fresh_seed(trained.seed), arguments.count or 2000
    figures = check_scene_judge(judge, seed=seed, count=count)
    return Checked(judge, seed, count, figures, scene_table(figures))


def trained_with(name: str, kind: str, settings: type[Settings]) -> Settings:
    """How a judge was trained, as its folder says; a folder that says nothing was trained as the one that ships."""
    import msgspec

    from limner.core.folder import describe, located

    with located(name, kind) as folder:
        found: Any = describe(folder, kind).get("settings", {})
    return msgspec.convert(found, settings)
