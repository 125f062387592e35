"""Settings that growing methods share."""

from __future__ import annotations

from dataclasses import dataclass

from limner.core.settings import at_least
from limner.families.progressive.layers import Scaling
from limner.families.progressive.losses import Loss, Norm
from limner.families.settings import Checked


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(Checked):
    """The sizes of a growing generator and discriminator, and how the versions of their layers differ."""

    channels: int = 512
    """Channels of the first blocks' maps."""
    full_blocks: int = 4
    """How many blocks have that many; later ones have half as many each time."""
    scaling: Scaling = "unit"
    """Scale of every layer: `unit` as in pro_gan_pytorch 1.x, or `he`, sqrt(2) times as large, as in the paper and later versions."""
    normalize_latent: bool = False
    """Begin the generator with pixel norm of the latent, as in the paper and pro_gan_pytorch 3.x."""
    colour_activation: bool = False
    """Let a LeakyReLU follow the discriminator's first 1x1 convolution, as in the paper and pro_gan_pytorch 3.x."""
    minibatch_deviation: bool = True
    """Show the discriminator how much the pictures of a batch differ."""
    deviation_group: int | None = None
    """Pictures that are compared with each other for that; none for the whole batch, 4 in pro_gan_pytorch 3.x."""

    def check(self) -> None:
        at_least(self, "method", 1, "channels", "full_blocks")
        at_least(self, "method", 2, "deviation_group")


@dataclass(frozen=True, kw_only=True)
class CriticSettings(Checked):
    """The loss of the two players, and the gradient penalty that goes with it."""

    loss: Loss = "wgan-gp"
    """The published Wasserstein loss with gradient penalty and drift; or `hinge` or `non-saturating`, with R1 for a penalty."""
    gradient_penalty: float = 10.0
    """Weight of the gradient penalty: of WGAN-GP's, or of R1 with the other losses."""
    penalty_norm: Norm = "pixel"
    """Norm in WGAN-GP's penalty: over the channels of each `pixel`, as released, or over the whole `picture`, as in the paper."""
    penalty_every: int = 1
    """Steps between two gradient penalties, whose weight is multiplied by it; 1 as published, more saves time."""
    drift: float = 1e-3
    """Weight of the squared scores of real pictures, with `wgan-gp`."""

    def check(self) -> None:
        at_least(self, "method", 1, "penalty_every")
        at_least(self, "method", 0, "gradient_penalty", "drift")
