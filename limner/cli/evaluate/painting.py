"""`limner evaluate` of a model that paints, or of a folder of pictures: scores, each with its protocol."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.datasets import Reference
from limner.cli.models import Device, matching_model, open_model
from limner.cli.outputs import check_file
from limner.cli.progress import progress_bar
from limner.cli.sampling import SamplingArguments, asked_sampling, set_sampling
from limner.core.errors import SettingsError
from limner.core.files import cache_folder
from limner.core.worlds import world_of

if TYPE_CHECKING:
    import torch

    from limner.core.pictures import CaptionedPictures
    from limner.metrics.scoring.evaluate import ScoringRequest, Stored
    from limner.metrics.scoring.matching import MatchingJudge
    from limner.metrics.scoring.protocol import Score
    from limner.metrics.scoring.registry import MetricEntry
    from limner.metrics.scoring.share import Share
    from limner.model import Model

MOST_SCORED = 10_000_000
"""Pictures that can be asked for; what is kept of each is far smaller than the picture."""
FEWEST = 500
"""Real pictures of a set of one's own below which the usual scores are others: FID, a bias of so few pictures, is left out."""

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

Other trained things have scores of their own, whose options limner evaluate RUN --help shows:
  limner evaluate runs/words           a matching model (limner train sje): retrieval, zero-shot classification
  limner evaluate garden-judge         a judge of garden attributes (limner train garden-judge): accuracy"""


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments(SamplingArguments):
    model: Annotated[Positional[str | None], arg(metavar="MODEL")] = None
    """A shipped name such as 'garden', a run folder or a model folder."""
    pictures: Annotated[Path | None, arg(metavar="DIR")] = None
    """A folder of square pictures to score in place of a model; captions come from same-name .txt files or metadata.jsonl."""
    data: Reference = None
    metrics: Annotated[str | None, arg(metavar="LIST")] = None
    """Some of the metrics with commas between, or 'all'; by default fid,kid,is and, on the garden, faithfulness, on its bouquets
    scene-faithfulness, on its stories story-faithfulness; for a model that finds codes of pictures also reconstruction; of a set of your
    own with few held-out pictures kid,memorisation and r-precision or clip-score."""
    count: Annotated[int | None, arg(metavar="N")] = None
    """Pictures to paint for each split (2000), or to take from the folder (all)."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides captions, reference pictures and noise."""
    features: Annotated[str | None, arg(metavar="SPEC")] = None
    """The network that looks at pictures for fid, kid, is, prdc and memorisation, NAME or NAME=FILE: garden (the default), fid-inception,
    fid-inception-pytorch, tv-inception, vgg16, vgg19, squeezenet, tv-squeezenet or efficientnet-lite0."""
    matching: Annotated[str | None, arg(metavar="RUN")] = None
    """A run folder or model folder of a matching model (limner train sje), for r-precision, vs, clip-score and ap; by default the one that
    the run has trained for its text encoder, where it has."""
    scene_judge: Annotated[Path | None, arg(metavar="RUN")] = None
    """A run folder or model folder of a judge of bouquets (limner train bouquet-judge) in place of the one that ships."""
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
    from limner.metrics.scoring.registry import METRICS
    from limner.model.requests import check_count

    only = {name: f" ({world_of(entry.reads).title} only)" if entry.reads else "" for name, entry in METRICS.items()}
    listed = "\n".join(f"  {name:<26}{entry.sentence}{only[name]}" for name, entry in METRICS.items())
    arguments = parse(EvaluateArguments, argv, prog="limner evaluate", description=DESCRIPTION.format(metrics=listed))
    if (arguments.model is None) == (arguments.pictures is None):
        raise SettingsError("limner evaluate scores a MODEL or --pictures DIR: give one of the two; see limner evaluate --help")
    if arguments.count is not None:
        check_count("--count", arguments.count, 2, MOST_SCORED)
    if arguments.devices < 1:
        raise SettingsError(f"--devices is {arguments.devices}: give at least 1")
    if arguments.resolution is not None and arguments.pictures is None:
        raise SettingsError("--resolution goes with --pictures: a model is scored at the side that it paints")
    if arguments.pictures is not None and (asked := [*asked_sampling(arguments)]):
        raise SettingsError(f"--{asked[0].replace('_', '-')} goes with a MODEL: pictures of a folder are painted already")
    if arguments.out is not None:
        check_file(arguments.out)
    share, device = _launch(arguments)
    scores = _score_pictures(arguments, share, device) if arguments.pictures else _score_model(arguments, share, device)
    if share.rank:
        return 0
    return _finish(arguments, scores)


def _score_model(arguments: EvaluateArguments, share: Share, device: Device) -> list[Score]:
    from limner.core.abilities import Inverts
    from limner.training.scored import COUNT, own_matcher, reference
    from limner.training.trained import trained_on

    assert arguments.model is not None
    model = open_model(arguments.model, device)
    sampling = set_sampling(model, arguments)
    data = arguments.data or trained_on(arguments.model, model.about)
    splits = reference(data, arguments.split, model.resolution)
    matching = matching_model(arguments.matching, device)
    matches = model.reads_text and (matching is not None or own_matcher(arguments.model) is not None)
    metrics = _metrics(arguments, splits, share, model.reads_text, matches, isinstance(model.method, Inverts))
    request = _request(arguments, metrics, arguments.count or COUNT, splits, matching, None, share, model.device)
    return score(model, splits, dataclasses.replace(request, sampling=sampling), place=arguments.model, data=data)


def _score_pictures(arguments: EvaluateArguments, share: Share, device: Device) -> list[Score]:
    from limner.data.catalog import BUILT_IN
    from limner.metrics.scoring.evaluate import Stored
    from limner.training.scored import reference
    from limner.training.trained import seen_in_training

    assert arguments.pictures is not None
    if arguments.data is None:
        raise SettingsError("--pictures needs the reference to score them against: give --data NAME|DIR")
    if arguments.split is not None and "," in arguments.split:
        raise SettingsError(f"--split is {arguments.split}: a folder of pictures is held against one split")
    pictures = Stored(arguments.pictures, arguments.count, arguments.seed)
    if pictures.left_out and not share.rank:
        print(f"limner: not scored in {arguments.pictures}: {pictures.left_out}", file=sys.stderr)
    resolution = arguments.resolution or pictures.side
    splits = reference(arguments.data, arguments.split or ("test" if arguments.data in BUILT_IN else None), resolution)
    matching = matching_model(arguments.matching, device)
    metrics = _metrics(arguments, splits, share, pictures.captions is not None, matching is not None)
    training = seen_in_training(None, arguments.data, resolution) if {"all", "memorisation"} & {*metrics} else None
    where = "cpu" if device == "auto" else device
    request = _request(arguments, metrics, pictures.count, splits, matching, training, share, where)
    return _score_stored(pictures, splits, request)


def _request(
    arguments: EvaluateArguments,
    metrics: Sequence[str],
    count: int,
    splits: Sequence[CaptionedPictures],
    matching: MatchingJudge | None,
    training: CaptionedPictures | None,
    share: Share,
    device: torch.device | str,
) -> ScoringRequest:
    """What the arguments ask for; what cannot be taken is refused before the feature network is loaded."""
    from limner.features.bouquet_judge import load_scene_judge
    from limner.features.registry import load_feature_network
    from limner.metrics.scoring.evaluate import ScoringRequest, check_metrics

    check_metrics(metrics, splits)
    return ScoringRequest(
        metrics=metrics,
        usual=arguments.metrics is None,
        count=count,
        seed=arguments.seed,
        network=load_feature_network(arguments.features).to(device) if arguments.features else None,
        scene_judge=load_scene_judge(arguments.scene_judge).to(device) if arguments.scene_judge else None,
        matching=matching,
        training=training,
        device=device,
        share=share,
        cache=cache_folder(),
    )


def _finish(arguments: EvaluateArguments, scores: Sequence[Score]) -> int:
    """Print the table and keep the scores."""
    from limner.metrics.scoring.evaluate import table
    from limner.metrics.scoring.protocol import write_scores

    print(table(scores))
    target = arguments.out or (_home(arguments.model) if arguments.model else None)
    if target:
        write_scores(target, scores)
        print(f"\nscores  {target}")
        _renew_report(target.parent)
    return 0


def _launch(arguments: EvaluateArguments) -> tuple[Share, Device]:
    """Start the processes; this one's share of the work and its device. Raises SettingsError where torchrun has started another number."""
    from limner.core.torchrun import check_started
    from limner.metrics.scoring.share import Share, launched

    check_started(arguments.devices, 1, "--devices")
    if arguments.devices == 1:
        return Share(), arguments.device
    fabric = launched(arguments.devices, arguments.device)
    return Share.of(fabric), "cuda" if fabric.device.type == "cuda" else "cpu"


def score(
    model: Model,
    splits: Sequence[CaptionedPictures],
    request: ScoringRequest,
    *,
    place: str | None = None,
    data: str | None = None,
) -> list[Score]:
    """Take the metrics of a model on every split, with a progress bar. place, data: as `score_model` takes them."""
    from limner.training.scored import score_model

    _warn_of_features(splits, request)
    with progress_bar(request.share.rank == 0) as progress:
        return score_model(model, splits, request, place=place, data=data, progress=progress, say=_say)


def _score_stored(pictures: Stored, splits: Sequence[CaptionedPictures], request: ScoringRequest) -> list[Score]:
    """Take the metrics of the pictures of a folder, with a progress bar."""
    from limner.metrics.scoring.evaluate import evaluate

    _warn_of_features(splits, request)
    with progress_bar(request.share.rank == 0) as progress:
        return evaluate(pictures, splits, request, progress=progress, say=_say)


def _say(line: str) -> None:
    print(f"limner: {line}", file=sys.stderr)


def _warn_of_features(splits: Sequence[CaptionedPictures], request: ScoringRequest) -> None:
    from limner.metrics.scoring.registry import chosen, metric_class

    foreign = request.network is None and splits[0].holds != "attributes"
    if foreign and not request.share.rank and any("features" in metric_class(name).needs for name in chosen(request.metrics)):
        print(
            f"limner: warning: no --features given, so '{splits[0].name}' is scored by the network that knows the garden alone: compare "
            "such scores with each other at most; --features fid-inception takes the network of published figures",
            file=sys.stderr,
        )


def _metrics(
    arguments: EvaluateArguments,
    splits: Sequence[CaptionedPictures],
    share: Share,
    captioned: bool = True,
    matches: bool = False,
    inverts: bool = False,
) -> list[str]:
    """The metrics that are asked for, or the usual ones. matches: whether a matching model is there; inverts: whether codes are found."""
    from limner.core import folder
    from limner.features.bouquet_judge import SHIPPED
    from limner.metrics.scoring.registry import METRICS, USUAL
    from limner.training.scored import COUNT

    if arguments.metrics is not None:
        return [name.strip().lower() for name in arguments.metrics.split(",") if name.strip()]
    held_out = min(map(len, splits))
    if splits[0].holds is None and held_out < FEWEST and splits[0].split in ("val", "test"):
        captions = {text for index in range(held_out) for text in splits[0].captions(index)[:1]}
        told = ["r-precision"] if min(len(captions), arguments.count or COUNT) > 100 else ["clip-score"]
        metrics = ["kid", "memorisation", *(told if captioned and matches else [])]
        if not share.rank:
            _say(f"{held_out:,} real pictures are too few for fid and is, so {', '.join(metrics)} are taken; --metrics asks for others")
        return metrics + ["reconstruction"] * inverts
    judged = arguments.scene_judge is not None or SHIPPED in folder.shipped()

    def wanted(entry: MetricEntry) -> bool:
        """Whether a usual metric can be taken here, as far as that depends on what the data hold."""
        if entry.reads is None:
            return True
        if entry.reads == "stories" and arguments.pictures is not None:  # a folder does not promise whole stories
            return False
        return captioned and entry.reads == splits[0].holds and (entry.looks != "scenes" or judged)

    return [name for name in USUAL if wanted(METRICS[name])] + ["reconstruction"] * inverts


def _home(name: str) -> Path | None:
    """scores.json of a run or model folder; None for a shipped model, which stays as it was shipped."""
    return Path(name) / "scores.json" if Path(name).is_dir() else None


def _renew_report(folder: Path) -> None:
    from limner.report.page import write_report

    if (folder / "recipe.yaml").is_file():
        print(f"report  {write_report(folder)}")
