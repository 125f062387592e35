"""The judge of bouquets: a network that finds the flowers of a picture and reads each, and which of two is in front.

It learns from bouquets without any rule, so that it expects no combination of flowers and no relation, from a garden of its own seed, and,
as the judge of single flowers does, from pictures that are blurred, bent, noisy and of lower resolution too.
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
from limner.data.garden import ATTRIBUTES
from limner.data.garden.bouquets import Bouquets
from limner.features.bouquet_judge import GRID, SIDE, SceneJudge
from limner.features.network import resized, to_float
from limner.parts.garden_judge import Artefacts

PHASE = "judge"
HIDDEN = 0.02
"""Which of two flowers is in front is learned where this share of the other is hidden."""
_NAMES = tuple(ATTRIBUTES)


@dataclass(frozen=True, kw_only=True)
class BouquetJudgeSettings:
    """How the judge is trained; the defaults are those of the one that ships."""

    steps: int = 3600
    """Steps of training."""
    batch_size: int = 48
    """Pictures a step; a quarter of them are painted at 32 px."""
    pictures: int = 24_000
    """Bouquets painted for training; a quarter of them at 32 px."""
    learning_rate: float = 3e-3
    """Highest learning rate of AdamW, reached after a twentieth of the steps and lowered to 0 along a cosine."""
    weight_decay: float = 0.02
    """Weight decay of AdamW."""
    split: str = "all"
    """Split of the bouquets to learn from; `all` alone has every flower beside every other, in every relation."""
    seed: int = 7001
    """Decides the pictures (another garden than any that runs are likely to use) and their order."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "steps")
        at_least(self, "method", 8, "batch_size", "pictures")
        at_least(self, "method", 0, "weight_decay")
        above_zero(self, "method", "learning_rate")


@dataclass(frozen=True)
class Truth:
    """What training pictures show, as tensors of [N, 4] places, the rearmost flower first."""

    there: Tensor
    """[N, 4] bool."""
    codes: Tensor
    """[N, 4, 6]."""
    places: Tensor
    """[N, 4, 2] centres as shares."""
    radii: Tensor
    """[N, 4]."""
    reach: Tensor
    """[N, 4, 4] how far each blossom reaches from its centre to the left, top, right and bottom."""
    hides: Tensor
    """[N, 4, 4] bool: whether the second hides a part of the first."""

    def __getitem__(self, rows: Tensor) -> Truth:
        return Truth(self.there[rows], self.codes[rows], self.places[rows], self.radii[rows], self.reach[rows], self.hides[rows])

    def to(self, device: torch.device) -> Truth:
        """The same on another device."""
        parts = (self.there, self.codes, self.places, self.radii, self.reach, self.hides)
        return Truth(*(part.to(device) for part in parts))

    @classmethod
    def of(cls, bouquets: Bouquets) -> Truth:
        """What all pictures of a set show."""
        found = bouquets.bouquets(np.arange(len(bouquets)))
        places = torch.from_numpy(np.stack([found.x, found.y], 2)).float()
        near = torch.from_numpy(found.boxes).float()
        reach = torch.cat([places - near[..., :2], near[..., :2] + near[..., 2:] - places], 2)
        hides = torch.from_numpy(found.hides >= HIDDEN)
        return cls(
            torch.from_numpy(found.there), torch.from_numpy(found.codes), places, torch.from_numpy(found.radius).float(), reach, hides
        )


class BouquetJudge(Trainable):
    """Trains a `SceneJudge` on pictures that it paints itself: at 64 px, and a third as many at 32 px.

    The run's data must be the bouquets, for the run's record; the training pictures are of the settings' own split and seed.
    """

    kind = "scene judge"
    Settings: ClassVar[type] = BouquetJudgeSettings
    title: ClassVar[str] = "Judge of bouquets"
    paper: ClassVar[str] = "nobody's publication: a part of Limner, after Zhou et al., Objects as Points, 2019 (arXiv:1904.07850)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "as-published": Preset(sentence="The judge that ships with Limner.", resolution=SIDE, training={"ema_half_life": 0.0}),
        "cpu": Preset(sentence="The same: 15 to 20 minutes of one core, by estimate.", resolution=SIDE, training={"ema_half_life": 0.0}),
    }
    settings: BouquetJudgeSettings

    def __init__(self, settings: BouquetJudgeSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        if conditions.resolution != SIDE:
            raise SettingsError(f"the judge reads pictures of {SIDE} px: leave --resolution out, or give {SIDE}")
        self.judge = SceneJudge(ATTRIBUTES)
        self.judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # half as fast again on a processor
        self.artefacts = Artefacts(settings.seed)
        self.sources: list[tuple[Tensor, Truth]] = []

    @classmethod
    def reads_text(cls, settings: Any) -> bool:
        return False

    def players(self) -> dict[str, Player]:
        settings = self.settings
        optimizer = Adam(
            learning_rate=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay, decoupled=True, decays_vectors=True
        )
        player = Player(module=self.judge, optimizer=optimizer, learning_rate_factor=_share_of_rate, gradient_clip=5.0, kept=True)
        return {"judge": player}

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [Phase(name=PHASE, resolution=SIDE, batch_size=settings.batch_size, steps=settings.steps, encoded=False)]

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:
        if pictures.name != "garden-bouquets":
            raise SettingsError(f"the judge reads the garden's bouquets, not '{pictures.name}': give --data garden-bouquets")
        if not self.sources:
            for bouquets in training_bouquets(self.settings):
                painted = torch.from_numpy(bouquets.pictures(np.arange(len(bouquets)))).permute(0, 3, 1, 2)
                self.sources.append((painted, Truth.of(bouquets)))

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        images, truth = self._drawn(progress.step)
        device = batch.pictures.device
        shown = self.artefacts(images, progress.step).to(device).contiguous(memory_format=torch.channels_last)
        truth = truth.to(device)
        found, _, ground = self.judge.seen(shown)
        rows, which = truth.there.nonzero(as_tuple=True)
        places, radii = truth.places[rows, which], truth.radii[rows, which]
        losses = {"where": where_loss(found, truth)}
        losses["background"] = F.cross_entropy(ground, truth.codes[:, 0, _NAMES.index("background")])
        drawn = self._jitter(len(rows), progress.step).to(device)  # the network finds places and radii nearly, not exactly
        logits = self.judge.attributes_of(shown, rows, places + (drawn[:, :2] - 0.5) * 0.03, radii * (0.9 + 0.2 * drawn[:, 2]))
        figures = {}
        for name, values in logits.items():
            codes = truth.codes[rows, which, _NAMES.index(name)]
            losses[name] = F.cross_entropy(values, codes)
            figures[f"{name}_right"] = (values.argmax(1) == codes).float().mean()
        losses["depth"], figures["depth_right"] = self._depth(shown, truth, drawn)
        yield Update(
            "judge", torch.stack(list(losses.values())).sum(), figures | {f"loss_{name}": losses[name] for name in ("where", "depth")}
        )

    def _depth(self, shown: Tensor, truth: Truth, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of who is in front, over all pairs that touch, each seen from both sides; and the share of right answers."""
        rows, back, front = truth.hides.nonzero(as_tuple=True)
        if not len(rows):
            return shown.new_zeros(()), shown.new_ones(())
        nudge = (drawn[torch.arange(2 * len(rows), device=shown.device) % len(drawn), 3:5] - 0.5) * 0.02
        first, second = truth.places[rows, front] + nudge[: len(rows)], truth.places[rows, back] + nudge[len(rows) :]
        logits = self.judge.in_front(shown, rows.repeat(2), torch.cat([first, second]), torch.cat([second, first]))
        wins, losing = logits.chunk(2)
        return F.softplus(torch.cat([-wins, losing])).mean(), (wins > losing).float().mean()

    def _jitter(self, count: int, step: int) -> Tensor:
        parts = random.hash64(self.settings.seed, "jitter", step, np.arange(count))[:, None]
        return torch.from_numpy(random.uniform_of(parts, 0, 5)).float()

    def kept(self) -> dict[str, Tensor]:
        """The judge's weights in half precision."""
        return {name: value.half() if value.is_floating_point() else value for name, value in self.judge.state_dict().items()}

    def summary(self) -> str:
        return "Finds the flowers of a bouquet, and reads the attributes of each and which of two is in front."

    def usage(self) -> str:
        return "```\nlimner evaluate PATH\nlimner evaluate RUN --scene-judge PATH\n```\n"

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        return (("score", "limner evaluate OTHER_RUN --scene-judge RUN"),)

    def description(self) -> dict[str, Any]:
        return {"attributes": self.judge.attributes, "background": self.judge.background}

    def _drawn(self, step: int) -> tuple[Tensor, Truth]:
        """One step's pictures [B, 3, 64, 64] in [-1, 1] and what they show: a function of (seed, step)."""
        count, seed = self.settings.batch_size, self.settings.seed
        images, truths = [], []
        for (pictures, truth), size, stream in zip(self.sources, (count - count // 4, count // 4), ("64", "32"), strict=True):
            rows = torch.from_numpy(random.integers(len(pictures), seed, "order", stream, step, np.arange(size)))
            images.append(resized(to_float(pictures[rows]), SIDE))
            truths.append(truth[rows])
        order = torch.from_numpy(random.permutation(count, seed, "mix", step))
        joined = Truth(*(torch.cat(parts)[order] for parts in zip(*(vars(truth).values() for truth in truths), strict=True)))
        return torch.cat(images)[order], joined


def where_loss(found: Tensor, truth: Truth) -> Tensor:
    """The loss of a map [B, 8, 16, 16]: which cells hold a flower (the focal loss of Law and Deng, CornerNet, ECCV 2018, equation 1), and
    in those cells by how much place, radius and reach are wrong.
    """
    rows, which = truth.there.nonzero(as_tuple=True)
    places = truth.places[rows, which]
    cells = (places * GRID).long().clamp(0, GRID - 1)
    chance = found[:, 0].sigmoid().clamp(1e-4, 1.0 - 1e-4)
    held = torch.zeros_like(chance, dtype=torch.bool)
    held[rows, cells[:, 1], cells[:, 0]] = True
    hits = (1.0 - chance).square() * chance.log()
    misses = (1.0 - _peaks(truth)).pow(4) * chance.square() * (1.0 - chance).log()
    focal = -torch.where(held, hits, misses).sum() / max(len(rows), 1)
    values = found[rows, 1:, cells[:, 1], cells[:, 0]]  # [n, 7]
    offset = (values[:, :2] - (places * GRID - cells)).abs().mean()
    radius, reach = (values[:, 2] - truth.radii[rows, which]).abs().mean(), (values[:, 3:] - truth.reach[rows, which]).abs().mean()
    return focal + offset + 10.0 * (radius + reach)


def _peaks(truth: Truth) -> Tensor:
    """How near each cell's centre is to a flower: bells of 1 at the flowers, [B, 16, 16]."""
    centres = torch.arange(GRID, device=truth.places.device) + 0.5
    x, y = ((centres - values[..., None] * GRID).square() for values in truth.places.unbind(2))  # [B, 4, 16] each
    bells = torch.exp(-(y[..., :, None] + x[..., None, :]) / (2.0 * 0.8**2))
    return (bells * truth.there[..., None, None]).amax(1)


def _share_of_rate(progress: Progress) -> float:
    warm = max(1, progress.steps // 20)
    if progress.step < warm:
        return (progress.step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (progress.step - warm) / max(1, progress.steps - warm)))


def training_bouquets(settings: BouquetJudgeSettings) -> list[Bouquets]:
    """The bouquets that a judge learns from: at 64 px, and a third as many pictures at 32 px, of the next seed."""
    small = settings.pictures // 4
    parts = ((settings.seed, settings.pictures - small, SIDE), (settings.seed + 1, small, SIDE // 2))
    return [Bouquets(split=settings.split, seed=seed, length=length, resolution=side) for seed, length, side in parts]


__all__ = ["BouquetJudge", "BouquetJudgeSettings", "training_bouquets", "where_loss"]
