"""HDGAN: one generator with discriminators at several of the sizes of its maps (Zhang, Xie and Yang, CVPR 2018).

Zizhao Zhang, Yuanpu Xie and Lin Yang, "Photographic Text-to-Image Synthesis with a Hierarchically-nested Adversarial Network",
arXiv:1802.09178. Networks, losses and settings follow the authors' code (github.com/ypxie/HDGan, commit d98e2a8), in which:

- both losses are least squares of raw scores (LSGAN), not cross-entropies;
- the local score is a map of 5x5 only at 256 px; at 64 and 128 px it is one number for the whole picture (`patch_from`);
- the mismatched pair is another class's *picture* with the right caption, and that picture counts as real in the local loss;
- the condition is the mean embedding of four captions; its Gaussian passes a LeakyReLU and gives the *logarithm of the deviation*; the
  discriminators read the embedding itself;
- the divergence's weight is 4 (2 for COCO), and it is a mean over numbers;
- the generator has no skip connections, although its comments mention them.

512 px: the authors' second generator, on top of a frozen one of 256 px, cannot train as published (its `parameters()` calls itself
without end), and their code has no discriminator of that size. Here the one generator has a step more by the same rules, trained end
to end, with a fourth discriminator; the L1 distance to the enlarged picture of 256 px, which constrained the second generator, is left
out. Sizes below 256 px, for which nothing was published, end earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from limner.core.trainable import Conditions, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import PairMethod, smoothed
from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.matching_aware import mean_sentence, mismatched_pictures, mismatched_sentences, neighbours
from limner.families.stacked import FIRST_SIDE, doublings
from limner.nn.fast.layout import for_convolutions
from limner.nn.initialization import dcgan_initialization, he_initialization

CODE_SIDE = 8
"""Side of the maps to which the discriminators' strided convolutions go down."""


@dataclass(frozen=True, kw_only=True)
class HDGANSettings(
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
    """Settings of HDGAN; the defaults are those of the authors' birds and flowers models."""

    condition_width: int = 128
    """Numbers in the conditions that conditioning augmentation draws."""
    text_width: int = 128
    """Width to which each discriminator projects the sentence embedding."""
    divergence_weight: float = 4.0
    """Weight of the KL divergence of the condition's Gaussian in the generator's loss; 2 in the authors' COCO models."""
    generator_channels: int = 1024
    """Channels of the generator's first map, of 4 px."""
    halved_at: tuple[int, ...] = (8, 32, 128, 256, 512)
    """Sides of the generator's maps at which the channels halve."""
    residual_blocks: int = 1
    """Residual blocks at each side of the generator's maps."""
    nested: tuple[int, ...] = (64, 128, 256)
    """Sides of the intermediate pictures, each with a discriminator; those not below the final side are left out, and the final picture
    always has one. Fewer are the paper's ablation."""
    discriminator_channels: int = 128
    """Channels of a discriminator's map of 32 px, half as many at twice the side: 128, 64, 32 in the first maps for 64, 128, 256 px."""
    code_channels: int = 512
    """Channels of the code that a discriminator ends with."""
    local_weight: float = 1.0
    """Weight of the local image loss, which judges pictures without their captions; 0 trains without it, which is the paper's ablation."""
    patch_from: int = 256
    """Smallest side at which the local score is a map of 5x5, one number for each patch; below, it is one number for the picture."""
    captions: int = 4
    """Captions per picture, whose mean embedding is the condition."""
    halve_every: float = 100.0
    """Epochs between halvings of the learning rate (50 in the authors' COCO models); 0 keeps it constant."""
    batch_size: int = 10
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 0, "divergence_weight", "residual_blocks", "local_weight")
        at_least(self, "method", 1, "condition_width", "text_width", "generator_channels", "discriminator_channels", "code_channels")
        if list(self.nested) != sorted(set(self.nested)) or any(side < 16 or side & (side - 1) for side in self.nested):
            raise SettingsError(f"method.nested is {self.nested}, but must be rising powers of two from 16: 64 128 256 as published")


class HDGAN(PairMethod[ConditionedNoise]):
    """Zhang, Xie and Yang's generator, with a discriminator at each of several sides, trained together.

    All discriminators are one player, as in the authors' code: one loss, one optimiser.
    """

    Settings = HDGANSettings
    title = "HDGAN"
    paper = (
        "Zhang, Xie and Yang, Photographic Text-to-Image Synthesis with a Hierarchically-nested Adversarial Network, CVPR 2018, "
        "arXiv:1802.09178"
    )
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule at 256 px, judged at 64, 128 and 256, for a GPU.",
            resolution=256,
            training={"ema_half_life": 0.0},  # the authors keep no running average
        ),
        "cpu": Preset(
            sentence="Narrow networks at 64 px, judged at 32 and 64, with counterfactual captions, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_PAIRS,
                "generator_channels": 128,
                "halved_at": (8, 16, 32, 64),
                "nested": (32,),
                "discriminator_channels": 16,
                "code_channels": 64,
                "local_weight": 0.2,
                "patch_from": 64,
                "captions": 1,
                "divergence_weight": 0.05,
            },
        ),
    }
    settings: HDGANSettings
    generator: Generator
    discriminator: nn.ModuleDict

    def __init__(self, settings: HDGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        doublings(conditions.resolution, "hdgan")
        self.sides = (*(side for side in settings.nested if side < conditions.resolution), conditions.resolution)
        self.generator = Generator(settings, conditions, self.sides)
        self.discriminator = nn.ModuleDict({str(side): Discriminator(settings, conditions.sentence_width, side) for side in self.sides})
        self.generator.apply(dcgan_initialization)
        self.discriminator.apply(dcgan_initialization if settings.discriminator_normalization else he_initialization)

    def discriminator_of(self, side: int) -> Discriminator:
        """The discriminator of pictures of one side."""
        discriminator = self.discriminator[str(side)]
        assert isinstance(discriminator, Discriminator)
        return discriminator

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        sentence = mean_sentence(batch)  # [B, D]
        noise = self.noise(batch, "generator")
        fakes, condition = self.generator(sentence, noise.z, noise.epsilon)
        yield self._discriminator_update(batch, sentence, [fake.detach() for fake in fakes], self.penalty(progress))
        yield self._generator_update(fakes, sentence, condition)

    def _discriminator_update(self, batch: Batch, sentence: Tensor, fakes: Sequence[Tensor], penalty: float = 0.0) -> Update:
        """The sum over sides of pair loss and local loss."""
        settings = self.settings
        wrong = mismatched_sentences(batch, sentence, settings.mismatch, settings.counterfactual) if settings.mismatch_weight else None
        losses, means, metrics = [], [], {}
        for side, fake in zip(self.sides, fakes, strict=True):
            discriminator = self.discriminator_of(side)
            real = [discriminator.look(batch.image(side))]
            if wrong is not None and settings.mismatch == "picture":
                real.append(discriminator.look(mismatched_pictures(batch, side, settings.counterfactual)))
            generated = discriminator.look(fake)
            scores = [discriminator.match(real[0], sentence), discriminator.match(generated, sentence)]
            if wrong is not None:
                other = real[-1]
                if settings.mismatch == "neighbour":
                    other = Seen(*(neighbours(maps, batch, settings.counterfactual) for maps in (other.code, other.core)))
                scores.append(discriminator.match(other, wrong))
            losses.append(pair_loss(*scores, weight=settings.mismatch_weight))
            means.append(torch.stack([score.detach().mean() for score in scores]))
            metrics[f"pair_{side}"] = losses[-1].detach()
            if discriminator.local is not None:
                local = local_loss([discriminator.local(seen.code) for seen in real], discriminator.local(generated.code))
                losses.append(settings.local_weight * local)
                metrics[f"local_{side}"] = local.detach()
        loss = torch.stack(losses).sum()
        metrics |= dict(zip(("real", "fake", "mismatched"), torch.stack(means).mean(0), strict=False))
        update = Update("discriminator", loss, metrics)
        return smoothed(update, penalty, *((self._verdict(side, sentence), batch.image(side)) for side in self.sides))

    def _verdict(self, side: int, sentence: Tensor) -> Callable[[Tensor], Tensor]:
        """A function from pictures to the sum of a discriminator's pair score and the mean of its local map, [B]."""
        discriminator = self.discriminator_of(side)

        def verdict(pictures: Tensor) -> Tensor:
            seen = discriminator.look(pictures)
            score = discriminator.match(seen, sentence.float())
            return (
                score
                if discriminator.local is None
                else score + self.settings.local_weight * discriminator.local(seen.code).flatten(1).mean(1)
            )

        return verdict

    def _generator_update(self, fakes: Sequence[Tensor], sentence: Tensor, condition: GaussianCondition) -> Update:
        """The pair and local losses of each side, and the divergence of the conditions."""
        divergence = condition.divergence()
        losses, metrics = [self.settings.divergence_weight * divergence], {"divergence": divergence.detach()}
        for side, fake in zip(self.sides, fakes, strict=True):
            discriminator = self.discriminator_of(side)
            seen = discriminator.look(fake)
            losses.append(away_from(discriminator.match(seen, sentence), 1.0))
            metrics[f"pair_{side}"] = losses[-1].detach()
            if discriminator.local is not None:
                local = away_from(discriminator.local(seen.code), 1.0)
                losses.append(self.settings.local_weight * local)
                metrics[f"local_{side}"] = local.detach()
        return Update("generator", torch.stack(losses).sum(), metrics)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> ConditionedNoise:
        settings = self.settings
        return ConditionedNoise(
            z=gaussian((settings.noise_width,), seed, samples, stream),
            epsilon=gaussian((settings.condition_width,), seed, samples, f"{stream} epsilon"),
        )

    def paint(self, text: TextFeatures, noise: ConditionedNoise) -> Painting:
        pictures, _ = self.generator(text.sentence, noise.z, noise.epsilon)
        return Painting(pictures[-1], stages=tuple(pictures[:-1]))

    def look(self, pictures: Tensor) -> Tensor:
        """What the final side's discriminator sees before it reads the text, place by place: [B, 16 C]."""
        return self.discriminator_of(self.sides[-1]).look(pictures).core.flatten(1)


class Generator(nn.Module):
    """Sentence and noise to pictures of several sides, from the maps of one column of blocks.

    A linear projection to 4x4, then at each side up to the final one: nearest neighbours, a convolution where the channels halve, residual
    blocks. At the sides of `sides`, a convolution paints a picture. Convolutions are 3x3 and pad by reflection.
    """

    def __init__(self, settings: HDGANSettings, conditions: Conditions, sides: Sequence[int]) -> None:
        super().__init__()
        width, self.sides = settings.generator_channels, tuple(sides)
        self.augmentation = ConditioningAugmentation(
            conditions.sentence_width, settings.condition_width, "leaky-relu", spread="log-deviation"
        )
        first = width * FIRST_SIDE**2
        self.project = nn.Sequential(nn.Linear(settings.condition_width + settings.noise_width, first), nn.BatchNorm1d(first))
        self.scales, self.pictures = nn.ModuleDict(), nn.ModuleDict()
        for level in range(doublings(conditions.resolution, "hdgan") + 1):
            side = FIRST_SIDE * 2**level
            layers: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="nearest")] if level else []
            if side in settings.halved_at:
                if width % 2:
                    raise SettingsError(
                        f"method.generator-channels {settings.generator_channels} cannot be halved at each of method.halved-at "
                        f"up to {conditions.resolution} px: give a multiple of a higher power of two, or halve less often"
                    )
                layers.append(reflected(width, width // 2, nn.ReLU(inplace=True)))
                width //= 2
            self.scales[str(side)] = nn.Sequential(*layers, *(ReflectedResidual(width) for _ in range(settings.residual_blocks)))
            if side in self.sides:
                self.pictures[str(side)] = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(width, 3, 3, bias=False), nn.Tanh())

    def forward(self, sentence: Tensor, z: Tensor, epsilon: Tensor) -> tuple[list[Tensor], GaussianCondition]:
        """[B, D], [B, Z] and [B, C] -> pictures [B, 3, s, s] in [-1, 1] of each side s, from small to large; the condition's Gaussian."""
        condition: GaussianCondition = self.augmentation(sentence)
        x = self.project(torch.cat([condition.sample(epsilon), z], dim=1))
        x = for_convolutions(x.unflatten(1, (-1, FIRST_SIDE, FIRST_SIDE)))
        pictures = []
        for side, scale in self.scales.items():
            x = scale(x)
            if side in self.pictures:
                pictures.append(self.pictures[side](x))
        return pictures, condition


@dataclass(frozen=True)
class Seen:
    """A discriminator's maps of pictures. code: [B, C, 4, 4], or [B, C, 8, 8] where there are local scores; core: [B, C, 4, 4]."""

    code: Tensor
    core: Tensor


class Discriminator(nn.Module):
    """Two scores of pictures of one side: do picture and sentence belong together, and does the picture, or each patch, look real?"""

    def __init__(self, settings: HDGANSettings, sentence_width: int, side: int) -> None:
        super().__init__()
        code, normalize, patches = settings.code_channels, settings.discriminator_normalization, side >= settings.patch_from
        maps = [side // 2**level for level in range(1, doublings(side, "the discriminator"))]  # down to CODE_SIDE
        widths = [3, *(max(1, settings.discriminator_channels * 32 // m) for m in maps)]
        if patches:
            widths[-1] = code
        layers = [
            leaky(nn.Conv2d(narrow, wide, 3, 2, 1, bias=not normalize), normalize and level > 0)
            for level, (narrow, wide) in enumerate(zip(widths, widths[1:], strict=False))
        ]
        shrink = leaky(nn.Conv2d(widths[-1], code, CODE_SIDE - FIRST_SIDE + 1, bias=not normalize), normalize)
        self.picture = nn.Sequential(*layers, *([] if patches else [shrink]))
        self.shrink = shrink if patches else nn.Identity()
        self.text = nn.Sequential(nn.Linear(sentence_width, settings.text_width), nn.LeakyReLU(0.2, inplace=True))
        joint = leaky(nn.Conv2d(code + settings.text_width, code, 1, bias=not normalize), normalize)
        self.joint = nn.Sequential(joint, nn.Conv2d(code, 1, FIRST_SIDE))
        self.local = nn.Conv2d(code, 1, FIRST_SIDE) if settings.local_weight else None

    def look(self, pictures: Tensor) -> Seen:
        """[B, 3, s, s] -> the maps that serve several sentences and the local score."""
        code = self.picture(for_convolutions(pictures))
        return Seen(code, self.shrink(code))

    def match(self, seen: Seen, sentence: Tensor) -> Tensor:
        """Pictures and their sentences [B, D] -> [B] scores, 1 for a pair that belongs together and 0 for one that does not."""
        text = self.text(sentence)[:, :, None, None].expand(-1, -1, FIRST_SIDE, FIRST_SIDE)
        return self.joint(torch.cat([seen.core, text], dim=1)).flatten()


def away_from(scores: Tensor, target: float) -> Tensor:
    """Mean squared distance of scores of any shape from one target."""
    return (scores - target).square().mean()


def pair_loss(real: Tensor, fake: Tensor, mismatched: Tensor | None = None, *, weight: float) -> Tensor:
    """A discriminator's loss on pairs, from scores [B] of each kind; the mismatched ones weigh `weight`, the generated ones the rest."""
    loss = away_from(real, 1.0) + (1.0 - weight) * away_from(fake, 0.0)
    return loss if mismatched is None else loss + weight * away_from(mismatched, 0.0)


def local_loss(real: Sequence[Tensor], fake: Tensor) -> Tensor:
    """A discriminator's loss on pictures alone, from maps [B, 1, h, w]: one or two sets of real pictures, whose mean counts."""
    return away_from(fake, 0.0) + torch.stack([away_from(score, 1.0) for score in real]).mean()


def reflected(narrow: int, wide: int, *after: nn.Module) -> nn.Sequential:
    """3x3 convolution of a map padded by reflection, batch normalisation, and what comes after."""
    return nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(narrow, wide, 3, bias=False), nn.BatchNorm2d(wide), *after)


class ReflectedResidual(nn.Module):
    """x + BN(conv(ReLU(BN(conv(x))))), [B, C, H, W] -> [B, C, H, W], padded by reflection, with nothing after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(reflected(channels, channels, nn.ReLU(inplace=True)), reflected(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def leaky(convolution: nn.Conv2d, normalize: bool) -> nn.Sequential:
    """A convolution, batch normalisation where `normalize` is True, and a LeakyReLU."""
    norm = [nn.BatchNorm2d(convolution.out_channels)] if normalize else []
    return nn.Sequential(convolution, *norm, nn.LeakyReLU(0.2, inplace=True))
