"""StyleGAN, the first version: styles scale and shift the normalised maps of a ProGAN that grows (Karras et al., CVPR 2019).

Tero Karras, Samuli Laine and Timo Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks", arXiv:1812.04948. The
networks are in `limner.families.style.adaptive`. They, and the schedule, follow rosinality's PyTorch code (style-based-gan-pytorch, commit
07fa60b). StyleGAN2 (`limner.methods.stylegan2`) came after it, trains at its full size from the start, and is the better choice.

Where paper and code differ:

- the loss: the paper trains FFHQ with the logistic loss and R1, of weight 10, which is followed here; the code's default is WGAN-GP with a
  drift (`loss`). R1 is taken in every step;
- scales: the paper's last layers have a gain of 1, the code's have sqrt(2) everywhere, which is followed;
- both halves of a block add the same noise in the code, and each has its own in the paper. The code is followed.

The mapping network learns a hundredth as fast as all else, by the scale of its weights.

Real pictures fade with the newest block, as in ProGAN. Here the same generated pictures serve both players, and noise is drawn anew for
each picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import gaussian
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Progress, Update
from limner.families import settings as shared
from limner.families.progressive.growing import faded
from limner.families.progressive.losses import Loss, Norm, critic_loss, fooling_loss
from limner.families.progressive.method import GrowingMethod, check_numbers
from limner.families.progressive.settings import CriticSettings
from limner.families.style.adaptive import AdaptiveDiscriminator, AdaptiveGenerator
from limner.families.style.generator import mixed
from limner.families.style.noise import StyleNoise, drawn, drawn_maps


@dataclass(frozen=True, kw_only=True)
class StyleGANSettings(CriticSettings):
    """Settings of StyleGAN; the defaults are the paper's for FFHQ where the code does not decide."""

    noise_width: int = 512
    """Numbers in the latent z and in a style."""
    mapping_layers: int = 8
    """Layers of the mapping network from z to a style."""
    channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64, 32, 16)
    """Channels of the maps of 4, 8, 16, ... px; more than are needed may be given."""
    colour_activation: bool = True
    """Let a LeakyReLU follow the discriminator's first 1x1 convolution, as the code does by default."""
    mixing: float = 0.9
    """Share of the steps in which pictures have two latents, mixed at a random block."""
    loss: Loss = "non-saturating"
    """The logistic loss with R1, or `wgan-gp` as is the code's default, or `hinge` with R1."""
    gradient_penalty: float = 10.0
    """Weight of the gradient penalty: of R1, or of WGAN-GP's."""
    penalty_norm: Norm = "picture"
    """Norm in WGAN-GP's penalty: over the whole `picture`, or over the channels of each `pixel`."""
    fade: float = 0.5
    """Share of a phase's budget over which its new block fades in."""
    images: tuple[int, ...] = (1_200_000,)
    """Pictures that each phase sees, the last number for the full size, the one before for half of that, and so on; the first one holds
    for all phases before it."""
    batch_sizes: tuple[int, ...] = (256, 128, 64, 32, 32, 32)
    """Pictures a step in each phase, over all processes, likewise."""
    shares: tuple[float, ...] = (1.0,)
    """Parts of a budget in minutes or pictures that the phases have, likewise."""
    learning_rate: float = 1e-3
    """Learning rate of both players' Adam; the code takes 0.0015 at 128 px and 0.002 at 256 px."""
    beta1: float = 0.0
    """First-moment decay of both players' Adam."""
    beta2: float = 0.99
    """Second-moment decay of both players' Adam."""
    truncation: float = 1.0
    """When painting: how far a style stays from the mean style. Below 1 pictures are more typical and more alike; 0 paints the mean."""

    def check(self) -> None:
        at_least(self, "method", 1, "noise_width", "mapping_layers")
        at_least(self, "method", 0, "truncation")
        above_zero(self, "method", "learning_rate")
        shared.below_one(self, "beta1", "beta2")
        shared.share(self, "mixing", "fade")
        check_numbers(self, images=0, batch_sizes=1, shares=0, channels=0)


class StyleGAN(GrowingMethod[StyleNoise]):
    """The growing networks, one phase for each side from 8 px to the final one."""

    Settings = StyleGANSettings
    title = "StyleGAN"
    paper = "Karras et al., A Style-Based Generator Architecture for Generative Adversarial Networks, CVPR 2019, arXiv:1812.04948"
    sampling: tuple[str, ...] = ("truncation",)
    presets = {
        "as-published": Preset(
            sentence="The paper's networks at 256 px, without captions, grown from 8 px, for a GPU.",
            resolution=256,
            training={"ema_half_life": 22_170.0},  # images: 0.999 a step of 32 pictures
        ),
        "cpu": Preset(
            sentence="Narrow networks at 64 px from pictures alone, grown from 8 px, sized for two CPU cores.",
            resolution=64,
            method={
                "noise_width": 64,
                "mapping_layers": 4,
                "channels": (128, 128, 64, 32, 16),
                "gradient_penalty": 1.0,
                "penalty_every": 8,
                "fade": 0.3,
                "images": (20_000, 40_000, 100_000, 600_000),
                "batch_sizes": (16,),
                "shares": (0.05, 0.08, 0.17, 0.7),
                "learning_rate": 2e-3,
            },
        ),
    }
    first_depth = 1
    settings: StyleGANSettings
    generator: AdaptiveGenerator
    discriminator: AdaptiveDiscriminator

    def __init__(self, settings: StyleGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions, "stylegan")
        if len(settings.channels) <= self.doublings:
            wanted = f"{conditions.resolution} px need {self.doublings + 1}, for 4 px and each doubling"
            raise SettingsError(f"method.channels has {len(settings.channels)} numbers, but {wanted}")
        widths = settings.channels[: self.doublings + 1]
        self.generator = AdaptiveGenerator(widths, settings.noise_width, settings.mapping_layers)
        self.discriminator = AdaptiveDiscriminator(widths, activated=settings.colour_activation)

    @classmethod
    def reads_text(cls, settings: StyleGANSettings) -> bool:
        return False

    def phases(self) -> list[Phase]:
        images = self.settings.images
        return [self.phase(depth, images=self.number_of(images, depth), captions=0, fewest=2) for depth in self.depths()]

    def couples_rows(self) -> str | None:
        return "minibatch deviation compares all pictures of a batch"

    def fading(self, progress: Progress) -> float:
        """Alpha of a step: how far the newest block has faded in. It goes by the phase's budget, which may be one in minutes."""
        middle = progress.spent + 0.5 / max(progress.steps, 1)
        return min(middle / max(self.settings.fade, 1e-9), 1.0)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        settings, depth = self.settings, self.depth
        self.alpha = self.fading(progress) if depth > 1 else 1.0  # the first phase has nothing to fade in from
        fake = self._painted(batch)
        yield self._discriminator_update(batch, fake.detach(), progress.step)
        yield Update("generator", fooling_loss(settings.loss, self.discriminator(fake, depth, self.alpha)))

    def _painted(self, batch: Batch) -> Tensor:
        """A picture for each row. Maps of noise are drawn on the device."""
        mapping, count, places = self.generator.mapping, len(batch), self.depth + 1
        styles = mapping(self._latent(batch, "generator"))
        mapping.follow(styles)
        at = places  # where the second style begins: one place for all rows, as in the code
        if float(torch.rand(())) < self.settings.mixing:
            at = int(torch.randint(1, places, ()))
        other = styles if at == places else mapping(self._latent(batch, "generator, mixed"))
        maps = drawn_maps(self.generator.sides(self.depth), count, styles)
        return self.generator.synthesize(mixed(styles, other, places, at), maps, self.depth, self.alpha)

    def _latent(self, batch: Batch, stream: str) -> Tensor:
        with batch.pictures.device:
            return gaussian((self.settings.noise_width,), batch.seed, batch.samples, stream).to(batch.pictures)

    def _discriminator_update(self, batch: Batch, fake: Tensor, step: int) -> Update:
        settings, depth, alpha = self.settings, self.depth, self.alpha
        pictures = faded(batch.pictures, alpha)

        def scores(shown: Tensor) -> Tensor:
            found: Tensor = self.discriminator(shown, depth, alpha)
            return found

        real, generated = scores(pictures), scores(fake)
        loss = critic_loss(settings.loss, real, generated, None, 0.0, settings.drift)
        update = Update("discriminator", loss, {"real": real.detach().mean(), "fake": generated.detach().mean()})
        return self.penalised(update, scores, pictures, fake, step)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> StyleNoise:
        return drawn(self.settings.noise_width, self.generator.sides(self.depth), seed, samples, stream)

    def paint(self, text: TextFeatures, noise: StyleNoise) -> Painting:
        """The networks paint without bounds; what is beyond [-1, 1] is cut off, as in the code."""
        return self.paint_styles(self.find_styles(text, noise), noise)

    def find_styles(self, text: TextFeatures, noise: StyleNoise) -> Tensor:
        """The style of every block, truncated as the settings say: [B, places, W]."""
        mapping = self.generator.mapping
        return mapping.truncated(mapping(noise.z), self.settings.truncation)[:, None].expand(-1, self.depth + 1, -1)

    def paint_styles(self, styles: Tensor, noise: StyleNoise) -> Painting:
        """Pictures of styles [B, places, W], with the noise's maps."""
        maps = noise.split(self.generator.sides(self.depth))
        return Painting(self.generator.synthesize(styles, maps, self.depth, self.alpha).clamp(-1.0, 1.0))

    def style_weights(self) -> Sequence[Tensor]:
        """[4 C, W] for each block: the linear layers by which a style scales and shifts the maps there."""
        return self.generator.modulations(self.depth)

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's map before the pictures of a batch are compared, place by place: [B, 16 C]."""
        return self.discriminator.look(pictures, self.depth, self.alpha).flatten(1)
