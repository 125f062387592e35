"""Score a generator: pictures are painted batch by batch, looked at and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import limner
from limner.core import random
from limner.core.errors import DataError, SettingsError, unknown_name
from limner.data.garden import paint
from limner.data.pictures import CaptionedPictures
from limner.features.garden_judge import AttributeJudge, Reading, load_judge
from limner.features.network import FeatureNetwork
from limner.features.registry import load_feature_network
from limner.metrics.faithfulness import Agreement, Spread, diversity_parts, fitting_scenes, named_codes, read_codes
from limner.metrics.judge import to_tensor
from limner.metrics.protocol import Protocol, Score
from limner.metrics.table import table

if TYPE_CHECKING:
    from limner.metrics.distribution import Distribution

__all__ = ["METRICS", "Painter", "Progress", "check_metrics", "evaluate", "table"]

METRICS = ("fid", "kid", "is", "faithfulness")
DISTRIBUTION_METRICS = METRICS[:3]
NOISES = 16
"""Pictures of one caption that diversity looks at."""
MOST_CAPTIONS = 32
"""Captions that diversity takes at the most."""
_HIGHER_IS_BETTER = {"fid": False, "kid": False, "is": True}

Painter = Callable[[list[str], NDArray[np.int64], int], Tensor]
"""(captions, sample numbers, seed) -> uint8 pictures [B, 3, H, W]."""
Progress = Callable[[int, int, str], None]
"""(pictures painted, pictures to paint, what is being done)."""


def check_metrics(metrics: Sequence[str], splits: Sequence[CaptionedPictures]) -> tuple[str, ...]:
    """The metrics without repetitions; raises SettingsError for a name that does not exist, or that the data cannot serve."""
    for name in metrics:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    for pictures in splits:
        if "faithfulness" in metrics and pictures.name != "garden":
            fix = "leave it out, or evaluate with --data garden"
            raise SettingsError(f"faithfulness reads the attributes of garden flowers and cannot judge '{pictures.name}': {fix}")
    return tuple(dict.fromkeys(metrics))


def evaluate(
    painter: Painter,
    splits: Sequence[CaptionedPictures],
    metrics: Sequence[str],
    count: int,
    *,
    seed: int = 0,
    feature_network: FeatureNetwork | None = None,
    reference_count: int | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> list[Score]:
    """Take every metric on every split: `count` pictures of its captions, in an order that `seed` alone decides, against its real pictures.

    Args:
        painter: Paints uint8 pictures [B, 3, R, R] of captions; equal sample numbers and seeds get equal noise.
        splits: Reference pictures at the painter's resolution R; on the garden, "train" and "test" give seen and held-out combinations.
        metrics: Some of `METRICS`; "faithfulness" brings "diversity" with it.
        count: Pictures to paint for each split; diversity paints up to 512 more.
        seed: Decides captions, reference pictures and noise.
        feature_network: Looks at the pictures for FID, KID and IS; by default the garden's.
        reference_count: Real pictures for FID and KID; by default `count`, and never more than the split holds.
        batch_size: Pictures painted at once.
        device: Where the judge and the default feature network work; a network that is given stays where it is.
        progress: Called after every batch.

    Raises:
        SettingsError: An unknown metric, one that the data or the network cannot serve, or a count that is too small.
        DataError: A split without captions.
    """
    metrics = check_metrics(metrics, splits)
    if count < 2:
        raise SettingsError(f"a score of {count} picture(s) says nothing: give a count of at least 2")
    measured = [name for name in metrics if name in DISTRIBUTION_METRICS]
    if measured and feature_network is None:
        feature_network = load_feature_network("garden", device)
    judge: AttributeJudge | None = None
    if "faithfulness" in metrics:
        judge = feature_network if isinstance(feature_network, AttributeJudge) else load_judge().to(device)
    diversity_captions = max(4, min(MOST_CAPTIONS, count // NOISES)) if judge else 0
    total = len(splits) * (count + diversity_captions * NOISES)
    scores: list[Score] = []
    done = 0
    for pictures in splits:
        run = _Run(painter, pictures, measured, count, min(reference_count or count, _captioned(pictures)), seed, feature_network, judge)
        stages = [run.compare(batch_size)]
        if judge is not None:
            stages.append(run.vary(diversity_captions, max(1, batch_size // NOISES)))
        for stage in stages:
            for painted in stage:
                done += painted
                if progress is not None:
                    progress(done, total, f"scoring {pictures.name}/{pictures.split}")
        scores += run.scores()
    return scores


def _captioned(pictures: CaptionedPictures) -> int:
    return int((pictures.caption_counts > 0).sum())


class _Run:
    """One split's evaluation: accumulators, and the passes that fill them."""

    def __init__(
        self,
        painter: Painter,
        pictures: CaptionedPictures,
        measured: Sequence[str],
        count: int,
        reference_count: int,
        seed: int,
        network: FeatureNetwork | None,
        judge: AttributeJudge | None,
    ) -> None:
        self.painter, self.pictures, self.count, self.reference_count, self.seed = painter, pictures, count, reference_count, seed
        self.network, self.judge = network, judge
        pool = np.flatnonzero(pictures.caption_counts > 0)
        if len(pool) < 2:
            raise DataError(
                f"'{pictures.name}' holds {len(pool)} captioned pictures in its {pictures.split} split: a score needs at least 2"
            )
        self.order = pool[random.permutation(len(pool), seed, "evaluate", pictures.split)]
        self.distribution: Distribution | None = None
        if measured:
            from limner.metrics.distribution import Distribution  # torchmetrics takes seconds to import

            assert network is not None
            self.distribution = Distribution(measured, network.width, network.logit_count, seed)
        self.generated, self.real = Agreement(), Agreement()
        self.generated_spreads: list[Spread] = []
        self.real_spreads: list[Spread] = []
        self.resolution = pictures.resolution

    def caption(self, number: int) -> str:
        """The caption of the evaluation's picture `number`."""
        index = int(self.order[number % len(self.order)])
        captions = self.pictures.captions(index)
        return captions[int(random.integers(len(captions), self.seed, "evaluate caption", self.pictures.split, number))]

    @torch.no_grad()
    def compare(self, batch_size: int) -> Iterator[int]:
        """Paint and look at every caption's picture, and at its real one; yields the number of pictures painted since the last time."""
        for start in range(0, max(self.count, self.reference_count), batch_size):
            numbers = np.arange(start, min(start + batch_size, self.count), dtype=np.int64)
            captions = [self.caption(int(number)) for number in numbers]
            named = named_codes(captions) if self.judge is not None else None
            if captions:
                self._look(self.paint(captions, numbers), named, real=False)
            rows = np.arange(start, min(start + batch_size, self.reference_count))
            if len(rows):
                self._look(self._real_pictures(self.order[rows]), None if named is None else named[: len(rows)], real=True)
            yield len(captions)

    @torch.no_grad()
    def vary(self, captions: int, captions_at_once: int) -> Iterator[int]:
        """Paint some captions under many noises, and as many garden pictures that fit them; yields as `compare` does."""
        assert self.judge is not None
        for start in range(0, captions, captions_at_once):
            numbers = np.arange(start, min(start + captions_at_once, captions))
            texts = [self.caption(int(number)) for number in numbers]
            named = named_codes(texts)
            samples = self.count + start * NOISES + np.arange(len(texts) * NOISES, dtype=np.int64)
            painted = self.paint([text for text in texts for _ in range(NOISES)], samples)
            for row, number in enumerate(numbers):
                group = painted[row * NOISES : (row + 1) * NOISES]
                self.generated_spreads.append(Spread.of(group, self._read(group), named[row]))
                fitting = fitting_scenes(named[row], self.pictures.split, NOISES, self.seed, int(number))
                real = to_tensor(paint(fitting, self.resolution))
                self.real_spreads.append(Spread.of(real, self._read(real), named[row]))
            yield len(samples)

    def paint(self, captions: list[str], samples: NDArray[np.int64]) -> Tensor:
        """What the painter gives, checked."""
        images = self.painter(captions, samples, self.seed)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[:2] != (len(captions), 3):
            given = f"{images.dtype} {tuple(images.shape)}"
            raise ValueError(f"a painter gave {given} for {len(captions)} captions in place of uint8 [B, 3, H, W]")
        if images.shape[-2:] != (self.resolution, self.resolution):
            side = images.shape[-1]
            raise SettingsError(f"the generator paints {side} px and the reference is opened at {self.resolution} px: open it at {side} px")
        return images

    def _real_pictures(self, indices: NDArray[np.int64]) -> Tensor:
        """Real pictures [n, 3, R, R] uint8, less the margin that training crops from."""
        pictures = self.pictures.read(indices)
        margin = (self.pictures.stored_resolution - self.resolution) // 2
        return to_tensor(pictures[:, margin : margin + self.resolution, margin : margin + self.resolution])

    def _look(self, images: Tensor, named: NDArray[np.int64] | None, *, real: bool) -> None:
        reading = self._read(images) if self.judge is not None else None
        if self.distribution is not None and self.network is not None:
            if reading is not None and self.network is self.judge:  # one look serves both
                self.distribution.add(reading.features, self.judge.class_logits(reading), real=real)
            else:
                self.distribution.add(*self.network(images.to(_device_of(self.network))), real=real)
        if reading is not None and named is not None:
            rows = slice(0, len(named))
            (self.real if real else self.generated).add(named, read_codes(reading)[rows])

    def _read(self, images: Tensor) -> Reading:
        assert self.judge is not None
        return self.judge.read(images.to(_device_of(self.judge)))

    def scores(self) -> list[Score]:
        """What was found, each with its protocol."""
        found: list[Score] = []
        if self.distribution is not None:
            from limner.metrics.distribution import IMPLEMENTATIONS

            for name, figure in self.distribution.results().items():
                found.append(
                    Score(
                        name=name,
                        value=figure.value,
                        error=figure.error,
                        protocol=self._protocol(name, IMPLEMENTATIONS[name], self.network, figure.settings),
                        higher_is_better=_HIGHER_IS_BETTER[name],
                        notes=figure.notes,
                    )
                )
        if self.judge is not None:
            overall = self.generated.overall(self.real)
            implementation = "limner: share of named attributes that the judge reads, mean over attributes"
            found.append(
                Score(
                    name="faithfulness",
                    value=overall.value,
                    error=overall.error,
                    chance=overall.chance,
                    shuffled=overall.shuffled,
                    real=overall.real,
                    parts=self.generated.parts(self.real),
                    higher_is_better=True,
                    protocol=self._protocol("faithfulness", implementation, self.judge, {}),
                )
            )
            parts = diversity_parts(self.generated_spreads, self.real_spreads)
            settings = {"varied captions": len(self.real_spreads), "noises": NOISES}
            implementation = "limner: mean pairwise distance of one caption's pictures, as a share of real pictures'"
            found.append(
                Score(
                    name="diversity",
                    value=parts["features"].value,
                    error=parts["features"].error,
                    real=1.0,
                    parts=parts,
                    higher_is_better=True,
                    protocol=self._protocol("diversity", implementation, self.judge, settings),
                )
            )
        return found

    def _protocol(
        self, metric: str, implementation: str, network: FeatureNetwork | None, settings: Mapping[str, int | float | str]
    ) -> Protocol:
        assert network is not None
        return Protocol(
            metric=metric,
            data=self.pictures.name,
            split=self.pictures.split,
            fingerprint=self.pictures.fingerprint,
            count=self.count,
            reference_count=self.reference_count,
            captions="one drawn caption a picture",
            resolution=self.resolution,
            seed=self.seed,
            implementation=implementation,
            features=network.name,
            features_hash=network.content_hash,
            resize=network.resize,
            settings=settings,
            version=getattr(limner, "__version__", "unknown"),
        )


def _device_of(network: FeatureNetwork) -> torch.device:
    return next(network.parameters()).device
