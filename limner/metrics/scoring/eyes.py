"""What looks at pictures: each network once for each picture, however many metrics want to know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import folder
from limner.core.pictures import CaptionedPictures
from limner.features.bouquet_judge import SHIPPED, SceneJudge, SceneReading, load_scene_judge
from limner.features.garden_judge import AttributeJudge, Reading, load_judge
from limner.features.network import FeatureNetwork, to_float
from limner.metrics.scoring.metric import Metric, ScoringTask, SeenBatch


class Eyes:
    """The networks that some metrics need, and how to look through them."""

    def __init__(self, task: ScoringTask, metrics: Iterable[Metric]) -> None:
        self.task = task
        self.needs = frozenset(need for metric in metrics for need in metric.needs)

    @staticmethod
    def judge_for(pictures: CaptionedPictures, network: FeatureNetwork, device: torch.device | str) -> AttributeJudge | None:
        """What reads the attributes of these pictures: the garden's judge on the garden, else nothing."""
        if pictures.holds != "attributes":
            return None
        return network if isinstance(network, AttributeJudge) else load_judge().to(device)

    @staticmethod
    def scene_judge_for(pictures: CaptionedPictures, given: SceneJudge | None, device: torch.device | str) -> SceneJudge | None:
        """What reads the scenes of these pictures: of bouquets and stories the judge that is given, or the one that ships; else nothing."""
        if pictures.holds not in ("scenes", "stories") or given is not None:
            return given
        return load_scene_judge().to(device) if SHIPPED in folder.shipped() else None

    @torch.no_grad()
    def look(
        self,
        numbers: NDArray[np.int64],
        images: Tensor,
        captions: Sequence[str],
        truth: Tensor | None = None,
        exchanged: Tensor | None = None,
    ) -> SeenBatch:
        """What is seen in pictures [B, 3, R, R] uint8, and in those of changed captions."""
        reading = self.read(images) if "judge" in self.needs else None
        features, logits = self.features(images, reading) if "features" in self.needs else (None, None)
        matching = self.task.matching if "matching" in self.needs else None
        return SeenBatch(
            numbers=numbers,
            images=images,
            captions=captions,
            truth=truth,
            features=features,
            logits=logits,
            reading=reading,
            scenes=self.read_scenes(images) if "scenes" in self.needs else None,
            exchanged=None if exchanged is None else self.read_scenes(exchanged),
            embeddings=matching.embed_pictures(to_float(images)) if matching is not None else None,
        )

    @torch.no_grad()
    def features(self, images: Tensor, reading: Reading | None = None) -> tuple[Tensor, Tensor | None]:
        """The feature network's features [B, D] and class logits; `reading` is what the judge has read in them already."""
        network, judge = self.task.network, self.task.judge
        assert network is not None
        if judge is not None and network is judge and reading is not None:
            return reading.features, judge.class_logits(reading)
        return network.look(images.to(_device_of(network)))

    @torch.no_grad()
    def read(self, images: Tensor) -> Reading:
        """What the judge reads."""
        judge = self.task.judge
        assert judge is not None
        return judge.read(images.to(_device_of(judge)))

    @torch.no_grad()
    def read_scenes(self, images: Tensor) -> SceneReading:
        """What the judge of bouquets reads."""
        judge = self.task.scene_judge
        assert judge is not None
        return judge.read(images.to(_device_of(judge)))

    @torch.no_grad()
    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """The matching model's embeddings [B, D] of captions."""
        assert self.task.matching is not None
        return self.task.matching.embed_captions(list(captions))

    def facts(self) -> dict[str, Any]:
        """The networks that look, as far as what they see depends on them."""
        found: dict[str, Any] = {}
        networks = (
            ("features", self.task.network),
            ("judge", self.task.judge),
            ("scenes", self.task.scene_judge),
            ("matching", self.task.matching),
        )
        for need, network in networks:
            if network is not None and (need in self.needs or "classifier" in self.needs):
                found[need] = [network.name, network.content_hash, getattr(network, "resize", "")]
        return found


def _device_of(network: FeatureNetwork) -> torch.device:
    return next(network.parameters()).device
