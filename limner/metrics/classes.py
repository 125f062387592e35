"""Class accuracy against resolution: AC-GAN's discriminability (Odena et al., ICML 2017, arXiv:1610.09585).

A classifier sees each picture reduced to 8, 16, 32, ... px and enlarged again. A generator whose large pictures are no more than enlarged
small ones loses nothing by it; one that paints what its resolution can hold loses as real pictures do.

The classifier is the garden's judge on the garden, and elsewhere a matching model, which chooses the class whose captions fit best.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.features.network import resized, to_float
from limner.metrics.faithfulness import COLOUR, SHAPE, UNNAMED, named_codes
from limner.metrics.retrieval import class_texts, compare, without_captions
from limner.metrics.scoring.metric import Figure, Found, Metric, Need, ScoringTask, SeenBatch
from limner.metrics.scoring.protocol import Part

SMALLEST = 8
LOOKED_AT = 320
"""Pictures at the most that are reduced and looked at again."""


class ClassAccuracy(Metric):
    """How often a classifier finds the class of a picture, after it was reduced to each of several sides."""

    name: ClassVar[str] = "class-accuracy"
    needs: ClassVar[frozenset[Need]] = frozenset({"classifier", "captions"})

    def __init__(self, task: ScoringTask) -> None:
        super().__init__(task)
        side = task.pictures.resolution
        self.sides = [*(SMALLEST << step for step in range(16) if SMALLEST << step < side), side]
        self._texts = class_texts(task) if task.judge is None else None

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        if task.classes is None or (task.classes < 0).any():
            return f"class-accuracy needs the class of each picture, and '{task.pictures.name}' has none: leave it out"
        if not (_named_classes(task) >= 0).any():
            counted = min(task.count, LOOKED_AT)
            return f"class-accuracy takes captions that name colour and shape, and none of {counted} does: raise --count, or leave it out"
        if task.judge is None and task.pictures.class_ids is not None:  # a matching model chooses among the classes of the split
            return without_captions(cls.name, task)
        return None

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[np.generic]]:
        return self._classified(batch)

    def real(self, batch: SeenBatch) -> Mapping[str, NDArray[np.generic]]:
        return self._classified(batch)

    def _classified(self, batch: SeenBatch) -> dict[str, NDArray[np.generic]]:
        """The class seen at every side, for those of the first pictures that are in the batch."""
        count = int((batch.numbers < LOOKED_AT).sum())
        if not count:
            return {}
        images = to_float(batch.images[:count])
        return {
            f"class at {side}": self.classify(images if side == self.sides[-1] else resized(resized(images, side), images.shape[-1]))
            for side in self.sides
        }

    def classify(self, images: Tensor) -> NDArray[np.int64]:
        """[B, 3, R, R] in [-1, 1] -> [B] class ids."""
        judge, matching = self.task.judge, self.task.matching
        if judge is not None:
            device = next(judge.parameters()).device
            return judge.class_logits(judge.read(images.to(device))).argmax(1).cpu().numpy()
        assert matching is not None and self._texts is not None
        names, texts = self._texts
        with torch.no_grad():
            return names[compare(matching, matching.embed_pictures(images).float().cpu(), texts).argmax(1).numpy()]

    def figures(self, found: Found) -> list[Figure]:
        task = self.task
        wanted = _named_classes(task)
        chance = 1 / (task.pictures.class_count if self._texts is None else len(self._texts[0]))  # a matching model chooses among these
        parts = {}
        for side in self.sides:
            mine = _accuracy(found.generated[f"class at {side}"], wanted)
            real = _accuracy(found.real[f"class at {side}"], wanted) if task.painted else None
            parts[f"{side} px"] = Part(value=mine, chance=chance, real=real, count=int((wanted >= 0).sum()))
        whole = parts[f"{self.sides[-1]} px"]
        return [
            Figure(
                name=self.name,
                value=whole.value,
                error=(whole.value * (1 - whole.value) / max(whole.count, 1)) ** 0.5,
                chance=chance,
                real=whole.real,
                parts=parts,
                higher_is_better=True,
                implementation="limner: share of pictures whose class is seen after reduction and enlargement, as AC-GAN",
                network="judge" if task.judge is not None else "matching",
                resize="bilinear antialiased down, bilinear up again",
                settings={"pictures": len(wanted)},
            )
        ]


def _named_classes(task: ScoringTask) -> NDArray[np.int64]:
    """The classes [n] of the first pictures; on the garden -1 where a caption leaves colour or shape open, and so fits several."""
    assert task.classes is not None and task.captions is not None
    classes = task.classes[:LOOKED_AT]
    if task.pictures.holds != "attributes":
        return classes
    codes = named_codes(task.captions[:LOOKED_AT])
    return np.where((codes[:, [COLOUR, SHAPE]] != UNNAMED).all(1), classes, -1)


def _accuracy(seen: NDArray[np.int64], wanted: NDArray[np.int64]) -> float:
    seen, wanted = seen[: len(wanted)], wanted[: len(seen)]
    known = wanted >= 0
    return float((seen[known] == wanted[known]).mean()) if known.any() else float("nan")
