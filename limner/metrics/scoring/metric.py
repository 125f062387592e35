"""What a metric is: it says what it needs to see, keeps a few numbers of each picture, and at the end makes scores of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limner.core.pictures import CaptionedPictures
from limner.features.bouquet_judge import SceneJudge, SceneReading
from limner.features.garden_judge import AttributeJudge, Reading
from limner.features.network import FeatureNetwork
from limner.metrics.scoring.matching import MatchingJudge
from limner.metrics.scoring.protocol import Part
from limner.metrics.scoring.rows import Moments, Rows

COMPARED = 1000
"""Pictures at the most that are compared with real ones pixel by pixel."""
NOISES = 16
"""Pictures of one caption that measures of diversity look at."""

Need = Literal[
    "features", "classes", "judge", "scenes", "matching", "classifier", "captions", "truth", "varied", "training", "inverter", "exchanged"
]
"""features: of the feature network. classes: its class logits. judge: what the garden's judge reads. scenes: what the judge of bouquets
reads. matching: a matching model's
embeddings. classifier: the judge on the garden, elsewhere a matching model. captions: a caption for each picture. truth: the real picture
of each caption, next to the generated one. varied: pictures of one caption under many noises. training: features of the training pictures.
inverter: a model that finds codes of pictures. exchanged: what the judge of bouquets reads where stories are told with names exchanged
(`Metric.retold`)."""


@dataclass(frozen=True, kw_only=True)
class ScoringTask:
    """What one split's evaluation is about: all that a metric may ask before the first picture."""

    pictures: CaptionedPictures
    """The reference."""
    captions: Sequence[str] | None
    """[count] the caption of each generated picture."""
    classes: NDArray[np.int64] | None
    """[count] the class of each generated picture; None where there are none."""
    indices: NDArray[np.int64]
    """[count] the reference picture whose caption it is; -1 where that is not known."""
    count: int
    reference_count: int
    seed: int
    painted: bool
    """Whether a model paints them: then more pictures of one caption can be had, and the real picture of each number below both counts
    has the caption and class of the generated one."""
    network: FeatureNetwork | None = None
    judge: AttributeJudge | None = None
    scene_judge: SceneJudge | None = None
    matching: MatchingJudge | None = None
    training: CaptionedPictures | None = None
    """The pictures that the generator was trained on."""
    rebuild: Callable[[Tensor, NDArray[np.int64]], Tensor] | None = None
    """Paints pictures [B, 3, R, R] uint8 of these sample numbers again from the codes that the model finds for them; None for a model that
    finds none."""


@dataclass(frozen=True, kw_only=True)
class SeenBatch:
    """A batch of pictures, and what the networks that the metrics need have seen in them."""

    numbers: NDArray[np.int64]
    """[B] places in the evaluation, rising."""
    images: Tensor
    """[B, 3, R, R] uint8."""
    captions: Sequence[str]
    truth: Tensor | None = None
    """[b, 3, R, R] uint8: the real pictures of the first captions, those below `COMPARED`."""
    features: Tensor | None = None
    """[B, D]."""
    logits: Tensor | None = None
    """[B, classes]."""
    reading: Reading | None = None
    scenes: SceneReading | None = None
    exchanged: SceneReading | None = None
    """Of pictures of the same numbers, whose captions `Metric.retold` changed."""
    embeddings: Tensor | None = None
    """[B, D] of the matching model."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pictures of one caption under many noises, and as many real ones, where such can be had."""

    number: int
    caption: str
    images: Tensor
    """[n, 3, R, R] uint8."""
    real: Tensor | None
    """[m, 3, R, R] uint8: garden pictures that fit the caption, or real ones of its class."""
    reading: Reading | None = None
    real_reading: Reading | None = None
    features: Tensor | None = None
    """[n, D], where a metric that looks at groups needs features."""
    real_features: Tensor | None = None
    """[m, D]."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that was kept, when the last picture has been seen."""

    task: ScoringTask
    generated: Rows
    real: Rows
    varied: Rows
    moments: Mapping[Literal["generated", "real"], Moments] = field(default_factory=dict)
    training: Tensor | None = None
    """[T, D] features of training pictures."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A score before it has a protocol."""

    name: str
    value: float
    higher_is_better: bool
    implementation: str
    """Whose formula and accumulation."""
    network: Literal["features", "judge", "scenes", "matching"] | None = None
    """Which network looked."""
    resize: str | None = None
    """How pictures became the network's input, where it is not the network's own way."""
    error: float | None = None
    chance: float | None = None
    shuffled: float | None = None
    real: float | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    settings: Mapping[str, int | float | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Metric(ABC):
    """One entry of the registry, made anew for each split.

    keeps: the shared columns that the pass keeps for it: "features" and "embeddings" of both sides, "logits" and "captions" (embeddings of
    captions) of the generated side, or "moments" of features. What else it wants to remember it returns from the three methods below as
    columns [B, ...], whose names are its own.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[Need]] = frozenset()
    keeps: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, task: ScoringTask) -> None:
        self.task = task

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        """Why it cannot be taken of this split, in one line with the fix; None where it can. What `needs` says is checked already."""
        return None

    def retold(self, numbers: NDArray[np.int64], captions: Sequence[str]) -> list[str]:
        """Other captions of some pictures, where it needs "exchanged" ones."""
        return list(captions)

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[np.generic]]:
        """What to remember of generated pictures: columns of B rows, or of fewer, which are those of the first pictures."""
        return {}

    def real(self, batch: SeenBatch) -> Mapping[str, NDArray[np.generic]]:
        """What to remember of real pictures."""
        return {}

    def varied(self, group: Group) -> Mapping[str, NDArray[np.generic]]:
        """What to remember of one caption's pictures: columns of a single row."""
        return {}

    @abstractmethod
    def figures(self, found: Found) -> list[Figure]:
        """The scores."""
