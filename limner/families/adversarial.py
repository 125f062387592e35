"""How most methods are trained: a generator against discriminators, one Adam for all players, R1 in some of the steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from limner.core.method import Method
from limner.core.noise import NoiseType
from limner.core.optimizers import Adam, Optimizer
from limner.core.trainable import Phase, Player, Progress, Update
from limner.families.settings import ClipSettings, fewest
from limner.nn.penalties import zero_centred_penalty


class AdversarialMethod(Method[NoiseType]):
    """Players, phase and gradient penalty. Methods build `generator` and `discriminator`, or name other `players`.

    Their settings have `batch_size`, `counterfactual`, and the fields of `AdamSettings`, `HalvingSettings` and `PenaltySettings`.
    """

    settings: Any
    generator: nn.Module
    discriminator: nn.Module

    def player(self, module: nn.Module, *, averaged: bool = False) -> Player:
        """A player under the optimiser, the schedule and the bound on gradients of the settings. averaged: whether it paints."""
        clip = self.settings.gradient_clip if isinstance(self.settings, ClipSettings) else 0.0
        factor = self.learning_rate_factor()
        return Player(module=module, optimizer=self.optimizer(), learning_rate_factor=factor, averaged=averaged, gradient_clip=clip or None)

    def optimizer(self) -> Optimizer:
        """The optimiser of each player."""
        return Adam(learning_rate=self.settings.learning_rate, betas=(self.settings.beta1, 0.999))

    def learning_rate_factor(self) -> Callable[[Progress], float] | None:
        """What the learning rates are multiplied by, or None where they stay: halved every `halve_every` epochs."""
        every = self.settings.halve_every
        return (lambda progress: 0.5 ** (progress.epoch // every)) if every else None

    def players(self) -> dict[str, Player]:
        return {"discriminator": self.player(self.discriminator), "generator": self.player(self.generator, averaged=True)}

    def phase(self, **more: Any) -> Phase:
        """The only phase, "gan", at the full resolution. more: other fields of `Phase`, such as its length."""
        settings = self.settings
        own = {"name": "gan", "resolution": self.conditions.resolution, "batch_size": settings.batch_size}
        own["fewest"] = fewest(settings) if self.reads_text(settings) else 1
        return Phase(**{**own, "counterfactuals": int(settings.counterfactual > 0), **more})

    def penalty(self, progress: Progress) -> float:
        """Weight of R1 in this step; 0 in most steps."""
        settings = self.settings
        weight: float = settings.gradient_penalty * settings.penalty_every
        return weight if progress.step % settings.penalty_every == 0 else 0.0


class PairMethod(AdversarialMethod[NoiseType]):
    """One phase of training with sentences; the settings have the fields of `ScheduleSettings` and `CaptionSettings`, too."""

    def phases(self) -> list[Phase]:
        return [self.phase(epochs=self.settings.epochs, captions=self.settings.captions)]


def smoothed(update: Update, weight: float, *seen: tuple[Callable[[Tensor], Tensor], Tensor]) -> Update:
    """A discriminator's update with R1 added to its loss, or the same update where the weight is 0.

    seen: pairs of a function from pictures [B, 3, R, R] to logits [B], and the real pictures [B, 3, R, R] at which it is penalised; the
    penalties are summed.
    """
    if not weight:
        return update
    penalty = torch.stack([zero_centred_penalty(verdict, pictures) for verdict, pictures in seen]).sum()
    return added(update, weight * penalty, {"penalty": penalty.detach()})


def added(update: Update, loss: Tensor, metrics: dict[str, Tensor]) -> Update:
    """An update with one more term in its loss, and more metrics in the log."""
    return replace(update, loss=update.loss + loss, metrics={**update.metrics, **metrics})
