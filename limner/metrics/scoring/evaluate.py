"""Score a generator in one pass: pictures come batch by batch, each is looked at once by every network that is needed, and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import limner
from limner.core.errors import LimnerError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.worlds import world_of
from limner.features.bouquet_judge import SceneJudge
from limner.features.network import FeatureNetwork
from limner.features.registry import load_feature_network
from limner.metrics.scoring.eyes import Eyes
from limner.metrics.scoring.matching import MatchingJudge
from limner.metrics.scoring.metric import NOISES, Figure, Metric, ScoringTask
from limner.metrics.scoring.protocol import Protocol, Score
from limner.metrics.scoring.registry import METRICS, USUAL, chosen, metric_class, unreadable
from limner.metrics.scoring.share import ALONE, Share
from limner.metrics.scoring.sources import Painted, Painter, Source, Stored, Unprompted, reference_order
from limner.metrics.scoring.survey import Survey
from limner.metrics.scoring.table import table

__all__ = [
    "METRICS",
    "USUAL",
    "Painter",
    "Progress",
    "ScoringRequest",
    "Stored",
    "Unprompted",
    "check_metrics",
    "check_request",
    "evaluate",
    "table",
]

MOST_CAPTIONS = 32
"""Captions that they take at the most."""

Progress = Callable[[int, int, str], None]
"""(pictures seen, pictures to see, what is being done)."""


def check_metrics(metrics: Sequence[str], splits: Sequence[CaptionedPictures]) -> tuple[str, ...]:
    """The metrics without repetitions, "all" spelled out.

    Raises SettingsError for no name, one that does not exist, or one that cannot serve the data.
    """
    if not metrics:
        raise SettingsError(f"no metric is named: give some of {', '.join(METRICS)}, or all")
    named = chosen([name for name in metrics if name != "all"])
    for pictures in splits:
        for name in named:
            if reason := unreadable(name, pictures):
                raise SettingsError(reason)
    return chosen(metrics)


@dataclass(frozen=True, kw_only=True)
class ScoringRequest:
    """What is asked of an evaluation."""

    metrics: Sequence[str]
    """Names of `limner.metrics.scoring.registry.METRICS`; "all" takes those that can be taken; "faithfulness" brings "diversity" too."""
    usual: bool = False
    """Whether these metrics are a choice that nobody made: those that cannot be taken are then left out, as with "all"."""
    count: int
    """Pictures to paint for each split, or of the folder; measures of diversity paint up to 512 more."""
    seed: int = 0
    """Decides captions, reference pictures and noise."""
    network: FeatureNetwork | None = None
    """Looks at the pictures; by default the garden's."""
    scene_judge: SceneJudge | None = None
    """Reads the scenes of bouquets; by default the one that ships."""
    matching: MatchingJudge | None = None
    """Says how well pictures and captions fit, for r-precision, vs, clip-score and ap."""
    training: CaptionedPictures | None = None
    """The pictures that the generator was trained on, at the painter's resolution, for memorisation."""
    rebuild: Callable[[Tensor, NDArray[np.int64]], Tensor] | None = None
    """Paints real pictures [B, 3, R, R] uint8 of these sample numbers again from the codes that the model finds, for reconstruction."""
    sampling: str = ""
    """How a model was told to paint, where that is not as its own settings say: part of the protocol, such as "guidance 2"."""
    reference_count: int | None = None
    """Real pictures; by default `count`, and never more than the split holds."""
    batch_size: int = 64
    """Pictures painted at once."""
    device: torch.device | str = "cpu"
    """Where the judge and the default feature network work; a network that is given stays where it is."""
    share: Share = ALONE
    """This process's part of the work; all processes get all scores."""
    cache: Path | None = None
    """Folder in which what real pictures gave is kept; none by default."""


def evaluate(
    painter: Painter | Stored | Unprompted,
    splits: Sequence[CaptionedPictures],
    request: ScoringRequest,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Score]:
    """Take every metric on every split: pictures of its captions, in an order that the seed alone decides, against its real pictures.

    Args:
        painter: Paints uint8 pictures [B, 3, R, R] of captions; equal sample numbers and seeds get equal noise. Or a folder of pictures,
            or what a painter makes of no caption at all.
        splits: Reference pictures at the painter's resolution R; on the garden, "train" and "test" give seen and held-out combinations.
        request: What to take, and of how many pictures.
        progress: Called after every batch.
        say: Called, with a line, for each metric that "all" would take and that cannot be taken.

    Raises:
        SettingsError: An unknown metric, one that is named and cannot be taken, or a count that is too small.
        DataError: A split without captions, or a picture of the folder that cannot be read.
    """
    share = request.share
    asked, choice = _asked(painter, splits, request)
    surveys = []
    for task, source, order, taken in asked:
        varied = max(4, min(MOST_CAPTIONS, source.count // NOISES))
        if taken:
            surveys.append(Survey(task, source, order, taken, request.batch_size, varied, share, request.cache))
    choice.check(say if share.rank == 0 else None)
    total, done = sum(survey.to_see for survey in surveys), 0
    scores: list[Score] = []
    for survey in surveys:
        for seen in survey.run():
            done += seen
            if progress is not None:
                progress(min(done, total), total, f"scoring {survey.task.pictures.name}/{survey.task.pictures.split}")
        scores += survey.scores(lambda figure, survey=survey: _score(figure, survey.task, survey.source))  # type: ignore[misc]
    return scores


def check_request(painter: Painter | Stored | Unprompted, splits: Sequence[CaptionedPictures], request: ScoringRequest) -> None:
    """Raise what `evaluate` would raise before the first picture. The painter is not asked for any."""
    _asked(painter, splits, request)[1].check(None)


def _asked(
    painter: Painter | Stored | Unprompted, splits: Sequence[CaptionedPictures], request: ScoringRequest
) -> tuple[list[tuple[ScoringTask, Source, NDArray[np.int64], list[Metric]]], _Choice]:
    """For each split what is asked, of whose pictures, the order of the reference, and the metrics that can be taken."""
    check_metrics(request.metrics, splits)
    if request.count < 2:
        raise SettingsError(f"a score of {request.count} picture(s) says nothing: give a count of at least 2")
    if request.reference_count is not None and request.reference_count < 2:
        raise SettingsError(f"reference_count is {request.reference_count}: a score needs at least 2 real pictures")
    network = request.network or load_feature_network("garden", request.device)
    seed, choice = request.seed, _Choice(request.metrics, owed=not request.usual)
    found: list[tuple[ScoringTask, Source, NDArray[np.int64], list[Metric]]] = []
    for pictures in splits:
        order = reference_order(pictures, seed, captioned=not isinstance(painter, (Stored, Unprompted)))
        count = whole_stories(request.count, pictures)
        if isinstance(painter, (Stored, Unprompted)):
            source: Source = painter.meet(pictures)
        else:
            source = Painted(painter, pictures, order, count, seed)
        if request.sampling:
            source.told = f"{source.told}, {request.sampling}"
        task = ScoringTask(
            pictures=pictures,
            captions=source.captions,
            classes=source.classes,
            indices=source.indices,
            count=source.count,
            reference_count=min(request.reference_count or source.count, len(order)),
            seed=seed,
            painted=isinstance(source, Painted),
            network=network,
            judge=Eyes.judge_for(pictures, network, request.device),
            scene_judge=Eyes.scene_judge_for(pictures, request.scene_judge, request.device),
            matching=request.matching,
            training=request.training,
            rebuild=request.rebuild,
        )
        found.append((task, source, order, choice.taken(task, source)))
    return found, choice


def whole_stories(count: int, pictures: CaptionedPictures) -> int:
    """The count, or of a set of stories the pictures of as many whole ones; of one at least."""
    frames = 1 if pictures.stories is None else pictures.stories.shape[1]
    return max(count // frames, 1) * frames


class _Choice:
    """Which of the metrics that are asked for can be taken. One that is owed must be taken of one split at least.

    owed: whether all that are named are owed; else any one of them suffices.
    """

    def __init__(self, names: Sequence[str], *, owed: bool = True) -> None:
        self.names, self.left_out = chosen(names), list[str]()
        # What "all" or faithfulness brings with it is left out where it cannot be taken.
        self.owed = dict.fromkeys((name for name in names if name != "all" and owed), "")
        self.any = False

    def taken(self, task: ScoringTask, source: Source) -> list[Metric]:
        """The metrics of one split, ready to look."""
        ready = []
        for name in self.names:
            try:
                reason = _refusal(name, task, source)
                if reason is None:
                    ready.append(metric_class(name)(task))
                    self.owed.pop(name, None)
                    self.any = True
                    continue
            except LimnerError as error:
                reason = str(error)
            if name in self.owed:
                self.owed[name] = self.owed[name] or reason
            self.left_out.append(f"{name} is left out on {task.pictures.name}/{task.pictures.split}: {reason}")
        return ready

    def check(self, say: Callable[[str], None] | None) -> None:
        """Raise SettingsError where a metric that is owed could be taken of no split, or none at all; tell which others are left out."""
        for reason in self.owed.values():
            raise SettingsError(reason)
        if not self.any and self.left_out:
            raise SettingsError("; ".join(self.left_out))
        if say is not None:
            for line in self.left_out:
                say(line)


def _refusal(name: str, task: ScoringTask, source: Source) -> str | None:
    """Why a metric cannot be taken of a split; None where it can."""
    made = metric_class(name)
    needs = made.needs
    if "classes" in needs and (task.network is None or task.network.logit_count is None):
        return f"the Inception Score needs a feature network with classes, and this one has none: leave '{name}' out"
    matcher = "give one by --matching RUN, or in a study's evaluation by matching: RUN"
    if "classifier" in needs and task.judge is None and task.matching is None:
        return f"{name} needs a matching model, which tells the classes of '{task.pictures.name}' apart: {matcher}"
    if "matching" in needs and task.matching is None:
        return f"{name} needs a matching model: {matcher}, or leave it out"
    if isinstance(source, Unprompted) and needs & {"captions", "varied", "truth", "classifier"}:
        return f"{name} looks at what captions ask for, and the model reads no text: leave '{name}' out"
    if "captions" in needs and task.captions is None:
        return f"{name} needs a caption for each picture, and {source.told} has none: put a .txt next to each, or a metadata.jsonl"
    if "varied" in needs and task.pictures.stories is not None:
        return f"{name} looks at many pictures of one caption, and of stories whole ones are painted: leave '{name}' out"
    if "varied" in needs and not task.painted:
        return f"{name} looks at many pictures of one caption, which a folder does not promise: leave it out, or score a model"
    unknown = int((task.indices < 0).sum())
    if "truth" in needs and unknown:
        return f"{name} takes the real picture of the same name, and {unknown:,} bear no name of '{task.pictures.name}': leave it out"
    if "inverter" in needs and task.rebuild is None:
        return f"{name} needs a model that finds codes of pictures, such as ci-gan: leave it out"
    if "training" in needs and task.training is None:
        return f"{name} needs the pictures that the generator was trained on: give data with a train split, or leave it out"
    if reason := unreadable(name, task.pictures):
        return reason
    if "scenes" in needs and task.scene_judge is None:
        how = f"train one (limner train bouquet-judge --data {world_of('scenes').name} --out RUN) and give --scene-judge RUN"
        return f"{name} needs a judge of bouquets: {how}"
    return made.refusal(task)


def _score(figure: Figure, task: ScoringTask, source: Source) -> Score:
    """A figure with its protocol."""
    network = {
        "features": task.network,
        "judge": task.judge,
        "scenes": task.scene_judge,
        "matching": task.matching,
        None: None,
    }[figure.network]
    return Score(
        name=figure.name,
        value=figure.value,
        error=figure.error,
        chance=figure.chance,
        shuffled=figure.shuffled,
        real=figure.real,
        parts=figure.parts,
        higher_is_better=figure.higher_is_better,
        notes=figure.notes,
        protocol=Protocol(
            metric=figure.name,
            data=task.pictures.name,
            split=task.pictures.split,
            fingerprint=task.pictures.fingerprint,
            count=task.count,
            reference_count=task.reference_count,
            captions=source.told,
            resolution=task.pictures.resolution,
            seed=task.seed,
            implementation=figure.implementation,
            features=network.name if network is not None else None,
            features_hash=network.content_hash if network is not None else None,
            resize=figure.resize or (getattr(network, "resize", "the matching model's own") if network is not None else None),
            settings=figure.settings,
            version=limner.__version__,
        ),
    )
