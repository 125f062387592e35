"""`limner evaluate`: scores of a trained model, each with its protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, open_model
from limner.core.errors import DataError, SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from limner.data.pictures import CaptionedPictures
    from limner.metrics.evaluate import Painter
    from limner.metrics.protocol import Score
    from limner.model import Model

DESCRIPTION = """Score a trained model: pictures of a split's captions against its real pictures.

A table goes to stdout, and with every score's protocol to scores.json in the run or model folder.

examples:
  limner evaluate runs/mine
  limner evaluate garden --metrics faithfulness --count 2000 --out scores.json
  limner evaluate runs/mine --data prepared/mine --metrics fid,kid --split test --count 5000

A matching model (limner train sje) has scores of its own: limner evaluate runs/words."""


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    data: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The reference: 'garden', or the folder of a prepared data set; by default what the model was trained on."""
    metrics: Annotated[str | None, arg(metavar="LIST")] = None
    """Some of fid,kid,is,faithfulness with commas between; by default all that the data can serve (faithfulness: the garden only)."""
    count: Annotated[int, arg(metavar="N")] = 2000
    """Pictures to paint for each split."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides captions, reference pictures and noise."""
    features: Annotated[str | None, arg(metavar="SPEC")] = None
    """The network that looks at pictures for fid, kid and is, NAME or NAME=FILE: garden (the default), fid-inception,
    fid-inception-pytorch, tv-inception, vgg16, vgg19, squeezenet or tv-squeezenet."""
    split: Annotated[str | None, arg(metavar="LIST")] = None
    """Reference splits with commas between; by default train,test on the garden (test has pairs never trained on), else test or val."""
    out: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Where the scores go, in place of scores.json in the run or model folder."""
    device: Device = "auto"
    """Where to paint and look: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    from limner.matching.registry import is_matching

    if any(is_matching(word) for word in argv if not word.startswith("-")):
        from limner.cli import evaluate_matching

        return evaluate_matching.main(argv)
    arguments = parse(EvaluateArguments, argv, prog="limner evaluate", description=DESCRIPTION)
    from limner.metrics.evaluate import table
    from limner.metrics.protocol import write_scores

    if arguments.count < 2:
        raise SettingsError(f"--count is {arguments.count}: a score needs at least 2 pictures")
    model = open_model(arguments.model, arguments.device)
    splits = reference(model, arguments)
    scores = score(model, splits, _metrics(arguments.metrics, splits), arguments.count, seed=arguments.seed, features=arguments.features)
    print(table(scores))
    target = arguments.out or _home(arguments.model)
    if target:
        write_scores(target, scores)
        print(f"\nscores  {target}")
        _renew_report(target.parent)
    return 0


def score(
    model: Model, splits: Sequence[CaptionedPictures], metrics: Sequence[str], count: int, *, seed: int = 0, features: str | None = None
) -> list[Score]:
    """Take the metrics on every split, with a progress bar."""
    from limner.features.registry import load_feature_network
    from limner.metrics.evaluate import check_metrics, evaluate

    check_metrics(metrics, splits)
    network = load_feature_network(features).to(model.device) if features else None
    if network is None and splits[0].name != "garden":
        print(
            f"limner: warning: no --features given, so '{splits[0].name}' is scored by the network that knows the garden alone: compare "
            "such scores with each other at most; --features fid-inception takes the network of published figures",
            file=sys.stderr,
        )
    with progress_bar() as progress:
        return evaluate(painter(model), splits, metrics, count, seed=seed, feature_network=network, progress=progress)


def painter(model: Model) -> Painter:
    """The model as `limner.metrics.evaluate` wants it."""

    def paint(captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        return model.paint(model.encode(captions), model.noise(seed, samples)).cpu()

    return paint


def reference(model: Model, arguments: EvaluateArguments) -> list[CaptionedPictures]:
    """The splits to hold the model against, at its resolution."""
    from limner.data.catalog import open_data
    from limner.data.reduced import at_resolution

    def opened(name: str) -> CaptionedPictures:
        return at_resolution(open_data(data, name, model.resolution), model.resolution)

    data = arguments.data or trained_on(arguments.model, model)
    named = arguments.split.split(",") if arguments.split else ["train", "test"] if data == "garden" else None
    if named:
        return [opened(name.strip()) for name in named]
    for name in ("test", "val"):
        try:
            return [opened(name)]
        except DataError as error:
            problem = error
    raise problem


def trained_on(name: str, model: Model) -> str:
    """The data that a model was trained on, as `--data` takes it."""
    from limner.core.recipes import load_recipe

    if (Path(name) / "recipe.yaml").is_file():
        return load_recipe(Path(name) / "recipe.yaml").data
    data = model.about.get("data")
    if not isinstance(data, str):
        raise SettingsError(f"{name} does not say what it was trained on: give --data NAME|DIR")
    return data


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr: call it with (done, total, what is being done)."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)


def _metrics(asked: str | None, splits: Sequence[CaptionedPictures]) -> list[str]:
    from limner.metrics.evaluate import METRICS

    if asked is not None:
        return [name.strip().lower() for name in asked.split(",") if name.strip()]
    return [name for name in METRICS if name != "faithfulness" or splits[0].name == "garden"]


def _home(name: str) -> Path | None:
    """scores.json of a run or model folder; None for a shipped model, which stays as it was shipped."""
    return Path(name) / "scores.json" if Path(name).is_dir() else None


def _renew_report(folder: Path) -> None:
    from limner.report.page import write_report

    if (folder / "recipe.yaml").is_file():
        print(f"report  {write_report(folder)}")
