"""The judge of garden pictures: a small network that reads attributes.

It learns from all combinations of colour and shape, each as likely as the others, from a garden of its own seed. Trained on the train split
alone it also learns that some colours never come with some shapes: after 600 steps it read 99.5 % of the shapes of train combinations and
70 % of held-out ones. A judge of zero-shot pictures must not expect any answer. What it shares with the judge of bouquets is in
`limner.families.judges`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from limner.core.batch import Batch
from limner.core.trainable import Progress, Update
from limner.core.worlds import Holds
from limner.data.garden import ATTRIBUTES, Garden
from limner.families.judges import JudgeSettings, Painted, WorldJudge, presets
from limner.features.garden_judge import AttributeJudge


@dataclass(frozen=True, kw_only=True)
class GardenJudgeSettings(JudgeSettings):
    """How the judge is trained; the defaults are those of the one that ships."""

    split: str = "all"
    """Split of the garden to learn from; `all` alone makes colour and shape independent."""


class GardenJudge(WorldJudge):
    """Trains an `AttributeJudge`."""

    kind = "judge"
    Settings: ClassVar[type] = GardenJudgeSettings
    title: ClassVar[str] = "Judge of garden attributes"
    paper: ClassVar[str] = "nobody's publication: a part of Limner"
    presets = presets("four minutes of one core")
    reads: ClassVar[Holds] = "attributes"
    judge: AttributeJudge

    @staticmethod
    def network() -> AttributeJudge:
        return AttributeJudge(ATTRIBUTES)

    def painted(self) -> list[Painted]:
        every = [(garden, np.arange(len(garden))) for garden in self.settings.worlds(Garden)]
        return [(garden.pictures(rows), (torch.from_numpy(garden.attribute_codes(rows)),)) for garden, rows in every]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        shown, (codes,) = self.drawn(batch, progress.step)
        reading = self.judge.read(shown)
        losses = [F.cross_entropy(reading.logits[name], codes[:, column]) for column, name in enumerate(ATTRIBUTES)]
        right = {f"{name}_right": (read == codes[:, column]).float().mean() for column, (name, read) in enumerate(reading.codes().items())}
        yield Update("judge", torch.stack(losses).sum(), right)

    def summary(self) -> str:
        return f"Reads {len(ATTRIBUTES)} attributes of a garden picture."

    def usage(self) -> str:
        return "```\nlimner evaluate PATH\nlimner evaluate RUN --features garden=PATH\n```\n"

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        return (("score", "limner evaluate OTHER_RUN --features garden=RUN"),)

    def description(self) -> dict[str, Any]:
        return {"attributes": self.judge.attributes, "classes": self.judge.classes}
