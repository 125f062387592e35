"""A method of two parts that trains in no time: a reader of pictures, which paints nothing and shows what it reads, and then a painter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from numpy.typing import ArrayLike
from torch import nn

from limner.core import registry
from limner.core.batch import Batch
from limner.core.method import Method, Painting
from limner.core.noise import Noise, VectorNoise, gaussian
from limner.core.optimizers import Adam, RMSprop
from limner.core.pictures import CaptionedPictures
from limner.core.settings import DataSettings, EvaluationSettings, Preset, Recipe, TrainingSettings
from limner.core.text import TextFeatures
from limner.core.trainable import Phase, Player, Progress, Update

SIDE = 16
NAME = "two-parts"


class Killed(Exception):
    """What ends a run in the middle of a step."""


@dataclass(frozen=True, kw_only=True)
class TwoPartsSettings:
    batch_size: int = 6
    steps: int = 4
    width: int = 5
    """Numbers to which the reader brings a picture."""


class TwoParts(Method):
    """`reader` brings pictures to a few numbers and back; `painter` paints what the reader would find in it: the caption's numbers."""

    Settings = TwoPartsSettings
    title, paper = "Two parts", "nobody's"
    presets = {
        name: Preset(sentence="The only one.", resolution=SIDE, training={"ema_half_life": 100.0}) for name in ("cpu", "as-published")
    }
    kill_at: tuple[str, int] | None = None
    prepared: list[str] = []
    trained_on: list[str] = []

    def __init__(self, settings: Any, conditions: Any) -> None:
        super().__init__(settings, conditions)
        self.reader = nn.ModuleDict(
            {"narrow": nn.Linear(3 * SIDE * SIDE, settings.width), "back": nn.Linear(settings.width, 3 * SIDE * SIDE)}
        )
        self.painter = nn.Linear(4 + conditions.sentence_width, settings.width)

    def players(self) -> dict[str, Player]:
        return {
            "reader": Player(module=self.reader, optimizer=RMSprop(learning_rate=1e-3), kept=True),
            "painter": Player(module=self.painter, optimizer=Adam(learning_rate=1e-2), averaged=True),
        }

    def phases(self) -> list[Phase]:
        settings = self.settings
        common: dict[str, Any] = {"resolution": SIDE, "batch_size": settings.batch_size, "steps": settings.steps}
        return [
            Phase(name="reading", players=("reader",), paints=False, encoded=False, share=0.25, **common),
            Phase(name="painting", players=("painter",), share=0.75, **common),
        ]

    def couples_rows(self) -> str | None:
        return None

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:
        self.prepared.append(phase.name)

    def begin(self, phase: Phase) -> None:
        super().begin(phase)
        self.reader.requires_grad_(phase.name == "reading")

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        if (progress.phase, progress.step) == self.kill_at:
            raise Killed
        self.trained_on.append(progress.phase)
        if progress.phase == "reading":
            yield Update("reader", (self._back(self.reader["narrow"](batch.pictures.flatten(1))) - batch.pictures).square().mean())
        else:
            painted = self.paint(batch.text, self.noise(batch, "train")).images
            yield Update("painter", (painted - batch.pictures).square().mean())

    def preview(self, batch: Batch) -> Painting | None:
        return Painting(self._back(self.reader["narrow"](batch.pictures.flatten(1))))

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        return VectorNoise(gaussian((4,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        assert isinstance(noise, VectorNoise)
        return Painting(self._back(self.painter(torch.cat([noise.z, text.sentence], 1))))

    def _back(self, read: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.reader["back"](read)).view(-1, 3, SIDE, SIDE)


@pytest.fixture
def two_parts(monkeypatch: pytest.MonkeyPatch) -> type[TwoParts]:
    """Registers the method for a test, which has its own record of what was prepared and trained."""
    get, names = registry.get, registry.names
    monkeypatch.setattr(registry, "get", lambda name, *sorts: TwoParts if name == NAME else get(name, *sorts))
    monkeypatch.setattr(registry, "names", lambda *sorts: sorted([*names(*sorts), NAME]))
    for field in ("prepared", "trained_on"):
        monkeypatch.setattr(TwoParts, field, [])
    return TwoParts


def recipe(adopted: dict[str, str] | None = None, evaluation: dict[str, Any] | None = None, **training: Any) -> Recipe:
    """A run of it on the garden. training: laid over the training settings, but for `width` and `batch_size`, which are the method's."""
    own = {name: training.pop(name) for name in ("width", "batch_size") if name in training}
    values = {"log_every": 1, "checkpoint_every": 2, "sample_every": 2, "device": "cpu", "ema_half_life": 100.0} | training
    return Recipe(
        method=NAME,
        data="garden",
        preset="cpu",
        resolution=SIDE,
        method_settings=dataclasses.replace(TwoPartsSettings(), **own),
        training=TrainingSettings(**values),
        data_settings=DataSettings(garden_pictures=24),
        evaluation=EvaluationSettings(**(evaluation or {})),
        adopted=adopted or {},
    )
