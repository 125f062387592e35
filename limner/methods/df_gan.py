"""DF-GAN: one generator straight to the final size, text fused into every block, a discriminator with one verdict (Tao et al., CVPR 2022).

Ming Tao, Hao Tang, Fei Wu, Xiao-Yuan Jing, Bing-Kun Bao and Changsheng Xu, "DF-GAN: A Simple and Effective Baseline for Text-to-Image
Synthesis", arXiv:2008.05865. Networks, losses and sampling follow the authors' code (tobran/DF-GAN, the version of CVPR):

- noise *and* sentence condition every affine layer; noise alone makes the first 4x4 map;
- no normalisation, no conditioning augmentation, no attention, no second discriminator, no running average of weights;
- mismatched pairs are the batch's pictures moved on by one, whatever the next one shows: it may be of the same class;
- the residual of a discriminator's block is scaled by a learned number that begins at zero;
- noise is truncated when painting and plain in training.

Some operations come in another order than in the code, with the same results: operations on single places come before a map is doubled, the
convolution after doubling is a transposed one (`DoublingConvolution`), and maps are averaged before a 1x1 convolution.
`two_way` is reconstructed from the paper's description of its ablation: the losses of a second, unconditional head are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.method import Method, Painting
from limner.core.noise import VectorNoise, gaussian, squeezed
from limner.core.optimizers import Adam
from limner.core.settings import FAST, Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.matching_aware import mean_sentence, mismatched_logits
from limner.families.stacked import FIRST_SIDE, doublings
from limner.nn.fast.upsampling import DoublingConvolution, doubled
from limner.nn.uncompiled import uncompiled

CUT = 2.0
"""Where the noise is cut off when painting, in standard deviations."""


@dataclass(frozen=True, kw_only=True)
class DFGANSettings(
    shared.MismatchWeightSettings,
    shared.MismatchSettings,
    shared.CaptionSettings,
    shared.PenaltySettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of DF-GAN; the defaults are those of the authors' birds model."""

    generator_channels: int = 32
    """Channels of the generator's last feature map; earlier ones double, up to eight times as many."""
    discriminator_channels: int = 32
    """Channels of the discriminator's first feature map; later ones double, up to eight times as many."""
    affines: int = 2
    """Affine layers in each fusion block; with 1 there is no deep fusion."""
    two_way: bool = False
    """Add a second output for the picture alone and its losses, as in StackGAN and AttnGAN; without it, DF-GAN's one-way output."""
    mismatch: shared.Mismatch = "neighbour"
    """What a mismatched pair is made of: a caption and the batch's next picture, as in the authors' code, which may be of the same class;
    or another picture or caption, of another class where classes are known. `picture` costs a pass over pictures."""
    gradient_penalty: float = 2.0
    """Weight k of the matching-aware gradient penalty; 0 trains without it."""
    penalty_power: float = 6.0
    """Power p to which the norm of the gradient is raised in it."""
    penalty_every: int = 1
    """Steps between two gradient penalties, whose weight is multiplied by it; 1 as published, more saves time."""
    generator_learning_rate: float = 1e-4
    """Learning rate of the generator's Adam."""
    discriminator_learning_rate: float = 4e-4
    """Learning rate of the discriminator's Adam."""
    beta1: float = 0.0
    """First-moment decay of both players' Adam."""
    beta2: float = 0.9
    """Second-moment decay of both players' Adam."""
    truncation: float = 0.88
    """Painting's noise is truncated at two standard deviations and scaled by this; 0 leaves it as in training."""
    epochs: float = 1300.0
    """Passes over the training pictures; the authors take 300 for COCO."""
    batch_size: int = 32
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 1, "generator_channels", "discriminator_channels", "affines")
        at_least(self, "method", 2, "penalty_power")
        at_least(self, "method", 0, "truncation")
        above_zero(self, "method", "generator_learning_rate", "discriminator_learning_rate")
        shared.below_one(self, "beta1", "beta2")


class DFGAN(Method[VectorNoise]):
    """The deep fusion generator and the target-aware discriminator, with their published losses."""

    Settings = DFGANSettings
    title = "DF-GAN"
    paper = "Tao et al., DF-GAN: A Simple and Effective Baseline for Text-to-Image Synthesis, CVPR 2022, arXiv:2008.05865"
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule for birds at 256 px, for a GPU.",
            resolution=256,
            training={"ema_half_life": 0.0},  # the authors keep no running average
        ),
        "fast": Preset(
            sentence="As published, but as fast as the device allows, with every 16th gradient penalty, 16 times as heavy.",
            resolution=256,
            method={"penalty_every": 16},
            training={"ema_half_life": 0.0, **FAST},
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions at 64 px, sized for two CPU cores.",
            resolution=64,
            method={
                "generator_channels": 8,
                "discriminator_channels": 12,
                "mismatch": "caption",
                "counterfactual": 0.75,
                "gradient_penalty": 0.1,
                "penalty_power": 2.0,
                "penalty_every": 8,
                "generator_learning_rate": 4e-4,
                "discriminator_learning_rate": 8e-4,
                "beta2": 0.99,
                "epochs": 40.0,
                "batch_size": 16,
            },
        ),
    }
    settings: DFGANSettings

    def __init__(self, settings: DFGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.generator = Generator(settings, conditions)
        self.discriminator = Discriminator(settings, conditions)

    def players(self) -> dict[str, Player]:
        settings = self.settings
        betas = (settings.beta1, settings.beta2)
        return {
            "discriminator": Player(
                module=self.discriminator, optimizer=Adam(learning_rate=settings.discriminator_learning_rate, betas=betas)
            ),
            "generator": Player(
                module=self.generator, optimizer=Adam(learning_rate=settings.generator_learning_rate, betas=betas), averaged=True
            ),
        }

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="gan",
                resolution=self.conditions.resolution,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                captions=settings.captions,
                counterfactuals=int(settings.counterfactual > 0),
                fewest=2 if self.couples_rows() else 1,
            )
        ]

    def couples_rows(self) -> str | None:
        if self.settings.mismatch == "neighbour" and self.settings.mismatch_weight and self.settings.counterfactual < 1:
            return "a mismatched pair takes the picture of the batch's next row (not so with --method.mismatch picture or caption)"
        return None  # nothing normalises over the batch, and the penalty is a mean over rows

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        condition = mean_sentence(batch)  # [B, D]
        fake = self.generator(self.noise(batch, "generator").z, condition)  # [B, 3, R, R], for both updates
        yield self._discriminator_update(batch, condition, fake.detach(), progress.step)
        yield self._generator_update(fake, condition)

    def _discriminator_update(self, batch: Batch, condition: Tensor, fake: Tensor, step: int) -> Update:
        settings, discriminator = self.settings, self.discriminator
        if settings.gradient_penalty and step % settings.penalty_every == 0:
            features, real, penalty = self.penalised(batch.pictures, condition)
        else:
            features, penalty = discriminator.look(batch.pictures), None  # [B, 8 C, 4, 4]
            real = discriminator.match(features, condition)  # [B]
        fake_features = discriminator.look(fake)
        generated = discriminator.match(fake_features, condition)
        mismatched = None
        if settings.mismatch_weight:
            mismatched = mismatched_logits(discriminator, batch, features, condition, settings.mismatch, settings.counterfactual)
        loss = self.discriminator_loss(real, generated, mismatched)
        if discriminator.alone is not None:
            loss = loss + hinge(discriminator.alone(features), True) + hinge(discriminator.alone(fake_features), False)
        metrics = {"real": real.detach().mean(), "fake": generated.detach().mean()}
        if mismatched is not None:
            metrics["mismatched"] = mismatched.detach().mean()
        if penalty is not None:
            loss = loss + settings.gradient_penalty * settings.penalty_every * penalty
            metrics["penalty"] = penalty.detach()
        return Update("discriminator", loss, metrics)

    def discriminator_loss(self, real: Tensor, fake: Tensor, mismatched: Tensor | None) -> Tensor:
        """Hinge of real pairs + (1 - w) generated + w mismatched pairs, [B] logits each; w = 1/2 as published, 0 without the last."""
        weight = self.settings.mismatch_weight
        loss = hinge(real, True) + (1.0 - weight) * hinge(fake, False)
        return loss if mismatched is None else loss + weight * hinge(mismatched, False)

    def penalised(self, pictures: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features [B, C, 4, 4] and logits [B] of real pairs, and the penalty on the logits' gradient there, a scalar."""
        with uncompiled(), torch.autocast(pictures.device.type, enabled=False):  # second derivatives need float32
            pictures, condition = (value.detach().float().requires_grad_() for value in (pictures, condition))
            features = self.discriminator.look(pictures)
            logits = self.discriminator.match(features, condition)
            return features, logits, matching_aware_penalty(logits, pictures, condition, self.settings.penalty_power)

    def _generator_update(self, fake: Tensor, condition: Tensor) -> Update:
        features = self.discriminator.look(fake)
        loss = generator_loss(self.discriminator.match(features, condition))
        if self.discriminator.alone is not None:
            loss = loss + generator_loss(self.discriminator.alone(features))
        return Update("generator", loss)

    def noise(self, batch: Batch, stream: str) -> VectorNoise:
        """Noise for training, which is not truncated."""
        with batch.pictures.device:
            return VectorNoise(gaussian((self.settings.noise_width,), batch.seed, batch.samples, stream)).to(batch.pictures.device)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        """Noise for painting: the same draw, truncated as the settings say."""
        z = gaussian((self.settings.noise_width,), seed, samples, stream)
        return VectorNoise(self.settings.truncation * squeezed(z, CUT) if self.settings.truncation else z)

    def paint(self, text: TextFeatures, noise: VectorNoise) -> Painting:
        return Painting(self.generator(noise.z, text.sentence))

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's 4x4 map before it reads the text, place by place: [B, 128 C]."""
        return self.discriminator.look(pictures).flatten(1)


class Generator(nn.Module):
    """Noise to a 4x4 map, which blocks double to the full size. Each block has two fusions of noise and sentence into the map."""

    def __init__(self, settings: DFGANSettings, conditions: Conditions) -> None:
        super().__init__()
        widths = channels(settings.generator_channels, conditions.resolution)[::-1]  # coarse to fine
        condition_width = settings.noise_width + conditions.sentence_width
        self.first = nn.Linear(settings.noise_width, widths[0] * FIRST_SIDE**2)
        self.blocks = nn.ModuleList(
            DoublingBlock(condition_width, wide, narrow, settings.affines) for wide, narrow in zip(widths, widths[1:], strict=False)
        )
        self.last = nn.Sequential(nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(widths[-1], 3, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor, sentence: Tensor) -> Tensor:
        """z: [B, Z], sentence: [B, D] -> [B, 3, R, R] in [-1, 1]."""
        condition = torch.cat([z, sentence], dim=1)  # noise first, as in the authors' code
        x = self.first(z).unflatten(1, (-1, FIRST_SIDE, FIRST_SIDE))
        for block in self.blocks:
            x = block(x, condition)
        return self.last(x)


class DoublingBlock(nn.Module):
    """doubled(shortcut(x)) + conv3(fusion(conv3(doubled(fusion(x))))): [B, wide, H, W] -> [B, narrow, 2 H, 2 W].

    The authors double first. Fusion and shortcut treat every place by itself, so that doubling after them gives the same result.
    """

    def __init__(self, condition_width: int, wide: int, narrow: int, affines: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(wide, narrow, 1) if wide != narrow else nn.Identity()
        self.first_fusion = Fusion(condition_width, wide, affines)
        self.first = DoublingConvolution(wide, narrow)
        self.second_fusion = Fusion(condition_width, narrow, affines)
        self.second = nn.Conv2d(narrow, narrow, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        residual = self.first(self.first_fusion(x, condition))
        return self.second(self.second_fusion(residual, condition)) + doubled(self.shortcut(x))


class Discriminator(nn.Module):
    """Does the picture look real *and* match the sentence? Halving blocks to 4x4, then two convolutions of map and sentence to one
    logit."""

    def __init__(self, settings: DFGANSettings, conditions: Conditions) -> None:
        super().__init__()
        widths = channels(settings.discriminator_channels, conditions.resolution)
        self.picture = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1),
            *(HalvingBlock(narrow, wide) for narrow, wide in zip(widths, widths[1:], strict=False)),
        )
        inner = 2 * settings.discriminator_channels
        self.joint = verdict(widths[-1] + conditions.sentence_width, inner)
        self.alone: Callable[[Tensor], Tensor] | None = verdict(widths[-1], inner) if settings.two_way else None

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C, 4, 4]: features that serve several captions."""
        return self.picture(pictures)

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """[B, C, 4, 4] and [B, D] -> [B] logits."""
        tiled = sentence[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return self.joint(torch.cat([features, tiled], dim=1))

    def forward(self, pictures: Tensor, sentence: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] and [B, D] -> [B] logits."""
        return self.match(self.look(pictures), sentence)


class HalvingBlock(nn.Module):
    """shortcut(mean of 2x2) + gamma residual(x), where gamma begins at 0: [B, narrow, H, W] -> [B, wide, H / 2, W / 2]."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(narrow, wide, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(wide, wide, 3, padding=1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.shortcut = nn.Conv2d(narrow, wide, 1) if narrow != wide else nn.Identity()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shortcut(F.avg_pool2d(x, 2)), self.gamma, self.residual(x))


def verdict(wide: int, narrow: int) -> nn.Sequential:
    """[B, wide, 4, 4] -> [B] logits."""
    return nn.Sequential(
        nn.Conv2d(wide, narrow, 3, padding=1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(narrow, 1, FIRST_SIDE, bias=False),
        nn.Flatten(0),
    )


def channels(base: int, resolution: int) -> list[int]:
    """Widths of the feature maps from the full resolution down to 4x4; at 256 px: base x (1, 2, 4, 8, 8, 8, 8)."""
    return [base * min(2**level, 8) for level in range(doublings(resolution, "df-gan") + 1)]


def hinge(logits: Tensor, real: bool) -> Tensor:
    """The hinge loss of logits [B], a scalar: how far they are below 1 if real, or above -1 if not."""
    return F.relu(1.0 - logits if real else 1.0 + logits).mean()


def generator_loss(logits: Tensor) -> Tensor:
    """Minus the mean logit of generated pairs, [B]."""
    return -logits.mean()


def matching_aware_penalty(logits: Tensor, pictures: Tensor, sentence: Tensor, power: float) -> Tensor:
    """The mean of ||gradient of a pair's logit by picture and sentence together|| ** power, at real matched pairs (MA-GP of the paper).

    logits: [B], computed from pictures [B, 3, R, R] and sentence [B, D], which both require gradients.
    """
    by_picture, by_sentence = torch.autograd.grad(logits.sum(), (pictures, sentence), create_graph=True)
    squared_norm = by_picture.square().sum(dim=(1, 2, 3)) + by_sentence.square().sum(dim=1)
    return squared_norm.pow(power / 2).mean()


class ConditionalAffine(nn.Module):
    """gamma(c) x + beta(c): scales and shifts each channel as a condition says; it begins as the identity.

    gamma and beta each come from a network of one hidden layer, as wide as there are channels. The last weights begin at zero, as in the
    authors' code.
    """

    def __init__(self, condition_width: int, channels: int) -> None:
        super().__init__()
        self.gamma = self._numbers(condition_width, channels, at_first=1.0)
        self.beta = self._numbers(condition_width, channels, at_first=0.0)

    @staticmethod
    def _numbers(condition_width: int, channels: int, at_first: float) -> nn.Sequential:
        last = nn.Linear(channels, channels)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, at_first)
        return nn.Sequential(nn.Linear(condition_width, channels), nn.ReLU(inplace=True), last)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, C, H, W] and [B, D] -> [B, C, H, W]."""
        return torch.addcmul(self.beta(condition)[:, :, None, None], x, self.gamma(condition)[:, :, None, None])


class Fusion(nn.Module):
    """Affine layers, each followed by a LeakyReLU, which makes the map from condition to channel nonlinear.

    DF-GAN has two; one is the shallow form of the paper's ablation. Every place is treated by itself.
    """

    def __init__(self, condition_width: int, channels: int, affines: int = 2) -> None:
        super().__init__()
        self.affines = nn.ModuleList(ConditionalAffine(condition_width, channels) for _ in range(affines))
        self.activation = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, C, H, W] and [B, D] -> [B, C, H, W]."""
        for affine in self.affines:
            x = self.activation(affine(x, condition))
        return x
