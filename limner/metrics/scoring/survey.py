"""One split's pass: real pictures, training pictures, generated ones, and many of one caption; then the scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.core.pictures import CaptionedPictures
from limner.data.garden import paint
from limner.metrics.faithfulness import fitting_scenes, named_codes
from limner.metrics.judge import to_tensor
from limner.metrics.scoring import reference
from limner.metrics.scoring.eyes import Eyes
from limner.metrics.scoring.metric import COMPARED, NOISES, Figure, Found, Group, Metric, ScoringTask, SeenBatch
from limner.metrics.scoring.protocol import Score
from limner.metrics.scoring.rows import Moments, Rows
from limner.metrics.scoring.share import Share
from limner.metrics.scoring.sources import Source, drawn_caption

TRAINING_PICTURES = 10_000
"""Training pictures at the most that memorisation compares with."""

Side = Literal["generated", "real"]


class Survey:
    """The accumulators of one split, and the stages that fill them."""

    def __init__(
        self,
        task: ScoringTask,
        source: Source,
        order: NDArray[np.int64],
        metrics: Sequence[Metric],
        batch_size: int,
        varied: int,
        share: Share,
        cache: Path | None,
    ) -> None:
        self.task, self.source, self.order, self.metrics = task, source, order, metrics
        stories = task.pictures.stories
        frames = 1 if stories is None or not task.painted else stories.shape[1]
        self.batch_size, self.share, self.cache = max(batch_size // frames, 1) * frames, share, cache  # whole stories
        self.eyes = Eyes(task, metrics)
        self.keeps = frozenset(column for metric in metrics for column in metric.keeps)
        self.varied_captions = varied if "varied" in self.eyes.needs else 0
        self.rows: dict[str, Rows] = {"generated": Rows(), "real": Rows(), "varied": Rows(), "training": Rows()}
        self.moments: dict[Side, Moments] = {"generated": Moments(), "real": Moments()}
        self.training = np.empty(0, dtype=np.int64)
        if "training" in self.eyes.needs and task.training is not None:
            self.training = random.permutation(len(task.training), task.seed, "training")[:TRAINING_PICTURES]
        self._remembered = {"real": self._remember("real"), "training": self._remember("training")}

    @property
    def to_see(self) -> int:
        """Pictures that will be looked at, or painted."""
        counts = {"real": self.task.reference_count if self._looks_at_real else 0, "training": len(self.training)}
        open_stages = sum(count for side, count in counts.items() if self._remembered[side] is None)
        return self.task.count + open_stages + self.varied_captions * NOISES

    @property
    def _looks_at_real(self) -> bool:
        return bool(self.keeps & {"features", "moments", "embeddings"}) or any(_remembers_real(metric) for metric in self.metrics)

    def run(self) -> Iterator[int]:
        """Go through all stages; yields the number of pictures seen by all processes since the last time."""
        stages: list[tuple[str, Callable[[], Iterator[int]]]] = [
            ("real", self._real),
            ("training", self._train),
            ("generated", self._generated),
            ("varied", self._vary),
        ]
        for side, stage in stages:
            if self._remembered.get(side) is None:
                for seen in stage():
                    yield seen * self.share.processes
        self._put_together()

    def scores(self, finish: Callable[[Figure], Score]) -> list[Score]:
        """The scores, made by the first process and handed to all."""
        made: list[Score] | None = None
        if self.share.rank == 0:
            training = self.rows["training"].tensor("features") if len(self.training) else None
            found = Found(
                task=self.task,
                generated=self.rows["generated"],
                real=self.rows["real"],
                varied=self.rows["varied"],
                moments=self.moments,
                training=training,
            )
            made = [finish(figure) for metric in self.metrics for figure in metric.figures(found)]
        scores = self.share.gather(made)[0]
        assert isinstance(scores, list)
        return scores

    def _real(self) -> Iterator[int]:
        if not self._looks_at_real:
            return
        for numbers in self._batches(self.task.reference_count):
            indices = self.order[numbers]
            captions = [drawn_caption(self.task.pictures, *place, self.task.seed) for place in zip(indices.tolist(), numbers.tolist())]
            batch = self.eyes.look(numbers, stored(self.task.pictures, indices), captions)
            self._keep("real", batch)
            yield len(numbers)

    def _train(self) -> Iterator[int]:
        assert self.task.training is not None or not len(self.training)
        for numbers in self._batches(len(self.training)):
            assert self.task.training is not None
            features, _ = self.eyes.features(stored(self.task.training, self.training[numbers]))
            self.rows["training"].add("features", numbers, features)
            yield len(numbers)

    def _generated(self) -> Iterator[int]:
        captions = self.source.captions
        for numbers in self._batches(self.task.count):
            compared = numbers[numbers < COMPARED] if "truth" in self.eyes.needs else numbers[:0]
            truth = stored(self.task.pictures, self.task.indices[compared]) if len(compared) else None
            texts = [captions[number] for number in numbers.tolist()] if captions is not None else []
            with torch.no_grad():
                images = self.source.pictures(numbers)
                exchanged = self._exchanged(numbers, texts)
            self._keep("generated", self.eyes.look(numbers, images, texts, truth, exchanged))
            yield len(numbers)

    def _exchanged(self, numbers: NDArray[np.int64], captions: Sequence[str]) -> Tensor | None:
        """Pictures of the same numbers whose captions a metric changed; None where none asks for them."""
        asks = next((metric for metric in self.metrics if "exchanged" in metric.needs), None)
        return None if asks is None else self.source.retell(asks.retold(numbers, captions), numbers)

    def _vary(self) -> Iterator[int]:
        for number in range(self.varied_captions):
            if not self.share.mine(number):
                continue
            with torch.no_grad():
                caption, images = self.source.vary(number, NOISES)
            real = self._alike(number, caption)
            judged = "judge" in self.eyes.needs
            reading = self.eyes.read(images) if judged else None
            real_reading = self.eyes.read(real) if judged and real is not None else None
            featured = any({"features", "varied"} <= metric.needs for metric in self.metrics)
            group = Group(
                number=number,
                caption=caption,
                images=images,
                real=real,
                reading=reading,
                real_reading=real_reading,
                features=self.eyes.features(images, reading)[0] if featured else None,
                real_features=self.eyes.features(real, real_reading)[0] if featured and real is not None else None,
            )
            for metric in self.metrics:
                for name, values in metric.varied(group).items():
                    self.rows["varied"].add(name, np.array([number]), values)
            yield NOISES

    def _alike(self, number: int, caption: str) -> Tensor | None:
        """Real pictures that a caption could have: on the garden painted to fit it, elsewhere those of its class, if there are any."""
        pictures, seed = self.task.pictures, self.task.seed
        if pictures.holds == "attributes":
            (named,) = named_codes([caption])
            return to_tensor(paint(fitting_scenes(named, pictures.split, NOISES, seed, number), pictures.resolution))
        if pictures.class_ids is None or self.task.classes is None:
            return None
        members = np.flatnonzero(pictures.class_ids == self.task.classes[number % self.task.count])
        return stored(pictures, members[random.permutation(len(members), seed, "alike", number)][:NOISES]) if len(members) > 1 else None

    def _batches(self, count: int) -> Iterator[NDArray[np.int64]]:
        """The numbers of this process's batches."""
        for batch, start in enumerate(range(0, count, self.batch_size)):
            if self.share.mine(batch):
                yield np.arange(start, min(start + self.batch_size, count), dtype=np.int64)

    def _keep(self, side: Side, batch: SeenBatch) -> None:
        rows = self.rows[side]
        if batch.features is not None and "features" in self.keeps:
            rows.add("features", batch.numbers, batch.features)
        if batch.features is not None and "moments" in self.keeps:
            self.moments[side].add(batch.features)
        if batch.embeddings is not None and "embeddings" in self.keeps:
            rows.add("embeddings", batch.numbers, batch.embeddings)
        if side == "generated" and batch.logits is not None and "logits" in self.keeps:
            rows.add("logits", batch.numbers, batch.logits)
        if side == "generated" and "captions" in self.keeps:
            rows.add("captions", batch.numbers, self.eyes.embed_captions(batch.captions))
        for metric in self.metrics:
            columns = metric.generated(batch) if side == "generated" else metric.real(batch)
            for name, values in columns.items():
                rows.add(name, batch.numbers[: len(values)], values)

    def _remember(self, side: str) -> dict[str, NDArray[Any]] | None:
        """What the cache holds of a side; None where it is not there, or not for every process."""
        path = self._cache_file(side)
        found = reference.load(path) if path is not None else None
        everywhere = self.share.gather(found is not None)
        return found if all(everywhere) else None

    def _cache_file(self, side: str) -> Path | None:
        pictures = self.task.pictures if side == "real" else self.task.training
        if self.cache is None or pictures is None:
            return None
        facts = {
            "side": side,
            "data": [pictures.name, pictures.fingerprint, pictures.split, len(pictures)],
            "resolution": pictures.resolution,
            "count": self.task.reference_count if side == "real" else len(self.training),
            "seed": self.task.seed,
            **({"order": hashlib.sha256(self.order.tobytes()).hexdigest()} if side == "real" else {}),
            "kept": sorted(self.keeps) + sorted(metric.name for metric in self.metrics if _remembers_real(metric))
            if side == "real"
            else [],
            **(self.eyes.facts() if side == "real" else {"features": self.eyes.facts().get("features")}),
        }
        return reference.cache_file(self.cache, facts)

    def _put_together(self) -> None:
        """Merge what all processes kept; write what the cache lacked."""
        for side in self.rows:
            remembered = self._remembered.get(side)
            if remembered is None:
                self.rows[side] = Rows.merged([dict(state) for state in self.share.gather(self.rows[side].state())])  # type: ignore[call-overload]
            else:
                self.rows[side] = Rows.merged([remembered])
        for name in self.moments:
            remembered = self._remembered.get(name)
            if remembered is None:
                self.moments[name] = Moments.merged(self.share.gather(self.moments[name].state()))  # type: ignore[arg-type]
            else:
                self.moments[name] = Moments.merged([{key.partition(":")[2]: value for key, value in remembered.items() if ":" in key}])
        for side in ("real", "training"):
            path = self._cache_file(side)
            if path is not None and self._remembered[side] is None and self.share.rank == 0:
                sums = {f"moments:{name}": value for name, value in self.moments["real"].state().items()} if side == "real" else {}
                reference.store(path, {**self.rows[side].state(), **sums})


def _remembers_real(metric: Metric) -> bool:
    return type(metric).real is not Metric.real


def stored(pictures: CaptionedPictures, indices: NDArray[np.int64]) -> Tensor:
    """Pictures [n, 3, R, R] uint8 of a set, less the margin that training crops from."""
    found = pictures.read(indices)
    margin = (pictures.stored_resolution - pictures.resolution) // 2
    return to_tensor(found[:, margin : margin + pictures.resolution, margin : margin + pictures.resolution])
