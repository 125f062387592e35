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
from limner.cli.models import Device, chosen_device, open_model
from limner.cli.outputs import check_file
from limner.core.errors import DataError, SettingsError
from limner.core.files import cache_folder

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from limner.core.pictures import CaptionedPictures
    from limner.metrics.evaluate import Painter, Stored, Unprompted
    from limner.metrics.matching import MatchingModel
    from limner.metrics.protocol import Score
    from limner.metrics.share import Share
    from limner.model import Model

MODEL_COUNT = 2000
"""Pictures of each split that a model paints where nobody says how many."""

DESCRIPTION = """Score a trained model, or a folder of pictures whoever made them, against the real pictures of a split.

A table goes to stdout, and with every score's protocol to scores.json in the run or model folder.

metrics:
{metrics}

examples:
  limner evaluate runs/mine
  limner evaluate garden --metrics all --count 10000 --out scores.json
  limner evaluate runs/mine --data prepared/mine --metrics fid,kid --split test --count 5000
  limner evaluate runs/mine --metrics r-precision,vs --matching runs/words
  limner evaluate --pictures their-pictures --data prepared/mine --metrics all --out theirs.json

A matching model (limner train sje) has scores of its own: limner evaluate runs/words."""


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments:
    model: Annotated[Positional[str | None], arg(metavar="MODEL")] = None
    """A shipped name such as 'garden', a run folder or a model folder."""
    pictures: Annotated[Path | None, arg(metavar="DIR")] = None
    """A folder of square pictures to score in place of a model; captions come from same-name .txt files or metadata.jsonl."""
    data: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The reference: 'garden', or the folder of a prepared data set; by default what the model was trained on."""
    metrics: Annotated[str | None, arg(metavar="LIST")] = None
    """Some of the metrics with commas between, or 'all'; by default fid,kid,is and, on the garden, faithfulness."""
    count: Annotated[int | None, arg(metavar="N")] = None
    """Pictures to paint for each split (2000), or to take from the folder (all)."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides captions, reference pictures and noise."""
    features: Annotated[str | None, arg(metavar="SPEC")] = None
    """The network that looks at pictures for fid, kid, is, prdc and memorisation, NAME or NAME=FILE: garden (the default), fid-inception,
    fid-inception-pytorch, tv-inception, vgg16, vgg19, squeezenet or tv-squeezenet."""
    matching: Annotated[str | None, arg(metavar="RUN")] = None
    """A run folder or model folder of a matching model (limner train sje), for r-precision, vs, clip-score and ap."""
    split: Annotated[str | None, arg(metavar="LIST")] = None
    """Reference splits with commas between; by default train,test on the garden (test has pairs never trained on), else test or val."""
    resolution: Annotated[int | None, arg(metavar="PX")] = None
    """With --pictures: side at which they are compared, by default their own; larger pictures are reduced."""
    out: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Where the scores go, in place of scores.json in the run or model folder."""
    device: Device = "auto"
    """Where to paint and look: `auto` takes a GPU if there is one."""
    devices: Annotated[int, arg(metavar="N")] = 1
    """Processes that share the work, one a GPU (or sharing the CPU): the scores are those of one."""


def main(argv: Sequence[str]) -> int:
    from limner.matching.registry import is_matching
    from limner.metrics.registry import METRICS

    values = {word for flag, word in zip(argv, argv[1:]) if flag.startswith("-") and "=" not in flag}
    if any(is_matching(word) for word in argv if not word.startswith("-") and word not in values):
        from limner.cli import evaluate_matching

        return evaluate_matching.main(argv)

    listed = "\n".join(f"  {name:<26}{entry.sentence}" for name, entry in METRICS.items())
    arguments = parse(EvaluateArguments, argv, prog="limner evaluate", description=DESCRIPTION.format(metrics=listed))
    if (arguments.model is None) == (arguments.pictures is None):
        raise SettingsError("limner evaluate scores a MODEL or --pictures DIR: give one of the two; see limner evaluate --help")
    if arguments.count is not None and arguments.count < 2:
        raise SettingsError(f"--count is {arguments.count}: a score needs at least 2 pictures")
    if arguments.devices < 1:
        raise SettingsError(f"--devices is {arguments.devices}: give at least 1")
    if arguments.resolution is not None and arguments.pictures is None:
        raise SettingsError("--resolution goes with --pictures: a model is scored at the side that it paints")
    if arguments.out is not None:
        check_file(arguments.out)
    share, device = _launch(arguments)
    scores = _score_pictures(arguments, share, device) if arguments.pictures else _score_model(arguments, share, device)
    if share.rank:
        return 0
    return _finish(arguments, scores)


def _score_model(arguments: EvaluateArguments, share: Share, device: Device) -> list[Score]:
    from limner.training.trained import trained_on

    assert arguments.model is not None
    model = open_model(arguments.model, device)
    data = arguments.data or trained_on(arguments.model, model.about)
    splits = reference(data, arguments.split, model.resolution)
    metrics = _metrics(arguments.metrics, splits, model.reads_text)
    training = training_pictures(arguments.model, data, model.resolution) if {"all", "memorisation"} & {*metrics} else None
    return score(
        model,
        splits,
        metrics,
        arguments.count or MODEL_COUNT,
        seed=arguments.seed,
        features=arguments.features,
        matching=matching_model(arguments.matching, device),
        training=training,
        share=share,
        cache=cache_folder(),
    )


def _score_pictures(arguments: EvaluateArguments, share: Share, device: Device) -> list[Score]:
    from limner.metrics.evaluate import Stored

    assert arguments.pictures is not None
    if arguments.data is None:
        raise SettingsError("--pictures needs the reference to score them against: give --data NAME|DIR")
    if arguments.split is not None and "," in arguments.split:
        raise SettingsError(f"--split is {arguments.split}: a folder of pictures is held against one split")
    pictures = Stored(arguments.pictures, arguments.count)
    if pictures.left_out and not share.rank:
        print(f"limner: not scored in {arguments.pictures}: {pictures.left_out}", file=sys.stderr)
    resolution = arguments.resolution or pictures.side
    splits = reference(arguments.data, arguments.split or ("test" if arguments.data == "garden" else None), resolution)
    metrics = _metrics(arguments.metrics, splits, pictures.captions is not None)
    training = training_pictures(None, arguments.data, resolution) if {"all", "memorisation"} & {*metrics} else None
    return score_source(
        pictures,
        splits,
        metrics,
        pictures.count,
        device=device,
        seed=arguments.seed,
        features=arguments.features,
        matching=matching_model(arguments.matching, device),
        training=training,
        share=share,
        cache=cache_folder(),
    )


def _finish(arguments: EvaluateArguments, scores: Sequence[Score]) -> int:
    """Print the table and keep the scores."""
    from limner.metrics.evaluate import table
    from limner.metrics.protocol import write_scores

    print(table(scores))
    target = arguments.out or (_home(arguments.model) if arguments.model else None)
    if target:
        write_scores(target, scores)
        print(f"\nscores  {target}")
        _renew_report(target.parent)
    return 0


def _launch(arguments: EvaluateArguments) -> tuple[Share, Device]:
    """Start the processes; this one's share of the work and its device."""
    from limner.metrics.share import Share, launched

    if arguments.devices == 1:
        return Share(), arguments.device
    fabric = launched(arguments.devices, arguments.device)
    return Share.of(fabric), "cuda" if fabric.device.type == "cuda" else "cpu"


def score(
    model: Model,
    splits: Sequence[CaptionedPictures],
    metrics: Sequence[str],
    count: int,
    *,
    seed: int = 0,
    features: str | None = None,
    matching: MatchingModel | None = None,
    training: CaptionedPictures | None = None,
    share: Share | None = None,
    cache: Path | None = None,
) -> list[Score]:
    """Take the metrics of a model on every split, with a progress bar."""
    from limner.metrics.evaluate import Unprompted

    return score_source(
        painter(model) if model.reads_text else Unprompted(painter(model), count, seed),
        splits,
        metrics,
        count,
        device=model.device,
        seed=seed,
        features=features,
        matching=matching,
        training=training,
        share=share,
        cache=cache,
    )


def score_source(
    source: Painter | Stored | Unprompted,
    splits: Sequence[CaptionedPictures],
    metrics: Sequence[str],
    count: int,
    *,
    device: torch.device | str,
    seed: int = 0,
    features: str | None = None,
    matching: MatchingModel | None = None,
    training: CaptionedPictures | None = None,
    share: Share | None = None,
    cache: Path | None = None,
) -> list[Score]:
    """Take the metrics of painted or stored pictures on every split, with a progress bar."""
    from limner.features.registry import load_feature_network
    from limner.metrics.evaluate import check_metrics, evaluate
    from limner.metrics.registry import chosen, metric_class
    from limner.metrics.share import Share

    check_metrics(metrics, splits)
    device = "cpu" if device == "auto" else device
    network = load_feature_network(features).to(device) if features else None
    if network is None and splits[0].name != "garden" and any("features" in metric_class(name).needs for name in chosen(metrics)):
        print(
            f"limner: warning: no --features given, so '{splits[0].name}' is scored by the network that knows the garden alone: compare "
            "such scores with each other at most; --features fid-inception takes the network of published figures",
            file=sys.stderr,
        )
    share = share or Share()
    with progress_bar(share.rank == 0) as progress:
        return evaluate(
            source,
            splits,
            metrics,
            count,
            seed=seed,
            feature_network=network,
            matching=matching,
            training=training,
            device=device,
            share=share,
            cache=cache,
            progress=progress,
            say=lambda line: print(f"limner: {line}", file=sys.stderr),
        )


def matching_model(name: str | None, device: Device) -> MatchingModel | None:
    """A matching model as metrics use it; None where none is asked for."""
    if name is None:
        return None
    from limner.matching.saving import load_matching
    from limner.metrics.matching import Placed

    model = load_matching(name, chosen_device(device))
    return Placed(model, f"{model.title} of {Path(name).name}", model.resolution, model.content_hash)


def painter(model: Model) -> Painter:
    """The model as `limner.metrics.evaluate` wants it."""
    from limner.model.model import to_bytes

    def paint(captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        return to_bytes(model.painting(captions, samples, seed, len(captions), check=False).images).cpu()

    return paint


def reference(data: str, split: str | None, resolution: int) -> list[CaptionedPictures]:
    """The splits to hold pictures against, at their resolution."""
    from limner.data.catalog import open_data
    from limner.data.reduced import at_resolution

    def opened(name: str) -> CaptionedPictures:
        return at_resolution(open_data(data, name, resolution), resolution)

    named = split.split(",") if split else ["train", "test"] if data == "garden" else None
    if named:
        return [opened(name.strip()) for name in named]
    for name in ("test", "val"):
        try:
            return [opened(name)]
        except DataError as error:
            problem = error
    raise problem


def training_pictures(model: str | None, data: str, resolution: int) -> CaptionedPictures | None:
    """What the model was trained on (else the train split), as far as memorisation looks at it; None where there is none."""
    from limner.core.recipes import load_recipe
    from limner.core.settings import DataSettings
    from limner.data.catalog import open_data
    from limner.data.reduced import at_resolution
    from limner.metrics.survey import TRAINING_PICTURES

    run = Path(model) / "recipe.yaml" if model else None
    settings = load_recipe(run).data_settings if run is not None and run.is_file() else DataSettings()
    length = min(settings.garden_pictures or TRAINING_PICTURES, TRAINING_PICTURES)
    try:
        split = "train+val" if settings.trainval else "train"
        return at_resolution(open_data(data, split, resolution, settings, length=length), resolution)
    except DataError:
        return None


@contextmanager
def progress_bar(shown: bool = True) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar with the time that is left, on stderr: call it with (done, total, what is being done)."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)


def _metrics(asked: str | None, splits: Sequence[CaptionedPictures], captioned: bool = True) -> list[str]:
    from limner.metrics.registry import USUAL

    if asked is not None:
        return [name.strip().lower() for name in asked.split(",") if name.strip()]
    return [name for name in USUAL if name != "faithfulness" or (captioned and splits[0].name == "garden")]


def _home(name: str) -> Path | None:
    """scores.json of a run or model folder; None for a shipped model, which stays as it was shipped."""
    return Path(name) / "scores.json" if Path(name).is_dir() else None


def _renew_report(folder: Path) -> None:
    from limner.report.page import write_report

    if (folder / "recipe.yaml").is_file():
        print(f"report  {write_report(folder)}")
