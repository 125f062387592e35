"""StackGAN: a rough picture from the text, then a fine one from the rough one and the text again (Zhang et al., ICCV 2017).

"StackGAN: Text to Photo-realistic Image Synthesis with Stacked Generative Adversarial Networks", arXiv:1612.03242. The authors published
two programs. This is the second, for COCO (StackGAN-Pytorch, commit e72ef88), whose files `limner import stackgan` reads:

- conditioning augmentation ends in a ReLU, so that mean and log variance are never negative; its divergence weighs 2, in the paper 1;
- the discriminators read the augmentation's mean, detached: the augmentation learns through pictures and divergence alone;
- Stage-I's discriminator judges only pairs, Stage-II's judges pictures without their text too;
- a mismatched caption is that of the batch's next picture, which may be of the same class;
- while Stage-II is trained, the frozen Stage-I still normalises by each batch, and so its running statistics move.

The first (TensorFlow: birds and flowers; the paper's figures) differs by settings that docs/stackgan.md lists, and by residual blocks in
Stage-I and in the discriminators and truncated noise, which are not here. Other sizes add or drop outer blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import Noise, gaussian
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import AdversarialMethod, added, smoothed
from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.matching_aware import bce, mean_sentence, mismatched_logits
from limner.families.stacked import FIRST_SIDE, Head, Residual, convolution, doublings, picture_code, to_picture, upsampling
from limner.nn.initialization import he_initialization, normal_initialization

STAGE_1, STAGE_2 = "stage-1", "stage-2"


@dataclass(frozen=True, kw_only=True)
class StackGANSettings(
    shared.MismatchSettings,
    shared.CaptionSettings,
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.NoiseSettings,
):
    """Settings of StackGAN; the defaults are those of the authors' PyTorch program."""

    factor: int = 4
    """How many times larger the final picture is than Stage-I's, a power of two."""
    condition_width: int = 128
    """Numbers in the condition that is drawn from a sentence, and in the sentence as the discriminators read it."""
    generator_channels: int = 192
    """An eighth of the channels of Stage-I's 4x4 map, which halve as the map doubles; Stage-II reads the rough picture with as many."""
    discriminator_channels: int = 96
    """Channels of the discriminators' first feature map; later ones double, up to eight times as many at 4x4."""
    residual_blocks: int = 2
    """Residual blocks of Stage-II, between its reading of picture and text and its painting."""
    augmentation: bool = True
    """Conditioning augmentation: a condition is drawn around the sentence; without it, the mean is taken, and there is no divergence
    term."""
    activation: Literal["relu", "leaky-relu"] = "relu"
    """What follows the augmentation's linear layer: leaky-relu in the TensorFlow program."""
    spread: Literal["log-variance", "log-deviation"] = "log-variance"
    """What the augmentation computes in addition to the mean: log-deviation in the TensorFlow program."""
    divergence_weight: float = 2.0
    """Weight of the divergence of the drawn conditions from the standard normal: 2 in both programs, 1 in the paper."""
    text_twice: bool = True
    """Whether Stage-II reads the text again, with its own augmentation."""
    discriminator_text: Literal["mean", "sentence"] = "mean"
    """What the discriminators read: the augmentation's mean, or (TensorFlow) the sentence by a projection of their own."""
    unconditional: Literal["none", "stage-2", "both"] = "stage-2"
    """Which discriminators also judge pictures without their text: none in the TensorFlow program."""
    mismatch: shared.Mismatch = "neighbour"
    """What a mismatched pair is made of: a picture and the caption of the batch's next one; a caption of another class; or (TensorFlow) a
    picture of another class."""
    captions: int = 1
    """Captions per picture, whose mean embedding is the condition: 4 in the TensorFlow program."""
    moving_statistics: bool = True
    """Whether the frozen Stage-I normalises by each batch while Stage-II is trained, as published; without it, by its running
    statistics."""
    halve_every: float = 20.0
    """Epochs of a stage between halvings of the learning rate; 0 keeps it constant."""
    stage_1_epochs: float = 120.0
    """Passes over the training pictures for Stage-I."""
    stage_2_epochs: float = 100.0
    """Passes over the training pictures for Stage-II."""
    stage_1_share: float = 0.5
    """Stage-I's part of a budget in minutes."""
    batch_size: int = 128
    """Pictures a step of Stage-I, over all processes."""
    stage_2_batch_size: int = 40
    """Pictures a step of Stage-II, over all processes."""

    def check(self) -> None:
        if self.factor < 2 or self.factor & (self.factor - 1):
            raise SettingsError(f"method.factor is {self.factor}, but must be a power of two from 2 (4 as published)")
        at_least(self, "method", 0, "residual_blocks", "divergence_weight")
        at_least(self, "method", 1, "condition_width", "generator_channels", "discriminator_channels")
        at_least(self, "method", 2, "batch_size", "stage_2_batch_size")
        above_zero(self, "method", "stage_1_epochs", "stage_2_epochs")
        shared.part(self, "stage_1_share")
        if self.counterfactual and self.mismatch == "neighbour":
            raise SettingsError(
                "method.counterfactual cannot go with method.mismatch neighbour: choose caption or picture, or set this to 0"
            )


@dataclass(frozen=True)
class StackGANNoise(Noise):
    """z: [B, noise_width]; epsilon_1, epsilon_2: [B, condition_width], with which each stage's condition is drawn. Standard normal."""

    z: Tensor
    epsilon_1: Tensor
    epsilon_2: Tensor


class StackGAN(AdversarialMethod[StackGANNoise]):
    """Two conditional GANs, the second of which refines the first one's pictures, with their published losses."""

    Settings = StackGANSettings
    title = "StackGAN"
    paper = "Zhang et al., StackGAN: Text to Photo-realistic Image Synthesis with Stacked GANs, ICCV 2017, arXiv:1612.03242"
    presets = {
        "as-published": Preset(
            sentence="The authors' PyTorch networks and schedule, 64 px and then 256 px, for a GPU.",
            resolution=256,
            training={"ema_half_life": 0.0},  # the authors keep no running average
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions, 32 px and then 64 px, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_STEPS,
                "factor": 2,
                "generator_channels": 16,
                "discriminator_channels": 16,
                "residual_blocks": 1,
                "activation": "leaky-relu",
                "discriminator_text": "sentence",
                "divergence_weight": 0.05,
                "mismatch": "caption",
                "moving_statistics": False,
                "discriminator_normalization": False,
                "stage_1_epochs": 40.0,
                "stage_2_epochs": 40.0,
                "stage_2_batch_size": 16,
            },
        ),
    }
    settings: StackGANSettings
    stage: int

    def __init__(self, settings: StackGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        doublings(conditions.resolution, "stackgan", smallest=8 * settings.factor)
        width, rough = conditions.sentence_width, conditions.resolution // settings.factor
        self.generator_1 = StageOne(settings, rough, width)
        self.discriminator_1 = Discriminator(settings, rough, width, unconditional=settings.unconditional == "both")
        self.generator_2 = StageTwo(settings, width)
        self.discriminator_2 = Discriminator(settings, conditions.resolution, width, unconditional=settings.unconditional != "none")
        for generator in (self.generator_1, self.generator_2):
            generator.apply(normal_initialization)
        for discriminator in (self.discriminator_1, self.discriminator_2):
            discriminator.apply(normal_initialization if settings.discriminator_normalization else he_initialization)
        self.register_state("stage", 2)  # which stage's pictures are painted, 1 or 2

    @property
    def resolution(self) -> int:
        return self.conditions.resolution // (1 if self.stage == 2 else self.settings.factor)

    def players(self) -> dict[str, Player]:
        return {
            "discriminator-1": self.player(self.discriminator_1),
            "generator-1": self.player(self.generator_1, averaged=True),
            "discriminator-2": self.player(self.discriminator_2),
            "generator-2": self.player(self.generator_2, averaged=self.stage == 2),  # before Stage-II, it does not paint
        }

    def phases(self) -> list[Phase]:
        settings, final = self.settings, self.conditions.resolution
        stages = (
            (STAGE_1, final // settings.factor, settings.batch_size, settings.stage_1_epochs, settings.stage_1_share),
            (STAGE_2, final, settings.stage_2_batch_size, settings.stage_2_epochs, 1.0 - settings.stage_1_share),
        )
        return [
            Phase(
                name=name,
                resolution=resolution,
                batch_size=batch_size,
                epochs=epochs,
                players=(f"discriminator-{number}", f"generator-{number}"),
                share=share,
                captions=settings.captions,
                counterfactuals=int(settings.counterfactual > 0),
                fewest=shared.fewest(settings),
            )
            for number, (name, resolution, batch_size, epochs, share) in enumerate(stages, start=1)
        ]

    def begin(self, phase: Phase) -> None:
        super().begin(phase)
        first = phase.name == STAGE_1
        self.stage = 1 if first else 2
        self.generator_1.requires_grad_(first)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        stage = 1 if progress.phase == STAGE_1 else 2
        discriminator, sentence = self.stage_discriminator(stage), mean_sentence(batch)  # [B, D]
        noise = self.noise(batch, progress.phase)
        found: GaussianCondition | None
        if stage == 1:
            fake, found = self.generator_1(noise.z, noise.epsilon_1, sentence)  # [B, 3, r, r]
        else:
            self.generator_1.train(self.settings.moving_statistics)
            with torch.no_grad():
                rough, _ = self.generator_1(noise.z, noise.epsilon_1, sentence)
            fake, found = self.generator_2(rough, noise.epsilon_2, sentence)  # [B, 3, R, R]
        # The same pictures serve both players, as in the authors' program.
        yield self._discriminator_turn(discriminator, batch, sentence, fake.detach(), self.penalty(progress))
        yield self._generator_turn(discriminator, sentence, fake, found)

    def stage_discriminator(self, stage: int) -> StageDiscriminator:
        """A stage's discriminator, and how it reads sentences."""
        discriminator = self.discriminator_1 if stage == 1 else self.discriminator_2
        if discriminator.text is not None:
            return StageDiscriminator(stage, discriminator, discriminator.text)
        augmentation = (stage == 2 and self.generator_2.text) or self.generator_1.text
        return StageDiscriminator(stage, discriminator, lambda sentence: augmentation(sentence).mean.detach())

    def _discriminator_turn(
        self, discriminator: StageDiscriminator, batch: Batch, sentence: Tensor, fake: Tensor, penalty: float
    ) -> Update:
        settings, condition = self.settings, discriminator.read(sentence)  # [B, C]
        features = discriminator.look(batch.pictures)  # [B, F, 4, 4]
        real, generated = discriminator.verdicts(features, condition), discriminator.verdicts(discriminator.look(fake), condition)
        if settings.mismatch == "neighbour":
            mismatched = discriminator.verdicts(features[:-1], condition[1:])[0]  # [B - 1]
        else:
            mismatched = mismatched_logits(discriminator, batch, features, sentence, settings.mismatch, settings.counterfactual)
        loss = discriminator_loss(real, mismatched, generated)
        logits = {"real": real[0], "fake": generated[0], "mismatched": mismatched}
        logits |= {"real_alone": real[1], "fake_alone": generated[1]} if len(real) > 1 else {}  # without the text
        metrics = {name: value.detach().sigmoid().mean() for name, value in logits.items()}
        update, reading = Update(f"discriminator-{discriminator.stage}", loss, metrics), condition.detach().float()
        return smoothed(
            update, penalty, (lambda shown: torch.stack(discriminator.verdicts(discriminator.look(shown), reading)).mean(0), batch.pictures)
        )

    def _generator_turn(self, discriminator: StageDiscriminator, sentence: Tensor, fake: Tensor, found: GaussianCondition | None) -> Update:
        fooling = fooling_loss(discriminator.verdicts(discriminator.look(fake), discriminator.read(sentence)))
        update = Update(f"generator-{discriminator.stage}", fooling)
        if found is None or not self.settings.augmentation:
            return update
        divergence = found.divergence()
        metrics = {"fooling": fooling.detach(), "divergence": divergence.detach()}
        return added(update, self.settings.divergence_weight * divergence, metrics)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> StackGANNoise:
        width = (self.settings.condition_width,)
        return StackGANNoise(
            z=gaussian((self.settings.noise_width,), seed, samples, stream),
            epsilon_1=gaussian(width, seed, samples, f"{stream}, condition of stage 1"),
            epsilon_2=gaussian(width, seed, samples, f"{stream}, condition of stage 2"),
        )

    def paint(self, text: TextFeatures, noise: StackGANNoise) -> Painting:
        rough, _ = self.generator_1(noise.z, noise.epsilon_1, text.sentence)
        if self.stage == 1:
            return Painting(rough)
        fine, _ = self.generator_2(rough, noise.epsilon_2, text.sentence)
        return Painting(fine, stages=(rough,))

    def look(self, pictures: Tensor) -> Tensor:
        """The map of the discriminator whose stage paints, before it reads the text, place by place: [B, 16 F]."""
        return self.stage_discriminator(self.stage).look(pictures).flatten(1)


class StageOne(nn.Module):
    """Noise and a condition drawn from the sentence to a rough picture, by nearest-neighbour upsampling from 4x4."""

    def __init__(self, settings: StackGANSettings, resolution: int, sentence_width: int) -> None:
        super().__init__()
        levels = doublings(resolution, "stackgan", smallest=8)
        widths = [max(8 * settings.generator_channels >> level, 1) for level in range(levels + 1)]  # coarse to fine
        self.augmented = settings.augmentation
        self.text = ConditioningAugmentation(sentence_width, settings.condition_width, settings.activation, settings.spread)
        code = widths[0] * FIRST_SIDE**2
        start = nn.Linear(settings.noise_width + settings.condition_width, code, bias=False)
        self.start = nn.Sequential(start, nn.BatchNorm1d(code), nn.ReLU(inplace=True), nn.Unflatten(1, (widths[0], FIRST_SIDE, FIRST_SIDE)))
        self.up = nn.Sequential(*(upsampling(wide, narrow) for wide, narrow in zip(widths, widths[1:], strict=False)))
        self.picture = to_picture(widths[-1])

    def forward(self, z: Tensor, epsilon: Tensor, sentence: Tensor) -> tuple[Tensor, GaussianCondition]:
        """z: [B, Z], epsilon: [B, C], sentence: [B, D] -> pictures [B, 3, r, r] in [-1, 1], and the Gaussian of their conditions."""
        found: GaussianCondition = self.text(sentence)
        condition = found.sample(epsilon) if self.augmented else found.mean
        return self.picture(self.up(self.start(torch.cat([z, condition], dim=1)))), found  # noise first, as in the PyTorch program


class StageTwo(nn.Module):
    """A rough picture, reduced to maps of a quarter of its side, and a condition drawn anew from the sentence, to a fine picture."""

    def __init__(self, settings: StackGANSettings, sentence_width: int) -> None:
        super().__init__()
        base, levels = settings.generator_channels, 2 + int(math.log2(settings.factor))
        self.augmented = settings.augmentation
        reader = ConditioningAugmentation(sentence_width, settings.condition_width, settings.activation, settings.spread)
        self.text = reader if settings.text_twice else None
        self.reading = nn.Sequential(nn.Conv2d(3, base, 3, padding=1, bias=False), nn.ReLU(inplace=True))
        for wide in (2 * base, 4 * base):
            self.reading.extend([nn.Conv2d(wide // 2, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)])
        self.joint = nn.Sequential(*convolution(4 * base + settings.condition_width * settings.text_twice, 4 * base))
        self.residual = nn.Sequential(*(Residual(4 * base) for _ in range(settings.residual_blocks)))
        widths = [max(4 * base >> level, 1) for level in range(levels + 1)]
        self.up = nn.Sequential(*(upsampling(wide, narrow) for wide, narrow in zip(widths, widths[1:], strict=False)))
        self.picture = to_picture(widths[-1])

    def forward(self, rough: Tensor, epsilon: Tensor, sentence: Tensor) -> tuple[Tensor, GaussianCondition | None]:
        """rough: [B, 3, r, r], epsilon: [B, C], sentence: [B, D] -> pictures [B, 3, R, R] in [-1, 1], and the Gaussian or None."""
        code = self.reading(rough)  # [B, 4 G, r / 4, r / 4]
        found: GaussianCondition | None = None
        if self.text is not None:
            found = self.text(sentence)
            condition = found.sample(epsilon) if self.augmented else found.mean  # [B, C]
            code = torch.cat([code, condition[:, :, None, None].expand(-1, -1, *code.shape[2:])], dim=1)
        return self.picture(self.up(self.residual(self.joint(code)))), found


class Discriminator(nn.Module):
    """Does the picture look real and match the text? With a second head also: does it look real, whatever the text?"""

    def __init__(self, settings: StackGANSettings, resolution: int, sentence_width: int, *, unconditional: bool) -> None:
        super().__init__()
        base, normalize, width = settings.discriminator_channels, settings.discriminator_normalization, settings.condition_width
        reader = nn.Sequential(nn.Linear(sentence_width, width), nn.LeakyReLU(0.2, inplace=True))
        self.text = reader if settings.discriminator_text == "sentence" else None
        self.picture = picture_code(base, resolution, normalize=normalize)
        top = base * 2 ** min(doublings(resolution, "stackgan", smallest=8) - 1, 3)
        self.matching = Head(top, width, normalize=normalize)
        self.alone = Head(top) if unconditional else None

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, F, 4, 4]: features that serve several captions."""
        return self.picture(pictures)


@dataclass(frozen=True)
class StageDiscriminator:
    """A stage's discriminator, and the function from sentences [B, D] to the conditions [B, C] that it reads."""

    stage: int
    discriminator: Discriminator
    read: Callable[[Tensor], Tensor]

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, F, 4, 4]."""
        return self.discriminator.look(pictures)

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """[B, F, 4, 4] and [B, D] -> [B] logits."""
        return self.discriminator.matching(features, self.read(sentence))

    def verdicts(self, features: Tensor, condition: Tensor) -> list[Tensor]:
        """[B, F, 4, 4] and [B, C] -> logits [B] of the pairs and, where there is a head for that, of the pictures without the text."""
        alone = self.discriminator.alone
        return [self.discriminator.matching(features, condition), *([alone(features)] if alone is not None else [])]


def discriminator_loss(real: Sequence[Tensor], mismatched: Tensor, fake: Sequence[Tensor]) -> Tensor:
    """The mean BCE of real pairs and pictures, plus that of mismatched and generated ones, from logits [B] of
    `StageDiscriminator.verdicts`."""
    accepted = [bce(logits, 1.0) for logits in real]
    refused = [bce(logits, 0.0) for logits in (*fake, mismatched)]
    return torch.stack(accepted).mean() + torch.stack(refused).mean()


def fooling_loss(fake: Sequence[Tensor]) -> Tensor:
    """The sum of BCE(fake, 1) over a discriminator's outputs, logits [B] each."""
    return torch.stack([bce(logits, 1.0) for logits in fake]).sum()
