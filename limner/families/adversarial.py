"""What most methods train by: a generator against discriminators under one Adam, mismatched pairs, a gradient penalty now and then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.core.method import Method
from limner.core.optimizers import Adam
from limner.core.settings import above_zero, at_least
from limner.core.trainable import Phase, Player, Progress, Update
from limner.nn.penalties import zero_centred_penalty


@dataclass(frozen=True, kw_only=True)
class AdversarialSettings:
    """What every game of a generator against discriminators has."""

    noise_width: int = 100
    """Numbers in the noise vector z."""
    counterfactual: float = 0.0
    """Share of the mismatched pairs whose caption is wrong in exactly one attribute or word; 0 as published."""
    gradient_penalty: float = 0.0
    """Weight of R1, which keeps discriminators smooth around real pictures (Mescheder et al., ICML 2018); 0 as published."""
    penalty_every: int = 8
    """Steps between two gradient penalties, each that many times as heavy (Karras et al., CVPR 2020)."""
    learning_rate: float = 2e-4
    """Learning rate of every player's Adam."""
    beta1: float = 0.5
    """First-moment decay of every player's Adam."""
    halve_every: float = 0.0
    """Epochs after which the learning rate halves, again and again; 0 keeps it."""
    batch_size: int = 64
    """Pictures a step, over all processes."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "noise_width", "penalty_every")
        at_least(self, "method", 2, "batch_size")
        at_least(self, "method", 0, "gradient_penalty", "halve_every")
        above_zero(self, "method", "learning_rate")
        share(self, "counterfactual")
        if not 0.0 <= self.beta1 < 1.0:
            raise SettingsError(f"method.beta1 is {self.beta1}, but must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class NormalizedSettings(AdversarialSettings):
    """With discriminators that normalise batches, unless they are told not to."""

    discriminator_normalization: bool = True
    """Batch normalisation in discriminators, as published; without it, their convolutions have biases and start as He et al. advise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gradient_penalty and self.discriminator_normalization:
            raise SettingsError("method.gradient-penalty wants each picture judged by itself: add --method.no-discriminator-normalization")


@dataclass(frozen=True, kw_only=True)
class PairSettings(NormalizedSettings):
    """With sentences, and real pictures beside sentences that do not describe them."""

    captions: int = 1
    """Captions of a picture whose mean embedding is the condition."""
    mismatch: Literal["picture", "caption"] = "picture"
    """What is exchanged in a mismatched pair: the picture, as published, or the caption, which saves a pass over pictures."""
    epochs: float = 600.0
    """Passes over the training pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, "method", 1, "captions")
        above_zero(self, "method", "epochs")


@dataclass(frozen=True, kw_only=True)
class WeightedPairSettings(PairSettings):
    """With a weight for the mismatched pairs."""

    mismatch_weight: float = 0.5
    """Weight w of the mismatched pair in the discriminators' loss, 1 - w for the generated pair; 0 trains without it (no CLS)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self, "mismatch_weight")
        if self.counterfactual and not self.mismatch_weight:
            raise SettingsError("method.counterfactual needs mismatched pairs: set method.mismatch-weight above 0 or this to 0")


def share(settings: Any, name: str) -> None:
    """Raise SettingsError where a method's setting is no number from 0 to 1."""
    value = getattr(settings, name)
    if not 0.0 <= value <= 1.0:
        raise SettingsError(f"method.{name.replace('_', '-')} is {value}, but must lie between 0 and 1")


class AdversarialMethod(Method):
    """Players and schedule by the settings above. Methods build `generator` and `discriminator`, or name other `players`."""

    settings: AdversarialSettings
    generator: nn.Module
    discriminator: nn.Module

    def player(self, module: nn.Module, *, averaged: bool = False) -> Player:
        """Networks that play under the game's Adam and schedule; averaged: whether they paint."""
        optimizer = Adam(learning_rate=self.settings.learning_rate, betas=(self.settings.beta1, 0.999))
        factor = self._halving if self.settings.halve_every else None
        return Player(module=module, optimizer=optimizer, learning_rate_factor=factor, averaged=averaged)

    def _halving(self, progress: Progress) -> float:
        return 0.5 ** (progress.epoch // self.settings.halve_every)

    def players(self) -> dict[str, Player]:
        return {"discriminator": self.player(self.discriminator), "generator": self.player(self.generator, averaged=True)}

    def phase(self, **more: Any) -> Phase:
        """The game's phase, "gan", at the full resolution; more: what else `Phase` takes, its length for one."""
        settings = self.settings
        own = {"name": "gan", "resolution": self.conditions.resolution, "batch_size": settings.batch_size}
        return Phase(**{**own, "counterfactual": settings.counterfactual > 0, **more})

    def penalty(self, progress: Progress) -> float:
        """Weight of R1 in this step, which is 0 in most."""
        settings = self.settings
        return settings.gradient_penalty * settings.penalty_every if progress.step % settings.penalty_every == 0 else 0.0


class PairMethod(AdversarialMethod):
    """A game of one phase with sentences."""

    settings: PairSettings

    def phases(self) -> list[Phase]:
        return [self.phase(epochs=self.settings.epochs, captions=self.settings.captions)]


def smoothed(update: Update, weight: float, *seen: tuple[Callable[[Tensor], Tensor], Tensor]) -> Update:
    """A discriminator's turn with R1, where its weight is not 0.

    seen: verdicts, each from pictures [B, 3, R, R] to logits [B], and the real pictures whose penalties are added up.
    """
    if not weight:
        return update
    penalty = torch.stack([zero_centred_penalty(verdict, pictures) for verdict, pictures in seen]).sum()
    return added(update, weight * penalty, {"penalty": penalty.detach()})


def added(update: Update, loss: Tensor, metrics: dict[str, Tensor]) -> Update:
    """A turn with one more term in its loss, and more in the log."""
    return replace(update, loss=update.loss + loss, metrics={**update.metrics, **metrics})
