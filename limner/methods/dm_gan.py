"""DM-GAN: a tree of generators whose later branches refine their maps from a memory of the caption's words (Zhu et al., CVPR 2019).

Minfeng Zhu, Pingbo Pan, Wei Chen and Yi Yang, "DM-GAN: Dynamic Memory Generative Adversarial Networks for Text-to-Image Synthesis",
arXiv:1904.01310. This file follows the authors' code (github.com/MinfengZhu/DM-GAN, commit d515995) where it says more than the paper:

- discriminators have spectral norms and biases in place of batch normalisation, but for their last layers;
- the map's mean, which is written to the memory, passes no gradient; the stage after a memory reads its answer twice, concatenated;
- the losses are AttnGAN's (`limner.families.attentive.losses`), and the KL term is a mean over numbers where the paper sums.

Differences from the code: a place never reads the padding of its caption (theirs mixes the batch's masks: `mixed_padding`); the power
iteration of an evaluation is not kept; the running average includes the batch statistics; means are over maps of any size, while theirs
assumes 64 and 128 px. Never published: the details of the paper's variants without gates or memory (here, without memory, later branches
read the condition, as in StackGAN++), sizes other than 256 px, mismatched pairs from outside the batch, gradient penalties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from limner.core.noise import ConditionedNoise
from limner.core.settings import FAST, Preset
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.families import settings as shared
from limner.families.attentive.attention import attend
from limner.families.attentive.method import AttentiveMethod
from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.stacked import to_picture
from limner.families.tree import FirstStage, NextStage, ScaleDiscriminator
from limner.nn.fast.layout import for_convolutions
from limner.nn.fast.upsampling import DoublingConvolution
from limner.nn.spectral import normalize_spectrally

NAME = "dm-gan"


@dataclass(frozen=True, kw_only=True)
class DMGANSettings(
    shared.AttentionSettings,
    shared.AugmentationSettings,
    shared.TreeSettings,
    shared.GuideSettings,
    shared.MismatchSettings,
    shared.PenaltySettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of DM-GAN; the defaults are those of the authors' birds model."""

    memory: bool = True
    """Refine maps by a memory of the words; without it, as in the paper's baseline, later branches read the condition alone."""
    writing_gate: bool = True
    """Weigh each word against the current picture when the memory is written; without it, the memory holds the words alone."""
    response_gate: bool = True
    """Weigh, at each place, what was read from the memory against the map; without it, the two are concatenated."""
    generator_channels: int = 64
    """Channels of every branch's map."""
    discriminator_channels: int = 32
    """Channels of a discriminator's first map at 64 px and above; later ones double, down to 8 times as many at 4x4."""
    residual_blocks: int = 2
    """Residual blocks in each later branch; the authors' COCO model has 3."""
    spectral_normalization: bool = True
    """Divide the weights of discriminators' convolutions by their largest singular values, as published; without it, they have He
    initialisation."""
    mismatch: shared.Mismatch = "neighbour"
    """What a mismatched pair is made of: a picture and the caption of the batch's next one, as in the authors' code; or another picture or
    caption, of another class where classes are known."""
    epochs: float = 800.0
    """Passes over the training pictures."""
    batch_size: int = 10
    """Pictures a step, over all processes."""

    @property
    def reads_words(self) -> bool:
        """Whether the generator writes words to a memory."""
        return self.memory and self.branches > 1


class DMGAN(AttentiveMethod):
    """The tree with its memories and its discriminators, trained with the joint losses and those of a matching model."""

    Settings = DMGANSettings
    title = "DM-GAN"
    paper = "Zhu et al., DM-GAN: Dynamic Memory Generative Adversarial Networks for Text-to-Image Synthesis, CVPR 2019, arXiv:1904.01310"
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule for birds at 256 px, for a GPU; give --method.matching the trained damsm.",
            resolution=256,
            training={"ema_half_life": 6_930.0},  # images: 0.999 a step of 10 pictures
        ),
        "fast": Preset(
            sentence="As published, but as fast as the device allows: compiled networks and bfloat16 where a GPU has them.",
            resolution=256,
            training={"ema_half_life": 6_930.0, **FAST},
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions, a memory at 32 px, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_STEPS,
                "branches": 2,
                "condition_width": 64,
                "generator_channels": 8,
                "discriminator_channels": 12,
                "residual_blocks": 0,
                "spectral_normalization": False,
                "divergence_weight": 0.05,
                "mismatch": "caption",
                "epochs": 40.0,
            },
        ),
    }
    settings: DMGANSettings

    def __init__(self, settings: DMGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions, NAME, words=settings.reads_words, without="--method.no-memory")
        self.generator = Generator(settings, conditions, self.sides)
        self.discriminators = nn.ModuleList(
            build_discriminator(settings.discriminator_channels, side, conditions.sentence_width, spectral=settings.spectral_normalization)
            for side in self.sides
        )
        self.begin_weights(normalized=settings.spectral_normalization)


class Generator(nn.Module):
    """The tree: conditioning augmentation, and a trunk of stages with a memory before each later one; a convolution of each map paints."""

    def __init__(self, settings: DMGANSettings, conditions: Conditions, sides: Sequence[int]) -> None:
        super().__init__()
        width, channels, later = settings.condition_width, settings.generator_channels, len(sides) - 1
        self.augmentation = ConditioningAugmentation(conditions.sentence_width, width, "glu")
        self.first = FirstStage(width + settings.noise_width, channels, sides[0], NAME)
        if settings.memory:
            gates = {"writing_gate": settings.writing_gate, "response_gate": settings.response_gate}
            self.memories = nn.ModuleList(
                DynamicMemory(conditions.word_width or 0, channels, **gates, mixed_padding=settings.mixed_padding) for _ in range(later)
            )
            refined = after_response if settings.response_gate else partial(NextStage, 2 * channels)
            self.later = nn.ModuleList(refined(channels, settings.residual_blocks) for _ in range(later))
        else:
            self.memories = nn.ModuleList()
            self.later = nn.ModuleList(NextStage(channels, channels, settings.residual_blocks, condition=width) for _ in range(later))
        self.pictures = nn.ModuleList(to_picture(channels) for _ in sides)

    def condition(self, sentence: Tensor) -> GaussianCondition:
        """[B, D] -> Gaussians of C numbers."""
        found: GaussianCondition = self.augmentation(sentence)
        return found

    def forward(self, noise: ConditionedNoise, condition: GaussianCondition, text: TextFeatures) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Pictures [B, 3, r, r] in [-1, 1], coarse to fine, and the attention to words [B, T, h, w] before every later branch."""
        drawn = condition.sample(noise.epsilon)
        hidden = for_convolutions(self.first(drawn, noise.z))  # the condition first, as in the authors' code
        maps, attended = [hidden], []
        for branch, stage in enumerate(self.later):
            if self.memories:
                assert text.words is not None and text.mask is not None
                answer, attention = self.memories[branch](hidden, text.words, text.mask)
                attended.append(attention)
                hidden = stage(answer)
            else:
                hidden = stage(hidden, drawn)
            maps.append(hidden)
        return tuple(picture(hidden) for picture, hidden in zip(self.pictures, maps, strict=True)), attended


def build_discriminator(base: int, side: int, sentence_width: int, *, spectral: bool) -> ScaleDiscriminator:
    """One scale's discriminator, without batch normalisation; its last layers have no spectral norm either."""
    discriminator = ScaleDiscriminator(base, side, sentence_width, unconditional=True, normalize=False)
    if spectral:
        assert discriminator.matching is not None and discriminator.matching.joint is not None
        normalize_spectrally(discriminator.picture)
        normalize_spectrally(discriminator.matching.joint)
    return discriminator


class DynamicMemory(nn.Module):
    """Refines a map by a memory of the caption's words, which every place of it reads (arXiv:1904.01310, Eq. 2 to 9).

    Writing: a slot for each word, of twice the map's channels, holds the word and the map's mean over places, weighed against each other by
    a gate of one number for each word. Addressing and reading: every place is compared with the slots' keys and reads a weighted mean of
    their values. Response: a gate of one number for each place weighs the map against what was read.

    writing_gate: without it, slots hold the words alone (Eq. 2). response_gate: without it, what was read is concatenated with the map (Eq.
    7); with it, the new map is concatenated with itself, as in the authors' code, so that the next layers have the same size.
    mixed_padding: hide padding as the authors' code does (`limner.families.attentive.attention.attend`).
    """

    def __init__(
        self, word_width: int, channels: int, *, writing_gate: bool = True, response_gate: bool = True, mixed_padding: bool = False
    ) -> None:
        super().__init__()
        self.mixed_padding = mixed_padding
        slot = 2 * channels
        self.write_words = nn.Linear(word_width, slot)
        self.write_map = nn.Linear(channels, slot) if writing_gate else None
        self.gate_words = nn.Linear(word_width, 1, bias=False) if writing_gate else None
        self.gate_map = nn.Linear(channels, 1, bias=False) if writing_gate else None
        self.key = nn.Linear(slot, channels)
        self.value = nn.Linear(slot, channels)
        self.response = nn.Conv2d(2 * channels, 1, 1) if response_gate else None

    def write(self, hidden: Tensor, words: Tensor) -> Tensor:
        """Maps [B, C, H, W] and words [B, T, D] -> slots [B, T, 2 C]. The map's mean passes no gradient, as in the authors' code."""
        written = self.write_words(words).relu()
        if self.write_map is None:
            return written
        assert self.gate_words is not None and self.gate_map is not None
        mean = hidden.detach().mean((2, 3))[:, None]  # [B, 1, C]
        gate = (self.gate_words(words) + self.gate_map(mean)).sigmoid()  # [B, T, 1]
        kept = self.write_map(mean).relu()
        return written * gate + kept * (1 - gate)

    def forward(self, hidden: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, C, H, W], words [B, T, D], mask [B, T] (True where there is a word, one at least) -> maps [B, 2 C, H, W], and the
        attention of each place to each word, [B, T, H, W]."""
        slots = self.write(hidden, words)
        read, attention = attend(hidden, self.key(slots).relu(), self.value(slots).relu(), mask, mixed_padding=self.mixed_padding)
        if self.response is None:
            return torch.cat([hidden, read], dim=1), attention
        gate = self.response(torch.cat([hidden, read], dim=1)).sigmoid()  # [B, 1, H, W]
        answer = hidden * (1 - gate) + read * gate
        return torch.cat([answer, answer], dim=1), attention


class TwiceConv2d(nn.Conv2d):
    """A convolution of maps [B, 2 C, H, W] whose second half repeats the first: half the arithmetic, the same result."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the base class's name
        first, second = weight.chunk(2, dim=1)
        return super()._conv_forward(input[:, : first.shape[1]], first + second, bias)


class TwiceDoublingConvolution(DoublingConvolution):
    """A `DoublingConvolution` of such maps."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the base class's name
        first, second = weight.chunk(2, dim=1)
        return super()._conv_forward(input[:, : first.shape[1]], first + second, bias)


def after_response(channels: int, residuals: int) -> NextStage:
    """The stage that refines a gated answer. Its input is the answer concatenated with itself: [B, 2 C, H, W] -> [B, C, 2 H, 2 W]."""
    stage = NextStage(2 * channels, channels, residuals)
    if residuals:
        first = stage.residuals[0].layers
        assert isinstance(first, nn.Sequential)
        first[0] = TwiceConv2d(2 * channels, 4 * channels, 3, padding=1, bias=False)
    else:
        stage.upsampling[0] = TwiceDoublingConvolution(2 * channels, 2 * channels, bias=False)
    return stage
