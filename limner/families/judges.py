"""What the judges of the garden's worlds share: the course of their training, and pictures that look as a generator's do.

A judge learns from a world without any rule, so that it expects no answer, and of a seed of its own. Generated pictures are softer and
noisier than painted ones, so it learns from pictures that are blurred, bent, noisy and of lower resolution too.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.optimizers import Adam
from limner.core.pictures import CaptionedPictures
from limner.core.schedules import warmed
from limner.core.settings import Preset, above_zero, at_least
from limner.core.trainable import Conditions, Phase, Player, Progress, Trainable
from limner.core.worlds import Holds, world_of
from limner.data.garden import Garden
from limner.data.garden.bouquets import Bouquets
from limner.features.garden_judge import SIDE
from limner.features.network import FeatureNetwork, resized, to_float
from limner.features.saved import halved

PHASE = "judge"
AnyWorld = TypeVar("AnyWorld", Garden, Bouquets)
Painted = tuple[NDArray[np.uint8], tuple[Tensor, ...]]
"""Pictures [N, H, W, 3], and what they show, as tensors of N rows."""


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """How a judge is trained; the defaults are those of the ones that ship."""

    steps: int = 2000
    """Steps of training."""
    batch_size: int = 64
    """Pictures a step; a quarter of them are painted at 32 px."""
    pictures: int = 24_000
    """Pictures painted for training; a quarter of them at 32 px."""
    learning_rate: float = 3e-3
    """Highest learning rate of AdamW, reached after a twentieth of the steps and lowered to 0 along a cosine."""
    weight_decay: float = 0.02
    """Weight decay of AdamW."""
    split: str = "all"
    """Split to learn from; `all` alone has everything in every combination."""
    seed: int = 7001
    """Decides the pictures (another garden than any that runs are likely to use) and their order."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "steps")
        at_least(self, "method", 8, "batch_size", "pictures")
        at_least(self, "method", 0, "weight_decay")
        above_zero(self, "method", "learning_rate")

    def worlds(self, world: type[AnyWorld]) -> list[AnyWorld]:
        """What a judge learns from: pictures of 64 px, and a third as many of 32 px, of the next seed."""
        small = self.pictures // 4
        parts = ((self.seed, self.pictures - small, SIDE), (self.seed + 1, small, SIDE // 2))
        return [world(split=self.split, seed=seed, length=length, resolution=side) for seed, length, side in parts]


def presets(time: str) -> Mapping[str, Preset]:
    """The presets of a judge. time: how long its training takes."""
    sentences = {"as-published": "The judge that ships with Limner.", "cpu": f"The same: {time}."}
    return {name: Preset(sentence=text, resolution=SIDE, training={"ema_half_life": 0.0}) for name, text in sentences.items()}


class WorldJudge(Trainable):
    """Trains `judge` on pictures that it paints itself, which `prepare` does. The run's data must be what the judge reads, for the run's
    record; the training pictures are of the settings' own split and seed.
    """

    reads: ClassVar[Holds]
    gradient_clip: ClassVar[float | None] = None
    judge: FeatureNetwork
    settings: JudgeSettings

    def __init__(self, settings: JudgeSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        if conditions.resolution != SIDE:
            raise SettingsError(f"the judge reads pictures of {SIDE} px: leave --resolution out, or give {SIDE}")
        self.judge = self.network()
        self.judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # half as fast again on a processor
        self.artefacts = Artefacts(settings.seed)
        self.sources: list[tuple[Tensor, tuple[Tensor, ...]]] = []

    @staticmethod
    @abstractmethod
    def network() -> FeatureNetwork:
        """A fresh network."""

    @abstractmethod
    def painted(self) -> list[Painted]:
        """The training pictures, those of 64 px and those of 32 px."""

    @classmethod
    def reads_text(cls, settings: Any) -> bool:
        return False

    def players(self) -> dict[str, Player]:
        settings = self.settings
        optimizer = Adam(
            learning_rate=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay, decoupled=True, decays_vectors=True
        )
        clip = self.gradient_clip
        return {"judge": Player(module=self.judge, optimizer=optimizer, learning_rate_factor=share_of_rate, gradient_clip=clip, kept=True)}

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [Phase(name=PHASE, resolution=SIDE, batch_size=settings.batch_size, steps=settings.steps, encoded=False)]

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:
        if pictures.holds != self.reads:
            world = world_of(self.reads)
            raise SettingsError(f"the judge reads {world.title}, not '{pictures.name}': give --data {world.name}")
        if not self.sources:
            self.sources = [(torch.from_numpy(np.ascontiguousarray(found)).permute(0, 3, 1, 2), known) for found, known in self.painted()]

    def drawn(self, batch: Batch, step: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One step's pictures [B, 3, 64, 64] in [-1, 1], with artefacts, and what they show: a function of (seed, step)."""
        count, seed, device = self.settings.batch_size, self.settings.seed, batch.pictures.device
        images, known = [], []
        for (pictures, shown), size, stream in zip(self.sources, (count - count // 4, count // 4), ("64", "32"), strict=True):
            rows = torch.from_numpy(random.integers(len(pictures), seed, "order", stream, step, np.arange(size)))
            images.append(resized(to_float(pictures[rows]), SIDE))
            known.append([part[rows] for part in shown])
        order = torch.from_numpy(random.permutation(count, seed, "mix", step))
        spoiled = self.artefacts(torch.cat(images)[order], step).to(device).contiguous(memory_format=torch.channels_last)
        return spoiled, tuple(torch.cat(parts)[order].to(device) for parts in zip(*known, strict=True))

    def kept(self) -> dict[str, Tensor]:
        """The judge's weights in half precision."""
        return halved(self.judge)


def share_of_rate(progress: Progress) -> float:
    """The share of the learning rate in a step: up in a straight line, down along a cosine."""
    return warmed(progress, max(1, progress.steps // 20))


class Artefacts:
    """Makes painted pictures look as a generator's do, without changing what they show."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.fields = torch.from_numpy(random.normal((3, SIDE, SIDE), seed, "noise", np.arange(256)))
        axis = torch.linspace(-1, 1, SIDE)
        self.grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)

    def __call__(self, images: Tensor, step: int) -> Tensor:
        """[B, 3, 64, 64] in [-1, 1] -> the same shape: bent, recoloured slightly, softened and noisy, each by a random amount."""
        rows = np.arange(len(images))

        def draw(name: str, *shape: int) -> Tensor:
            count = math.prod(shape)
            parts = random.hash64(self.seed, name, step, rows)[:, None]
            return torch.from_numpy(random.uniform_of(parts, 0, count)).float().view(len(rows), *shape)

        bend = F.interpolate((draw("bend", 2, 5, 5) - 0.5) * draw("bend by", 1, 1, 1) * 0.16, size=SIDE, mode="bicubic", align_corners=True)
        images = F.grid_sample(images, self.grid + bend.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=True)
        images = self._soften(images, step)
        gain = 1.0 + (draw("gain", 1, 1, 1) - 0.5) * 0.2 + (draw("tint", 3, 1, 1) - 0.5) * 0.08
        images = images * gain + (draw("shift", 3, 1, 1) - 0.5) * 0.1
        chosen = torch.from_numpy(random.integers(len(self.fields), self.seed, "field", step, rows))
        offset = int(random.integers(SIDE, self.seed, "roll", step))
        noise = self.fields[chosen].roll((offset, 3 * offset), dims=(2, 3))
        return (images + noise * draw("noise", 1, 1, 1).square() * 0.2).clamp(-1, 1)

    def _soften(self, images: Tensor, step: int) -> Tensor:
        """Of every three rows one stays sharp, one goes through a lower resolution, one is blurred."""
        sharp, low, blurred = (images[start::3] for start in range(3))
        side = 28 + int(random.integers(SIDE - 28, self.seed, "side", step))
        low = resized(resized(low, side), SIDE)
        share = float(random.uniform(self.seed, "blur", step))
        blurred = blurred.lerp(F.avg_pool2d(F.pad(blurred, (1, 1, 1, 1), mode="replicate"), 3, stride=1), share)
        softened = torch.empty_like(images)
        for start, part in enumerate((sharp, low, blurred)):
            softened[start::3] = part
        return softened
