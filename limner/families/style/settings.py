"""The settings of StyleGAN2's networks and training, which methods that build on it share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from limner.core.errors import SettingsError
from limner.core.settings import above_zero, at_least
from limner.families import settings as shared
from limner.families.augmentation import ChangeSettings


@dataclass(frozen=True, kw_only=True)
class StyleSettings(ChangeSettings, shared.ScheduleSettings):
    """Sizes, losses and schedule; the defaults are those of the paper's configuration F."""

    noise_width: int = 512
    """Numbers in the latent z."""
    style_width: int = 512
    """Numbers in a style w."""
    mapping_layers: int = 8
    """Layers of the mapping network from z to w."""
    channel_base: int = 32_768
    """Channels of a map, times its side: maps of 256 px have 128 channels, maps of 128 px twice as many."""
    channel_limit: int = 512
    """The most channels of a map."""
    mixing: float = 0.9
    """Share of the steps in which pictures have two latents, mixed at a random layer."""
    gradient_penalty: float = 10.0
    """Weight of R1, which keeps the discriminator smooth around real pictures."""
    penalty_every: int = 16
    """Steps between two gradient penalties, whose weight is multiplied by it."""
    path_weight: float = 2.0
    """Weight of path-length regularisation; 0 trains without it."""
    path_every: int = 4
    """Steps between two path-length penalties, whose weight is multiplied by it."""
    path_shrink: int = 2
    """Factor by which the batch is reduced for a path-length penalty."""
    deviation_group: int = 4
    """Pictures that minibatch deviation compares with each other; a process's part of a batch is a multiple of it, or smaller."""
    learning_rate: float = 2e-3
    """Learning rate of both players' Adam; that of mapping layers is a hundredth of it."""
    beta1: float = 0.0
    """First-moment decay of both players' Adam."""
    beta2: float = 0.99
    """Second-moment decay of both players' Adam."""
    cool_from: float = 1.0
    """Share of the phase's budget, in steps or in minutes, after which both players' learning rates fall to 0 along a half cosine; 1 keeps
    them, as published."""
    truncation: float = 1.0
    """When painting: how far a style stays from the mean style. Below 1 pictures are more typical and more alike; 0 paints the mean."""
    truncation_layers: int | None = None
    """When painting: how many layers' styles are truncated, the coarsest first; none for all."""
    map_noise: float = 1.0
    """When painting: how strong the noise of the maps is, as a share of what was learned. 0 paints without it: smoother, and one picture a
    style."""
    epochs: float = 357.0
    """Passes over the training pictures; 25 million pictures, for FFHQ's 70,000."""
    batch_size: int = 32
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 1, "noise_width", "style_width", "mapping_layers", "channel_base", "channel_limit")
        at_least(self, "method", 1, "penalty_every", "path_every", "path_shrink", "deviation_group")
        at_least(self, "method", 0, "gradient_penalty", "path_weight", "map_noise", "truncation", "truncation_layers")
        above_zero(self, "method", "learning_rate")
        shared.share(self, "mixing", "cool_from")
        shared.below_one(self, "beta1", "beta2")
        if self.batch_size > self.deviation_group and self.batch_size % self.deviation_group:
            wanted = f"must be a multiple of method.deviation-group, {self.deviation_group}"
            raise SettingsError(f"method.batch-size is {self.batch_size}, but {wanted}")


SMALL: dict[str, Any] = {
    "noise_width": 64,
    "style_width": 128,
    "mapping_layers": 4,
    "channel_base": 512,
    "channel_limit": 128,
    "path_every": 8,
    "learning_rate": 8e-3,
    "cool_from": 0.75,
    "batch_size": 16,
}
"""Networks for two CPU cores, and their rates, which presets `cpu` share: a generator that one method has trained can be taken over by
another."""
