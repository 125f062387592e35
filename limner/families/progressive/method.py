"""What methods that grow share: a phase for each side, and how far the newest block has faded in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from limner.core.errors import SettingsError
from limner.core.method import Method
from limner.core.noise import NoiseType
from limner.core.optimizers import Adam
from limner.core.trainable import Conditions, Phase, Player, Update
from limner.families.adversarial import added, smoothed
from limner.families.progressive.growing import phase_name
from limner.families.progressive.losses import wasserstein_penalty
from limner.families.stacked import doublings

Number = TypeVar("Number", int, float)


class GrowingMethod(Method[NoiseType]):
    """Players, the course of phases, and the penalty. Methods build `generator` and `discriminator`, networks with `train_at`.

    Their settings have the fields of `CriticSettings`, `learning_rate`, `beta1`, `beta2`, `batch_sizes` and `shares`.

    name: the method's name, for error messages. depth: how many times the pictures that are painted now have been doubled from 4 px; alpha:
    how far the newest block has faded in.
    """

    first_depth: ClassVar[int] = 0
    """The depth of the first phase, whose blocks do not fade in."""
    settings: Any
    generator: Any
    discriminator: Any
    depth: int
    alpha: float

    def __init__(self, settings: Any, conditions: Conditions, name: str) -> None:
        super().__init__(settings, conditions)
        self.doublings = doublings(conditions.resolution, name, smallest=4 << self.first_depth)
        self.register_state("depth", self.doublings)
        self.register_state("alpha", 1.0)

    @property
    def resolution(self) -> int:
        return 4 << self.depth

    def players(self) -> dict[str, Player]:
        settings = self.settings
        optimizer = Adam(learning_rate=settings.learning_rate, betas=(settings.beta1, settings.beta2))
        return {
            "discriminator": Player(module=self.discriminator, optimizer=optimizer),
            "generator": Player(module=self.generator, optimizer=optimizer, averaged=True),
        }

    def depths(self) -> range:
        """The depth of each phase."""
        return range(self.first_depth, self.doublings + 1)

    def phase(self, depth: int, **more: Any) -> Phase:
        """The phase of a depth. more: other fields of `Phase`, such as its length."""
        settings = self.settings
        size, share = self.number_of(settings.batch_sizes, depth), self.number_of(settings.shares, depth)
        return Phase(**{"name": phase_name(depth), "resolution": 4 << depth, "batch_size": size, "share": share, **more})

    def number_of(self, numbers: Sequence[Number], depth: int) -> Number:
        """The number of a phase: the last one for the full size, the first one for all that have none of their own."""
        return numbers[max(len(numbers) - 1 - (self.doublings - depth), 0)]

    def sized(self, phase: Phase, batch_size: int) -> int:
        largest = max(other.batch_size for other in self.phases())
        return max(round(batch_size * phase.batch_size / largest), 2)

    def begin(self, phase: Phase) -> None:
        super().begin(phase)
        depth = phase.resolution.bit_length() - 3
        if depth != self.depth:
            self.depth, self.alpha = depth, 0.0 if depth > self.first_depth else 1.0
        self.generator.train_at(depth)
        self.discriminator.train_at(depth)

    def penalised(self, update: Update, scores: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, step: int) -> Update:
        """The discriminator's update with the gradient penalty of its loss, in the steps that have one.

        scores: pictures [B, 3, R, R] -> [B]; real, fake: the pictures that the update is about.
        """
        settings = self.settings
        weight = settings.gradient_penalty * settings.penalty_every if step % settings.penalty_every == 0 else 0.0
        if settings.loss != "wgan-gp":
            return smoothed(update, weight, (scores, real))
        if not weight:
            return update
        penalty = wasserstein_penalty(scores, real, fake, torch.rand(len(fake), 1, 1, 1, device=fake.device), settings.penalty_norm)
        return added(update, weight * penalty, {"penalty": penalty.detach()})


def check_numbers(settings: Any, **bounds: float) -> None:
    """Raise SettingsError where a setting that holds a number for each size has none, or one that is not above its bound."""
    for name, bound in bounds.items():
        values = getattr(settings, name)
        if not values or not all(bound < value < math.inf for value in values):
            wanted = f"{bound + 1:g} or more" if bound else "above 0"
            raise SettingsError(f"method.{name.replace('_', '-')} is {list(values)}: give one number or one for each size, {wanted}")
