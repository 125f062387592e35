"""The judge of bouquets: a network that finds the flowers of a picture and reads each, and which of two is in front.

It learns from bouquets without any rule, so that it expects no combination of flowers and no relation. What it shares with the judge of
single flowers is in `limner.families.judges`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core import random
from limner.core.batch import Batch
from limner.core.trainable import Progress, Update
from limner.core.worlds import Holds
from limner.data.garden import ATTRIBUTES
from limner.data.garden.bouquets import Bouquets
from limner.families.judges import JudgeSettings, Painted, WorldJudge, presets
from limner.features.bouquet_judge import GRID, SceneJudge

HIDDEN = 0.02
"""Which of two flowers is in front is learned where this share of the other is hidden."""
_NAMES = tuple(ATTRIBUTES)


@dataclass(frozen=True, kw_only=True)
class BouquetJudgeSettings(JudgeSettings):
    """How the judge is trained; the defaults are those of the one that ships."""

    steps: int = 3600
    """Steps of training."""
    batch_size: int = 48
    """Pictures a step; a quarter of them are painted at 32 px."""
    split: str = "all"
    """Split of the bouquets to learn from; `all` alone has every flower next to every other, in every relation."""


class Truth(NamedTuple):
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


class BouquetJudge(WorldJudge):
    """Trains a `SceneJudge`."""

    kind = "scene judge"
    Settings: ClassVar[type] = BouquetJudgeSettings
    title: ClassVar[str] = "Judge of bouquets"
    world = "garden-bouquets"
    paper: ClassVar[str] = "nobody's publication: a part of Limner, after Zhou et al., Objects as Points, 2019 (arXiv:1904.07850)"
    presets = presets("15 to 20 minutes of one core, by estimate")
    reads: ClassVar[Holds] = "scenes"
    gradient_clip: ClassVar[float | None] = 5.0
    judge: SceneJudge

    @staticmethod
    def network() -> SceneJudge:
        return SceneJudge(ATTRIBUTES)

    def painted(self) -> list[Painted]:
        return [(bouquets.pictures(np.arange(len(bouquets))), Truth.of(bouquets)) for bouquets in self.settings.worlds(Bouquets)]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        shown, parts = self.drawn(batch, progress.step)
        truth = Truth(*parts)
        found, _, ground = self.judge.seen(shown)
        rows, which = truth.there.nonzero(as_tuple=True)
        places, radii = truth.places[rows, which], truth.radii[rows, which]
        losses = {"where": where_loss(found, truth)}
        losses["background"] = F.cross_entropy(ground, truth.codes[:, 0, _NAMES.index("background")])
        drawn = self._jitter(len(rows), progress.step).to(shown.device)  # the network finds places and radii nearly, not exactly
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

    def summary(self) -> str:
        return "Finds the flowers of a bouquet, and reads the attributes of each and which of two is in front."

    def usage(self) -> str:
        return "```\nlimner evaluate PATH\nlimner evaluate RUN --scene-judge PATH\n```\n"

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        return (("score", "limner evaluate OTHER_RUN --scene-judge RUN"),)

    def description(self) -> dict[str, Any]:
        return {"attributes": self.judge.attributes, "background": self.judge.background}


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


__all__ = ["BouquetJudge", "BouquetJudgeSettings", "Truth", "where_loss"]
