"""StackGAN++, also called StackGAN-v2: a tree of generators, a discriminator for each branch (Zhang et al., TPAMI 2018).

Han Zhang, Tao Xu, Hongsheng Li, Shaoting Zhang, Xiaogang Wang, Xiaolei Huang and Dimitris Metaxas, "StackGAN++: Realistic Image Synthesis
with Stacked Generative Adversarial Networks", arXiv:1710.10916. All branches are trained together, with captions or, `unconditional`, from
pictures alone. This file follows the authors' code (github.com/hanzhanggit/StackGAN-v2, commit 6228e34) where paper and code differ:

- the KL term weighs 2 and is a mean over numbers where the paper sums;
- discriminators read the mean mu of the augmentation, not the condition drawn from it; the generator's loss has a gradient to the
  augmentation through it, the discriminators' loss does not;
- a mismatched pair's picture is still real: the unconditional target of that pair is 1;
- conditional and unconditional losses of all pairs are added, not averaged; without the unconditional loss it is real + (wrong + fake) / 2;
- without captions, the noise z takes the place of the condition in each later branch.

Not reproduced: at each snapshot the authors' conditional trainer loads the running average into the generator and goes on training from it.
Here the average paints and never trains; it includes the batch statistics, which theirs does not. Never published: final
sizes other than 256 px, 1, 2 and more than 3 branches (as the code has it untried, the fourth has one residual block), and mismatched
captions in place of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import ConditionedNoise, VectorNoise, gaussian
from limner.core.settings import Preset, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import PairMethod, smoothed
from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.matching_aware import bce, mean_sentence, mismatched_sentences, neighbours
from limner.families.stacked import to_picture
from limner.families.tree import FirstStage, NextStage, ScaleDiscriminator, discriminator_name, scales
from limner.nn.initialization import he_initialization, orthogonal_initialization

NAME = "stackgan-v2"
COVARIANCE_WEIGHT = 5.0
"""Weight of the colours' covariances relative to their means (lambda 2 / lambda 1 of Eq. 7)."""
Logits = Mapping[str, Tensor]
"""A discriminator's logits [B] of "real", "mismatched" and "fake" pairs or pictures."""


@dataclass(frozen=True, kw_only=True)
class StackGANv2Settings(
    shared.TreeSettings,
    shared.MismatchSettings,
    shared.CaptionSettings,
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of StackGAN++; the defaults are those of the authors' birds model."""

    unconditional: bool = False
    """Learn from pictures alone and read no text, as the authors' models of dogs, cats, bedrooms and churches do."""
    condition_width: int = 128
    """Numbers in the condition that is drawn for a sentence."""
    generator_channels: int = 64
    """Channels of the first branch's map; each later branch has half as many."""
    unconditional_weight: float = 1.0
    """Weight of the unconditional loss (is the picture real?), relative to the conditional one (does it match?); 0 trains without it. It
    stays at 1 where `unconditional`, which leaves no other loss."""
    divergence_weight: float = 2.0
    """Weight of the KL term that keeps the conditions of a sentence spread like standard normal noise."""
    colour_weight: float | None = None
    """Weight of the term that keeps the colours of consecutive scales alike; by default 50 where unconditional, else 0."""
    discriminator_text: Literal["mean", "sentence"] = "mean"
    """What the discriminators read: the mean of the condition, as published, or the sentence itself, which does not change in training."""
    batch_size: int = 24
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 1, "condition_width")
        at_least(self, "method", 0, "unconditional_weight", "divergence_weight", "colour_weight")
        at_least(self, "method", 2 ** (self.branches - 1), "generator_channels")
        if self.unconditional and self.unconditional_weight != 1.0:
            raise SettingsError(
                f"method.unconditional-weight is {self.unconditional_weight}, but with method.unconditional it has no other "
                "loss to be weighed against: leave it at 1"
            )

    @property
    def colour(self) -> float:
        """`colour_weight`, resolved."""
        return (50.0 if self.unconditional else 0.0) if self.colour_weight is None else self.colour_weight


class StackGANv2(PairMethod[VectorNoise | ConditionedNoise]):
    """The tree and its discriminators, trained with the joint conditional and unconditional losses."""

    Settings = StackGANv2Settings
    title = "StackGAN++"
    paper = "Zhang et al., StackGAN++: Realistic Image Synthesis with Stacked Generative Adversarial Networks, TPAMI 2018, arXiv:1710.10916"
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule for birds at 256 px, for a GPU.",
            resolution=256,
            training={"ema_half_life": 16_600.0},  # images: 0.999 a step of 24 pictures
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions, two scales up to 64 px, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_PAIRS,
                "branches": 2,
                "condition_width": 32,
                "generator_channels": 16,
                "discriminator_channels": 12,
                "residual_blocks": 0,
                "divergence_weight": 0.05,
                "discriminator_text": "sentence",
            },
        ),
    }
    settings: StackGANv2Settings
    generator: Generator

    def __init__(self, settings: StackGANv2Settings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.sides = scales(conditions.resolution, settings.branches, NAME)
        self.generator = Generator(settings, conditions.sentence_width, self.sides)
        normalize = settings.discriminator_normalization
        self.discriminators = nn.ModuleList(
            ScaleDiscriminator(
                settings.discriminator_channels,
                side,
                self._text_width,
                unconditional=settings.unconditional_weight > 0,
                normalize=normalize,
                condition_first=True,
            )
            for side in self.sides
        )
        self.generator.apply(orthogonal_initialization)
        self.discriminators.apply(orthogonal_initialization if normalize else he_initialization)

    @property
    def _text_width(self) -> int:
        """Width of the text that the discriminators read."""
        if self.settings.unconditional:
            return 0
        return self.settings.condition_width if self.settings.discriminator_text == "mean" else self.conditions.sentence_width

    @classmethod
    def reads_text(cls, settings: StackGANv2Settings) -> bool:
        return not settings.unconditional

    def players(self) -> dict[str, Player]:
        discriminators = {
            discriminator_name(side): self.player(discriminator)
            for side, discriminator in zip(self.sides, self.discriminators, strict=True)
        }
        return discriminators | {"generator": self.player(self.generator, averaged=True)}

    def phases(self) -> list[Phase]:
        if self.settings.unconditional:
            return [self.phase(epochs=self.settings.epochs, captions=0, counterfactuals=0)]
        return super().phases()

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """An update of each discriminator and one of the generator, all with the same pictures."""
        noise = self.noise(batch, "generator")
        sentence = None if self.settings.unconditional else mean_sentence(batch)  # [B, D]
        condition = None if sentence is None else self.generator.condition(sentence)
        fakes = self.generator(noise, condition)  # [B, 3, r, r] for each side r
        read = condition.mean if condition is not None and self.settings.discriminator_text == "mean" else sentence
        mean = None if read is None else read.detach()
        wrong = None if sentence is None else self._as_read(mismatched_sentences(batch, sentence, *self._mismatch))
        for side, discriminator, fake in zip(self.sides, self.discriminators, fakes, strict=True):
            assert isinstance(discriminator, ScaleDiscriminator)
            matching, reality = self._verdicts(discriminator, batch, side, fake.detach(), mean, wrong)
            loss = discriminator_loss(matching, reality, self.settings.unconditional_weight)
            metrics = {name: value.detach().sigmoid().mean() for name, value in (matching or reality).items()}
            update = Update(discriminator_name(side), loss, metrics)
            yield smoothed(update, self.penalty(progress), (self._both_verdicts(discriminator, mean), batch.image(side)))
        yield self._generator_update(fakes, condition, read)

    @property
    def _mismatch(self) -> tuple[shared.Mismatch, float]:
        return self.settings.mismatch, self.settings.counterfactual

    @torch.no_grad()
    def _as_read(self, sentence: Tensor) -> Tensor:
        """What the discriminators read of sentences [B, D]."""
        return self.generator.condition(sentence).mean if self.settings.discriminator_text == "mean" else sentence

    def _verdicts(
        self, discriminator: ScaleDiscriminator, batch: Batch, side: int, fake: Tensor, mean: Tensor | None, wrong: Tensor | None
    ) -> tuple[Logits, Logits]:
        """One discriminator's conditional and unconditional logits; one of the two may be empty."""
        pictures = batch.image(side)
        seen = {"real": pictures, "fake": fake}
        if wrong is not None and self.settings.mismatch == "picture":
            count = batch.rows_of(self.settings.counterfactual)  # these keep their picture
            seen["mismatched"] = torch.cat([pictures[:count], batch.mismatched.image(side)[count:]])
        codes = dict(zip(seen, discriminator.look_apart(*seen.values()), strict=True))
        matching = {}
        if mean is not None and wrong is not None:
            if self.settings.mismatch == "neighbour":
                codes["mismatched"] = neighbours(codes["real"], batch, self.settings.counterfactual)
            codes.setdefault("mismatched", codes["real"])
            pairs = {name: (code, wrong if name == "mismatched" else mean) for name, code in codes.items()}
            matching = dict(zip(pairs, discriminator.match_apart(*pairs.values()), strict=True))
        if discriminator.reality is None:
            return matching, {}
        if self.settings.mismatch != "picture":
            codes.pop("mismatched", None)  # these are the real pictures again
        return matching, {name: discriminator.realism(code) for name, code in codes.items()}

    def _both_verdicts(self, discriminator: ScaleDiscriminator, mean: Tensor | None) -> Callable[[Tensor], Tensor]:
        """A function from pictures to the sum of one discriminator's logits, weighted as in its loss."""

        def verdicts(pictures: Tensor) -> Tensor:
            code = discriminator.look(pictures)
            if mean is None:
                return discriminator.realism(code)
            match = discriminator.match(code, mean.float())
            return match if discriminator.reality is None else match + self.settings.unconditional_weight * discriminator.realism(code)

        return verdicts

    def _generator_update(self, fakes: Sequence[Tensor], condition: GaussianCondition | None, read: Tensor | None) -> Update:
        settings = self.settings
        fooling, metrics = [], {}
        for discriminator, fake in zip(self.discriminators, fakes, strict=True):
            assert isinstance(discriminator, ScaleDiscriminator)
            code = discriminator.look(fake)
            match = None if read is None else discriminator.match(code, read)
            fooling.append(
                fooling_loss(match, None if discriminator.reality is None else discriminator.realism(code), settings.unconditional_weight)
            )
        loss = torch.stack(fooling).sum()
        metrics["fooling"] = loss.detach()
        if condition is not None:
            divergence = condition.divergence()
            loss = loss + settings.divergence_weight * divergence
            metrics["divergence"] = divergence.detach()
        if settings.colour and len(fakes) > 1:
            colours = colour_difference(fakes)
            loss = loss + settings.colour * colours
            metrics["colours"] = colours.detach()
        return Update("generator", loss, metrics)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise | ConditionedNoise:
        z = gaussian((self.settings.noise_width,), seed, samples, stream)
        if self.settings.unconditional:
            return VectorNoise(z)
        return ConditionedNoise(z, gaussian((self.settings.condition_width,), seed, samples, f"{stream} condition"))

    def paint(self, text: TextFeatures, noise: VectorNoise | ConditionedNoise) -> Painting:
        condition = None if self.settings.unconditional else self.generator.condition(text.sentence)
        *stages, images = self.generator(noise, condition)
        return Painting(images, stages=tuple(stages))

    def look(self, pictures: Tensor) -> Tensor:
        """The last discriminator's 4x4 code, place by place: [B, 128 D]."""
        discriminator = self.discriminators[-1]
        assert isinstance(discriminator, ScaleDiscriminator)
        return discriminator.look(pictures).flatten(1)


class Generator(nn.Module):
    """The tree: conditioning augmentation, a trunk of stages, and a picture of each stage's map."""

    def __init__(self, settings: StackGANv2Settings, sentence_width: int, sides: Sequence[int]) -> None:
        super().__init__()
        width = settings.condition_width
        self.augmentation = None if settings.unconditional else ConditioningAugmentation(sentence_width, width, "glu")
        second = settings.noise_width if settings.unconditional else width
        channels = [settings.generator_channels >> branch for branch in range(len(sides))]
        self.first = FirstStage(settings.noise_width + (0 if settings.unconditional else width), channels[0], sides[0], NAME)
        self.later = nn.ModuleList(
            NextStage(wide, narrow, settings.residual_blocks if branch < 2 else min(settings.residual_blocks, 1), condition=second)
            for branch, (wide, narrow) in enumerate(zip(channels, channels[1:], strict=False))
        )
        self.pictures = nn.ModuleList(to_picture(count) for count in channels)

    def condition(self, sentence: Tensor) -> GaussianCondition:
        """[B, D] -> Gaussians of C numbers."""
        assert self.augmentation is not None
        found: GaussianCondition = self.augmentation(sentence)
        return found

    def forward(self, noise: VectorNoise | ConditionedNoise, condition: GaussianCondition | None = None) -> tuple[Tensor, ...]:
        """Pictures [B, 3, r, r] in [-1, 1] of every branch, coarse to fine."""
        if condition is None:
            second = noise.z
            hidden = self.first(noise.z)
        else:
            assert isinstance(noise, ConditionedNoise)
            second = condition.sample(noise.epsilon)
            hidden = self.first(second, noise.z)  # the condition first, as in the authors' code
        painted = [self.pictures[0](hidden)]
        for stage, picture in zip(self.later, self.pictures[1:], strict=True):
            hidden = stage(hidden, second)
            painted.append(picture(hidden))
        return tuple(painted)


def discriminator_loss(matching: Logits, reality: Logits, weight: float) -> Tensor:
    """BCE of one scale's conditional and unconditional logits (Eq. 5).

    matching: empty where there is no text. reality: empty without the unconditional loss; "mismatched" is a real picture, and is missing
    where it is one of the "real" ones. weight: weight of the unconditional loss.
    """
    if not matching:
        return bce(reality["real"], 1.0) + bce(reality["fake"], 0.0)
    real, negatives = bce(matching["real"], 1.0), bce(matching["mismatched"], 0.0) + bce(matching["fake"], 0.0)
    if not reality:
        return real + 0.5 * negatives
    targets = {"real": 1.0, "mismatched": 1.0, "fake": 0.0}
    return real + negatives + weight * torch.stack([bce(logits, targets[name]) for name, logits in reality.items()]).sum()


def fooling_loss(matching: Tensor | None, reality: Tensor | None, weight: float) -> Tensor:
    """BCE of one scale's logits [B] of generated pictures against 1 (Eq. 6); None for a loss that is left out."""
    if matching is None:
        assert reality is not None
        return bce(reality, 1.0)
    return bce(matching, 1.0) + (0.0 if reality is None else weight * bce(reality, 1.0))


def colour_statistics(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Means [B, 3] and covariances [B, 3, 3] of each picture's colours over its pixels."""
    pixels = pictures.flatten(2)  # [B, 3, HW]
    mean = pixels.mean(2)
    centred = pixels - mean[..., None]
    return mean, centred @ centred.transpose(1, 2) / pixels.shape[2]


def colour_difference(pictures: Sequence[Tensor]) -> Tensor:
    """How far the colours of each scale are from those of the one before, which gets no gradient (Eq. 7, summed over scales)."""
    terms = []
    for coarse, fine in zip(pictures, pictures[1:], strict=False):
        (wanted_mean, wanted_covariance), (mean, covariance) = colour_statistics(coarse.detach()), colour_statistics(fine)
        terms.append(F.mse_loss(mean, wanted_mean) + COVARIANCE_WEIGHT * F.mse_loss(covariance, wanted_covariance))
    return torch.stack(terms).sum()
