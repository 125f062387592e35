"""The judge of garden pictures: a small network that reads attributes.

It learns from all combinations of colour and shape, each as likely as the others, from a garden of its own seed. Trained on the train split
alone it also learns that some colours never come with some shapes: after 600 steps it read 99.5 % of the shapes of train combinations and
70 % of held-out ones. A judge of zero-shot pictures must not expect any answer. Generated pictures are softer and noisier than painted
ones, so it learns from pictures that are blurred, bent, noisy and of lower resolution too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core import random
from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.optimizers import Adam
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Preset, above_zero, at_least
from limner.core.trainable import Conditions, Phase, Player, Progress, Trainable, Update
from limner.data.garden import ATTRIBUTES, Garden
from limner.features.garden_judge import SIDE, AttributeJudge
from limner.features.network import resized, to_float

PHASE = "judge"


@dataclass(frozen=True, kw_only=True)
class GardenJudgeSettings:
    """How the judge is trained; the defaults are those of the one that ships."""

    steps: int = 2000
    """Steps of training."""
    batch_size: int = 64
    """Pictures a step; a quarter of them are painted at 32 px."""
    pictures: int = 24_000
    """Garden pictures painted for training; a quarter of them at 32 px."""
    learning_rate: float = 3e-3
    """Highest learning rate of AdamW, reached after a twentieth of the steps and lowered to 0 along a cosine."""
    weight_decay: float = 0.02
    """Weight decay of AdamW."""
    split: str = "all"
    """Split of the garden to learn from; `all` alone makes colour and shape independent."""
    seed: int = 7001
    """Decides the pictures (another garden than any that runs are likely to use) and their order."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "steps")
        at_least(self, "method", 8, "batch_size", "pictures")
        at_least(self, "method", 0, "weight_decay")
        above_zero(self, "method", "learning_rate")


class GardenJudge(Trainable):
    """Trains an `AttributeJudge` on pictures that it paints itself: at 64 px, and a third as many at 32 px.

    The run's data must be the garden, for validation; the training pictures are of the settings' own split and seed.
    """

    kind = "judge"
    Settings: ClassVar[type] = GardenJudgeSettings
    title: ClassVar[str] = "Judge of garden attributes"
    paper: ClassVar[str] = "nobody's publication: a part of Limner"
    presets: ClassVar[Mapping[str, Preset]] = {
        "as-published": Preset(sentence="The judge that ships with Limner.", resolution=SIDE, training={"ema_half_life": 0.0}),
        "cpu": Preset(sentence="The same: four minutes of one core.", resolution=SIDE, training={"ema_half_life": 0.0}),
    }
    settings: GardenJudgeSettings

    def __init__(self, settings: GardenJudgeSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        if conditions.resolution != SIDE:
            raise SettingsError(f"the judge reads pictures of {SIDE} px: leave --resolution out, or give {SIDE}")
        self.judge = AttributeJudge(ATTRIBUTES)
        self.judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # half as fast again on a processor
        self.artefacts = Artefacts(settings.seed)
        self.sources: list[tuple[Tensor, Tensor]] = []

    @classmethod
    def reads_text(cls, settings: Any) -> bool:
        return False

    def players(self) -> dict[str, Player]:
        settings = self.settings
        optimizer = Adam(
            learning_rate=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay, decoupled=True, decays_vectors=True
        )
        return {"judge": Player(module=self.judge, optimizer=optimizer, learning_rate_factor=self._share_of_rate, kept=True)}

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [Phase(name=PHASE, resolution=SIDE, batch_size=settings.batch_size, steps=settings.steps, encoded=False)]

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:
        if pictures.name != "garden":
            raise SettingsError(f"the judge reads garden pictures, not those of '{pictures.name}': give --data garden")
        if not self.sources:
            for garden in training_gardens(self.settings):
                indices = np.arange(len(garden))
                painted = torch.from_numpy(np.ascontiguousarray(garden.pictures(indices))).permute(0, 3, 1, 2)
                self.sources.append((painted, torch.from_numpy(garden.attribute_codes(indices))))

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        images, codes = self._drawn(progress.step)
        device = batch.pictures.device
        shown = self.artefacts(images, progress.step).to(device).contiguous(memory_format=torch.channels_last)
        reading = self.judge.read(shown)
        codes = codes.to(device)
        losses = [F.cross_entropy(reading.logits[name], codes[:, column]) for column, name in enumerate(ATTRIBUTES)]
        right = {
            f"{name}_right": (read == codes[:, column]).float().mean() for column, (name, read) in enumerate(reading.codes().items())
        }
        yield Update("judge", torch.stack(losses).sum(), right)

    def kept(self) -> dict[str, Tensor]:
        """The judge's weights in half precision."""
        return {name: value.half() if value.is_floating_point() else value for name, value in self.judge.state_dict().items()}

    def summary(self) -> str:
        return f"Reads {len(ATTRIBUTES)} attributes of a garden picture."

    def usage(self) -> str:
        return "```\nlimner evaluate PATH\nlimner evaluate RUN --features garden=PATH\n```\n"

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        return (("score", "limner evaluate OTHER_RUN --features garden=RUN"),)

    def description(self) -> dict[str, Any]:
        return {"attributes": self.judge.attributes, "classes": self.judge.classes}

    def _drawn(self, step: int) -> tuple[Tensor, Tensor]:
        """One step's pictures [B, 3, 64, 64] in [-1, 1] and codes [B, 6]: a function of (seed, step)."""
        count, seed = self.settings.batch_size, self.settings.seed
        parts = []
        for (pictures, codes), size, stream in zip(self.sources, (count - count // 4, count // 4), ("64", "32"), strict=True):
            rows = torch.from_numpy(random.integers(len(pictures), seed, "order", stream, step, np.arange(size)))
            parts.append((resized(to_float(pictures[rows]), SIDE), codes[rows]))
        order = torch.from_numpy(random.permutation(count, seed, "mix", step))
        return torch.cat([part[0] for part in parts])[order], torch.cat([part[1] for part in parts])[order]

    def _share_of_rate(self, progress: Progress) -> float:
        warm = max(1, progress.steps // 20)
        if progress.step < warm:
            return (progress.step + 1) / warm
        return 0.5 * (1.0 + math.cos(math.pi * (progress.step - warm) / max(1, progress.steps - warm)))


def training_gardens(settings: GardenJudgeSettings) -> list[Garden]:
    """The gardens that a judge learns from: at 64 px, and a third as many pictures at 32 px, of the next seed."""
    small = settings.pictures // 4
    parts = ((settings.seed, settings.pictures - small, SIDE), (settings.seed + 1, small, SIDE // 2))
    return [Garden(split=settings.split, seed=seed, length=length, resolution=side) for seed, length, side in parts]


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
