"""AttnGAN: a tree of generators whose later branches look at words, and a matching loss by words (Xu et al., CVPR 2018).

Tao Xu, Pengchuan Zhang, Qiuyuan Huang, Han Zhang, Zhe Gan, Xiaolei Huang and Xiaodong He, "AttnGAN: Fine-Grained Text to Image Generation
with Attentional Generative Adversarial Networks", arXiv:1711.10485; AttnDCGAN, of one discriminator, is in the authors' code with it. This
file follows that code (github.com/taoxugit/AttnGAN, commit 0d000e6) where paper and code differ:

- the noise comes after the condition at the first stage, and the condition is read nowhere else;
- the discriminators read the sentence embedding itself, not the condition;
- the weights of the losses' terms, and a mismatched pair where the paper has none (`limner.families.attentive.losses`);
- the KL term is a mean over numbers where the paper sums.

Networks and settings are in this file; the training step and its losses, which later methods use too, are in
`limner.families.attentive.method`.

Differences from the code: a place never sees the padding of its caption (theirs mixes the batch's masks: `mixed_padding`); the running
average includes the batch statistics; captions need not be sorted by length. Never published: final sizes other than 256 px, mismatched
pairs from outside the batch, discriminators without normalisation, and what later branches read without attention (here the condition, as
in StackGAN++).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from limner.core.settings import FAST, Preset
from limner.core.trainable import Conditions
from limner.families import settings as shared
from limner.families.attentive.generator import AttentiveGenerator
from limner.families.attentive.method import AttentiveMethod
from limner.families.tree import ScaleDiscriminator

NAME = "attngan"


@dataclass(frozen=True, kw_only=True)
class AttnGANSettings(
    shared.AttentionSettings,
    shared.AugmentationSettings,
    shared.TreeSettings,
    shared.GuideSettings,
    shared.MismatchSettings,
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of AttnGAN; the defaults are those of the authors' birds model."""

    last_picture_only: bool = False
    """Paint the last scale alone, with one discriminator, as AttnDCGAN does."""
    attention: bool = True
    """Let every place of later branches attend to the words; without it, they read the condition, as in StackGAN++."""
    mismatch: shared.Mismatch = "neighbour"
    """What a mismatched pair is made of: a picture and the caption of the batch's next one, as in the authors' code; or another picture or
    caption, of another class where classes are known."""
    unconditional_loss: bool = True
    """Ask discriminators also whether a picture looks real, whatever it should match."""
    batch_size: int = 20
    """Pictures a step, over all processes."""

    @property
    def reads_words(self) -> bool:
        """Whether the generator attends to words."""
        return self.attention and self.branches > 1


class AttnGAN(AttentiveMethod):
    """The attentive tree and its discriminators, trained with the joint losses and those of a matching model."""

    Settings = AttnGANSettings
    title = "AttnGAN, AttnDCGAN"
    paper = "Xu et al., AttnGAN: Fine-Grained Text to Image Generation with Attentional GANs, CVPR 2018, arXiv:1711.10485"
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule for birds at 256 px, for a GPU; give --method.matching the trained damsm.",
            resolution=256,
            training={"ema_half_life": 13_900.0},  # images: 0.999 a step of 20 pictures
        ),
        "fast": Preset(
            sentence="As published, but as fast as the device allows: compiled networks and bfloat16 where a GPU has them.",
            resolution=256,
            training={"ema_half_life": 13_900.0, **FAST},
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions, words at 32 px, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_PAIRS,
                "branches": 2,
                "condition_width": 64,
                "generator_channels": 12,
                "discriminator_channels": 16,
                "residual_blocks": 0,
                "divergence_weight": 0.05,
            },
        ),
    }
    settings: AttnGANSettings

    def __init__(self, settings: AttnGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions, NAME, words=settings.reads_words, without="--method.no-attention")
        sides = self.sides
        if settings.last_picture_only:
            self.sides = sides[-1:]
        self.generator = AttentiveGenerator(
            conditions,
            sides,
            NAME,
            noise_width=settings.noise_width,
            condition_width=settings.condition_width,
            channels=settings.generator_channels,
            residual_blocks=settings.residual_blocks,
            words=settings.attention,
            mixed_padding=settings.mixed_padding,
            last_only=settings.last_picture_only,
        )
        normalize = settings.discriminator_normalization
        self.discriminators = nn.ModuleList(
            ScaleDiscriminator(
                settings.discriminator_channels,
                side,
                conditions.sentence_width,
                unconditional=settings.unconditional_loss,
                normalize=normalize,
            )
            for side in self.sides
        )
        self.begin_weights(normalized=normalize)
