"""FusedGAN: two generators that share the structure of a picture, one of which never needs captions (Bodla et al., ECCV 2018).

Navaneeth Bodla, Gang Hua and Rama Chellappa, "Semi-supervised FusedGAN for Conditional Image Generation", arXiv:1801.05551. The
authors published no code. From the paper:

- a trunk makes the *structure prior* M_s of noise z alone: posture, place, size, everything that captions need not say;
- the unconditional branch renders M_s; its discriminator D_u sees pictures alone, with captions or without;
- the conditional branch renders M_s concatenated with the tiled sample of the conditioning augmentation; its discriminator D_c sees
  pictures with text: true pairs, generated pairs and true pictures with a text that does not describe them;
- both branches are trained in turn, and each shapes the shared trunk; the augmentation's divergence is a term of the conditional loss.

Reconstructed, because the paper does not say: M_s is an 8x8 map, after a projection of z to 4x4 and one transposed convolution, and each
branch renders it by transposed convolutions that halve the channels, as in a third-party port to face attributes; one 3x3 convolution
and a residual block join M_s and the text; D_u and D_c are StackGAN's trunks, D_c with GAN-CLS's pair head and weights (1, 1/2, 1/2); the
augmentation, the weight 2 of its divergence and the schedule are StackGAN's of birds. The paper trains at 64 and 128 px.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import ConditionedNoise, gaussian
from limner.core.settings import Preset, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Player, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import PairMethod, smoothed
from limner.families.conditioning import ConditioningAugmentation
from limner.families.matching_aware import bce, mean_sentence, mismatched_logits
from limner.families.pair_head import PairHead
from limner.families.stacked import FIRST_SIDE, Head, Residual, convolution, doubling, doublings, picture_code
from limner.nn.initialization import dcgan_initialization, he_initialization

NARROWEST = 8
"""Channels that no feature map of the generator goes below."""


@dataclass(frozen=True, kw_only=True)
class FusedGANSettings(
    shared.MismatchWeightSettings,
    shared.MismatchSettings,
    shared.CaptionSettings,
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of FusedGAN; the defaults are the paper's where it states them, else StackGAN's."""

    noise_width: int = 128
    """Numbers in the noise vector z, which decides the structure."""
    text_width: int = 128
    """Numbers of a condition that the augmentation samples, and width of the sentence in the discriminator."""
    structure_side: int = 8
    """Side of the structure prior, the map that both branches render: a power of two from 4, below the pictures' side."""
    generator_channels: int = 128
    """Channels of the generator's map at 32x32; the maps before it double, at 4x4 and after 64 px they stay within 8 times and 8."""
    residual_blocks: int = 1
    """Residual blocks of the conditional branch after the text has joined the structure prior."""
    discriminator_channels: int = 64
    """Channels of each discriminator's first feature map; later ones double."""
    unconditional: bool = True
    """Train the unconditional branch too, as published; without it, the conditional branch alone trains the trunk."""
    unpaired: bool = True
    """Show the unconditional discriminator all pictures of the split, captioned or not, as published; without it, only the batch's own."""
    divergence_weight: float = 2.0
    """Weight of the augmentation's KL divergence from the standard normal."""
    halve_every: float = 100.0
    """Epochs between halvings of the learning rate; 0 keeps it constant."""
    epochs: float = 600.0
    """Passes over the captioned training pictures."""
    batch_size: int = 64
    """Pictures of each branch a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 0, "residual_blocks", "divergence_weight")
        at_least(self, "method", 1, "text_width", "generator_channels", "discriminator_channels")


class FusedGAN(PairMethod[ConditionedNoise]):
    """A trunk, two branches that render its structure prior, and a discriminator for each."""

    Settings = FusedGANSettings
    title = "FusedGAN"
    paper = "Bodla et al., Semi-supervised FusedGAN for Conditional Image Generation, ECCV 2018, arXiv:1801.05551"
    presets = {
        "as-published": Preset(
            sentence="Wide networks and a long schedule at 128 px, the larger of the paper's two sizes, for a GPU.",
            resolution=128,
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_PAIRS,
                "generator_channels": 16,
                "discriminator_channels": 16,
                "divergence_weight": 0.05,
            },
        ),
    }
    settings: FusedGANSettings
    generator: Generator
    discriminator: Discriminator

    def __init__(self, settings: FusedGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.generator = Generator(settings, conditions)
        self.discriminator = Discriminator(settings, conditions)
        self.unconditional = UnconditionalDiscriminator(settings, conditions)
        self.generator.apply(dcgan_initialization)
        for discriminator in (self.discriminator, self.unconditional):
            discriminator.apply(dcgan_initialization if settings.discriminator_normalization else he_initialization)

    def players(self) -> dict[str, Player]:
        players = super().players()
        return players | {"unconditional": self.player(self.unconditional)} if self.settings.unconditional else players

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        if self.settings.unconditional:
            yield from self._unconditional_turn(batch, self.penalty(progress))
        yield from self._conditional_turn(batch, self.penalty(progress))

    def _unconditional_turn(self, batch: Batch, penalty: float) -> Iterator[Update]:
        """BCE(D_u(x), 1) + BCE(D_u(G_u(M_s)), 0), then BCE(D_u(G_u(M_s)), 1) for trunk and branch."""
        real_pictures = batch.unpaired.pictures if self.settings.unpaired else batch.pictures
        noise = self.noise(batch, "unconditional")
        fake_pictures = self.generator.unconditional(self.generator.structure(noise.z))
        real, fake = self.unconditional(real_pictures), self.unconditional(fake_pictures.detach())
        loss = bce(real, 1.0) + bce(fake, 0.0)
        metrics = {"real": real.detach().sigmoid().mean(), "fake": fake.detach().sigmoid().mean()}
        yield smoothed(Update("unconditional", loss, metrics), penalty, (self.unconditional, real_pictures))
        loss = bce(self.unconditional(fake_pictures), 1.0)
        yield Update("generator", loss, {"unconditional": loss.detach()})

    def _conditional_turn(self, batch: Batch, penalty: float) -> Iterator[Update]:
        """The matching-aware update of D_c, then one of trunk, augmentation and branch, whose loss includes the divergence."""
        sentence = mean_sentence(batch)  # [B, D]
        noise = self.noise(batch, "conditional")
        condition = self.generator.augmentation(sentence)
        fake = self.generator.conditional(self.generator.structure(noise.z), condition.sample(noise.epsilon))
        yield self._discriminator_update(batch, sentence, fake.detach(), penalty)
        fooling, divergence = bce(self.discriminator(fake, sentence), 1.0), condition.divergence()
        metrics = {"conditional": fooling.detach(), "divergence": divergence.detach()}
        yield Update("generator", fooling + self.settings.divergence_weight * divergence, metrics)

    def _discriminator_update(self, batch: Batch, sentence: Tensor, fake: Tensor, penalty: float) -> Update:
        """BCE(real, 1) + w BCE(mismatched, 0) + (1 - w) BCE(fake, 0), pairs of a picture and a sentence."""
        settings, weight = self.settings, self.settings.mismatch_weight
        code = self.discriminator.look(batch.pictures)  # [B, C, 4, 4]
        real, generated = self.discriminator.match(code, sentence), self.discriminator(fake, sentence)
        loss = bce(real, 1.0) + (1.0 - weight) * bce(generated, 0.0)
        metrics = {"real": real.detach().sigmoid().mean(), "fake": generated.detach().sigmoid().mean()}
        if weight:
            mismatched = mismatched_logits(self.discriminator, batch, code, sentence, settings.mismatch, settings.counterfactual)
            loss = loss + weight * bce(mismatched, 0.0)
            metrics["mismatched"] = mismatched.detach().sigmoid().mean()
        update = Update("discriminator", loss, metrics)
        return smoothed(update, penalty, (lambda pictures: self.discriminator(pictures, sentence.float()), batch.pictures))

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> ConditionedNoise:
        widths = {"z": self.settings.noise_width, "epsilon": self.settings.text_width}
        return ConditionedNoise(**{name: gaussian((width,), seed, samples, f"{stream} {name}") for name, width in widths.items()})

    def paint(self, text: TextFeatures, noise: ConditionedNoise) -> Painting:
        """The conditional picture; `extras["unconditional"]` is the other branch's picture of the same structure, [B, 3, R, R]."""
        structure = self.generator.structure(noise.z)
        condition = self.generator.augmentation(text.sentence).sample(noise.epsilon)
        images = self.generator.conditional(structure, condition)
        return Painting(images, extras={"unconditional": self.generator.unconditional(structure)} if self.settings.unconditional else {})

    def look(self, pictures: Tensor) -> Tensor:
        """The conditional discriminator's code before it reads the text, place by place: [B, 16 C]."""
        return self.discriminator.look(pictures).flatten(1)


class Generator(nn.Module):
    """The shared trunk G_s, the branches G_u and G_c, and the augmentation E of the text."""

    def __init__(self, settings: FusedGANSettings, conditions: Conditions) -> None:
        super().__init__()
        levels, top = doublings(conditions.resolution, "fusedgan"), settings.generator_channels
        sides = [FIRST_SIDE << level for level in range(levels)]
        if settings.structure_side not in sides:
            known = ", ".join(map(str, sides))
            raise SettingsError(f"method.structure-side is {settings.structure_side}, but must be one of {known}")
        widths = [max(8 * top >> level, NARROWEST) for level in range(levels)]  # of the maps at these sides
        shared = sides.index(settings.structure_side)
        structure, width = widths[shared], settings.text_width
        self.structure_trunk = nn.Sequential(
            nn.ConvTranspose2d(settings.noise_width, widths[0], FIRST_SIDE, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            *_doublings(widths[: shared + 1]),
        )
        self.augmentation = ConditioningAugmentation(conditions.sentence_width, width, "leaky-relu", "log-deviation")
        self.style = nn.Sequential(
            *convolution(structure + width, structure), *(Residual(structure) for _ in range(settings.residual_blocks))
        )
        self.conditional_branch = _branch(widths[shared:])
        self.unconditional_branch = _branch(widths[shared:]) if settings.unconditional else None

    def structure(self, z: Tensor) -> Tensor:
        """The structure prior M_s: [B, Z] -> [B, C, S, S]."""
        return self.structure_trunk(z[:, :, None, None])

    def unconditional(self, structure: Tensor) -> Tensor:
        """[B, C, S, S] -> [B, 3, R, R] in [-1, 1]."""
        assert self.unconditional_branch is not None
        return self.unconditional_branch(structure)

    def conditional(self, structure: Tensor, condition: Tensor) -> Tensor:
        """[B, C, S, S] and a sample of the augmentation [B, text_width] -> [B, 3, R, R] in [-1, 1]."""
        tiled = condition[:, :, None, None].expand(-1, -1, *structure.shape[2:])
        return self.conditional_branch(self.style(torch.cat([structure, tiled], dim=1)))


class Discriminator(nn.Module):
    """D_c: does the picture look real *and* match the sentence?"""

    def __init__(self, settings: FusedGANSettings, conditions: Conditions) -> None:
        super().__init__()
        base, normalize = settings.discriminator_channels, settings.discriminator_normalization
        self.picture = picture_code(base, conditions.resolution, normalize=normalize)
        self.pair = PairHead(_code_width(base, conditions), conditions.sentence_width, settings.text_width, normalize=normalize)

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C, 4, 4]: features that serve several captions."""
        return self.picture(pictures)

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """[B, C, 4, 4] and [B, D] -> [B] logits."""
        return self.pair(features, sentence)

    def forward(self, pictures: Tensor, sentence: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] and [B, D] -> [B] logits."""
        return self.match(self.look(pictures), sentence)


class UnconditionalDiscriminator(nn.Sequential):
    """D_u: does the picture look real? [B, 3, R, R] in [-1, 1] -> [B] logits."""

    def __init__(self, settings: FusedGANSettings, conditions: Conditions) -> None:
        base = settings.discriminator_channels
        code = picture_code(base, conditions.resolution, normalize=settings.discriminator_normalization)
        super().__init__(code, Head(_code_width(base, conditions)))


def _code_width(base: int, conditions: Conditions) -> int:
    """Channels of a picture code: base x 8, fewer below 64 px."""
    return base << min(doublings(conditions.resolution, "fusedgan") - 1, 3)


def _doublings(widths: list[int]) -> Iterator[nn.Module]:
    for wide, narrow in zip(widths, widths[1:], strict=False):
        yield from doubling(wide, narrow)


def _branch(widths: list[int]) -> nn.Sequential:
    """From the structure prior to the picture; the last layer has three channels and no normalisation."""
    return nn.Sequential(*_doublings(widths), nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1, bias=False), nn.Tanh())
