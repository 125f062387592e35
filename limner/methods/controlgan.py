"""ControlGAN: AttnGAN's tree with attention by channels, word-level discriminators and a perceptual loss (Li et al., NeurIPS 2019).

Bowen Li, Xiaojuan Qi, Thomas Lukasiewicz and Philip H. S. Torr, "Controllable Text-to-Image Generation", arXiv:1909.07083. A change of one
word should change what the word names and nothing else. This file follows the authors' code (github.com/mrlibw/ControlGAN, commit e6cf108)
where paper and code differ, except for the first point:

- their word-level discriminator learns nothing: a number, computed from a frozen image encoder's regions of the real pictures, is added to
  the loss (`word_discriminator="inert"`). The paper trains one, and the generator against it; so does this file by default
  (`limner.families.attentive.word_discriminator` says what is reconstructed);
- the channels that attend to words are those of the spatial attention's result, not of the map before it;
- channels attend to padding as well (`padded_channels`), and places at the padding of other captions (`mixed_padding`): neither by default;
- the perceptual network, VGG-16 up to relu2_2, sees pictures in [-1, 1], for which it was not trained; its loss is a mean over the scales;
- for the word-level loss they draw captions without regard to the picture's class, in another order than the pictures; here the captions
  are those of a picture of another class, where classes are known.

Everything else, and what was never published, is as in `limner.methods.attngan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import ConditionedNoise
from limner.core.settings import FAST, Preset, at_least, place
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Update
from limner.families import settings as shared
from limner.families.adversarial import added
from limner.families.attentive.attention import WordAttention
from limner.families.attentive.losses import as_seen, fooling_loss, load_guide
from limner.families.attentive.method import GUIDE, AttentiveMethod
from limner.families.attentive.word_discriminator import WordScaleDiscriminator, word_verdicts
from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.matching_aware import bce
from limner.families.stacked import to_picture
from limner.families.tree import FirstStage, NextStage, ScaleDiscriminator
from limner.features.perceptual import PerceptualLoss
from limner.matching.losses.words import paired_word_scores
from limner.matching.models.damsm import DAMSM

NAME = "controlgan"
PERCEPTUAL = "perceptual"


@dataclass(frozen=True, kw_only=True)
class ControlGANSettings(
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
    """Settings of ControlGAN; the defaults are those of the authors' birds model, with the paper's word-level discriminator."""

    spatial_attention: bool = True
    """Let every place of later branches attend to the words."""
    channel_attention: bool = True
    """Let every channel of later branches attend to the words. Without either attention, they read the condition, as in StackGAN++."""
    padded_channels: bool = False
    """Let channels attend to padding too, as in the authors' code."""
    unconditional_loss: bool = True
    """Ask discriminators also whether a picture looks real, whatever it should match."""
    word_discriminator: Literal["learned", "inert", "none"] = "learned"
    """The word-level discriminators: `learned` trains them, as in the paper; `inert` adds the number of the authors' code to the losses,
    which needs a matching model and changes no weight; `none` leaves them out."""
    word_weight: float = 1.0
    """Weight of the word-level loss in the discriminators: half the sum over matching and mismatched captions; 0 trains without
    word-level discriminators, as `word_discriminator` none does."""
    word_fooling_weight: float = 1.0
    """Weight of the word-level loss in the generator, where it is learned."""
    perceptual: float = 1.0
    """Weight of the perceptual loss between pictures and the real ones of their captions; 0 trains without it, and needs no network."""
    perceptual_network: str = place("vgg16", named=True)
    """The frozen network of the perceptual loss: a name of docs/features.md, or NAME=FILE."""
    perceptual_stage: str = "relu2_2"
    """The stage of that network that is compared."""
    perceptual_share: bool = False
    """Divide the perceptual loss by the mean square of the real pictures' features, which makes one weight fit every network, and prepare
    pictures as the network was trained; without it, as in the authors' code."""
    mismatch: shared.Mismatch = "neighbour"
    """What a mismatched pair is made of: a picture and the caption of the batch's next one, as in the authors' code; or another picture or
    caption, of another class where classes are known. The word-level discriminator always
    gets captions of other pictures."""
    batch_size: int = 8
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 0, "perceptual", "word_weight", "word_fooling_weight")

    @property
    def asks_words(self) -> bool:
        """Whether word-level discriminators learn."""
        return self.word_discriminator == "learned" and self.word_weight > 0.0

    @property
    def reads_words(self) -> bool:
        """Whether the generator attends to words."""
        return (self.spatial_attention or self.channel_attention) and self.branches > 1


class ControlGAN(AttentiveMethod):
    """The tree whose places and channels attend to words, and discriminators that judge by sentence and by words."""

    Settings = ControlGANSettings
    title = "ControlGAN"
    paper = "Li et al., Controllable Text-to-Image Generation, NeurIPS 2019, arXiv:1909.07083"
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule for birds at 256 px, for a GPU; needs VGG-16's weights, and --method.matching.",
            resolution=256,
            training={"ema_half_life": 5_540.0},  # images: 0.999 a step of 8 pictures
        ),
        "fast": Preset(
            sentence="As published, but as fast as the device allows: compiled networks and bfloat16 where a GPU has them.",
            resolution=256,
            training={"ema_half_life": 5_540.0, **FAST},
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
                "perceptual_network": "garden",
                "perceptual_stage": "layer2",
                "perceptual_share": True,
                "divergence_weight": 0.05,
            },
        ),
    }
    settings: ControlGANSettings

    def __init__(self, settings: ControlGANSettings, conditions: Conditions) -> None:
        without = "--method.no-spatial-attention --method.no-channel-attention --method.word-discriminator none"
        super().__init__(settings, conditions, NAME, words=settings.reads_words or settings.asks_words, without=without)
        self.generator = Generator(settings, conditions, self.sides)
        normalize = settings.discriminator_normalization
        self.discriminators = nn.ModuleList(
            WordScaleDiscriminator(
                settings.discriminator_channels,
                side,
                conditions.sentence_width,
                unconditional=settings.unconditional_loss,
                normalize=normalize,
                word_width=conditions.word_width if settings.asks_words else None,
            )
            for side in self.sides
        )
        self.begin_weights(normalized=normalize)

    def load_guides(self, phase: Phase) -> None:
        settings = self.settings
        if settings.word_discriminator == "inert" and settings.matching is None:
            raise SettingsError("the inert word loss is a matching model's: give --method.matching, or --method.word-discriminator none")
        if settings.word_discriminator == "inert" and settings.matching is not None and GUIDE not in self.guides:
            self.guide(GUIDE, load_guide(settings.matching))
        super().load_guides(phase)
        if settings.perceptual and PERCEPTUAL not in self.guides:
            loss = PerceptualLoss(settings.perceptual_network, settings.perceptual_stage, plain=not settings.perceptual_share)
            self.guide(PERCEPTUAL, loss)

    def discriminator_update(
        self, discriminator: ScaleDiscriminator, batch: Batch, fake: Tensor, penalty: float = 0.0, codes: Mapping[str, Tensor] | None = None
    ) -> Update:
        """AttnGAN's update of one scale's discriminator, with the word-level loss on real pictures.

        The regions are computed first, for the words; `codes` are computed from them.
        """
        assert isinstance(discriminator, WordScaleDiscriminator)
        settings, pictures = self.settings, batch.image(fake.shape[-1])
        regions, painted = discriminator.look_at_regions(pictures, fake.detach())
        codes = codes or dict(zip(("real", "fake"), discriminator.look_on(regions, painted), strict=True))
        update = super().discriminator_update(discriminator, batch, fake, penalty, codes)
        if discriminator.words is not None:
            own, wrong = word_verdicts(discriminator.words, regions, batch, settings.counterfactual)
        elif settings.word_discriminator == "inert":
            own, wrong = self._inert_verdicts(pictures, batch)
        else:
            return update
        loss = (bce(own, 1.0) + bce(wrong, 0.0)) / 2.0
        metrics = {"words_real": own.detach().sigmoid().mean(), "words_mismatched": wrong.detach().sigmoid().mean()}
        return added(update, settings.word_weight * loss, metrics)

    @torch.no_grad()
    def _inert_verdicts(self, pictures: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """A frozen matching model's scores as logits, which the authors' code has instead of a word-level discriminator's."""
        guide = self.guides[GUIDE]
        assert isinstance(guide, DAMSM)
        regions, _ = guide.picture_side(as_seen(guide, pictures))
        return word_verdicts(partial(paired_word_scores, gammas=guide.gammas), regions, batch, encoder=guide.encoder)

    def fooling(self, batch: Batch, fakes: Sequence[Tensor]) -> Update:
        """The sum of all scales' losses by sentence and by words."""
        settings, text = self.settings, batch.text
        fooling, by_words = [], []
        for discriminator, fake in zip(self.scale_discriminators(), fakes, strict=True):
            assert isinstance(discriminator, WordScaleDiscriminator)
            (regions,) = discriminator.look_at_regions(fake)
            (code,) = discriminator.look_on(regions)
            fooling.append(
                fooling_loss(
                    discriminator.match(code, text.sentence), None if discriminator.reality is None else discriminator.realism(code)
                )
            )
            if discriminator.words is not None and settings.word_fooling_weight:
                assert text.words is not None and text.mask is not None
                by_words.append(bce(discriminator.words(regions, text.words, text.mask), 1.0))
        loss = torch.stack(fooling).sum()
        update = Update("generator", loss, {"fooling": loss.detach()})
        if not by_words:
            return update
        words = torch.stack(by_words).sum()
        return added(update, settings.word_fooling_weight * words, {"fooling_words": words.detach()})

    def generator_update(self, batch: Batch, fakes: Sequence[Tensor], condition: GaussianCondition) -> Update:
        """AttnGAN's update, with the perceptual loss between every scale's picture and the real one."""
        update = super().generator_update(batch, fakes, condition)
        if PERCEPTUAL not in self.guides:
            return update
        compare = self.guides[PERCEPTUAL]
        difference = torch.stack([compare(fake, batch.image(fake.shape[-1])) for fake in fakes]).mean()
        return added(update, self.settings.perceptual * difference, {"perceptual": difference.detach()})

    def matched(self, update: Update, batch: Batch, pictures: Tensor) -> Update:
        return super().matched(update, batch, pictures) if self.settings.guidance else update  # the inert word loss needs the guide, too

    def paint(self, text: TextFeatures, noise: ConditionedNoise) -> Painting:
        """With `extras` "attention-S", [B, T, S, S], how much each place of the map of side S looked at each word, to paint 2 S; and
        "channels-S", [B, T, C], how much each channel did."""
        (*stages, images), attention, channels = self.generator(noise, self.generator.condition(text.sentence), text)
        extras = {f"attention-{maps.shape[-1]}": maps for maps in attention}
        extras |= {f"channels-{side}": found for side, found in zip(self.sides, channels, strict=False)}
        return Painting(images, tuple(stages), extras)


class Generator(nn.Module):
    """The tree: conditioning augmentation, and a trunk of stages. In later stages, places and channels attend to words; a convolution of
    each stage's map paints."""

    def __init__(self, settings: ControlGANSettings, conditions: Conditions, sides: Sequence[int]) -> None:
        super().__init__()
        width, channels, words = settings.condition_width, settings.generator_channels, conditions.word_width or 0
        self.augmentation = ConditioningAugmentation(conditions.sentence_width, width, "glu")
        self.first = FirstStage(width + settings.noise_width, channels, sides[0], NAME)
        self.spatial, self.channel = nn.ModuleList(), nn.ModuleList()
        if settings.spatial_attention:
            self.spatial.extend(WordAttention(words, channels, mixed_padding=settings.mixed_padding) for _ in sides[1:])
        if settings.channel_attention:
            self.channel.extend(ChannelAttention(words, side, sees_padding=settings.padded_channels) for side in sides[:-1])
        inner = channels * (1 + settings.spatial_attention + settings.channel_attention)
        condition = 0 if settings.reads_words else width
        self.later = nn.ModuleList(NextStage(inner, channels, settings.residual_blocks, condition=condition) for _ in sides[1:])
        self.pictures = nn.ModuleList(to_picture(channels) for _ in sides)

    def condition(self, sentence: Tensor) -> GaussianCondition:
        """[B, D] -> Gaussians of C numbers."""
        found: GaussianCondition = self.augmentation(sentence)
        return found

    def forward(
        self, noise: ConditionedNoise, condition: GaussianCondition, text: TextFeatures
    ) -> tuple[tuple[Tensor, ...], list[Tensor], list[Tensor]]:
        """Pictures [B, 3, r, r] in [-1, 1], coarse to fine, and the attention of every later branch's places [B, T, h, w] and channels
        [B, T, C]."""
        drawn = condition.sample(noise.epsilon)
        hidden = self.first(drawn, noise.z)  # the condition first, as in the authors' code
        maps, places, channels = [hidden], list[Tensor](), list[Tensor]()
        for branch, stage in enumerate(self.later):
            parts = [hidden]
            for layers, found in ((self.spatial, places), (self.channel, channels)):
                if layers:
                    assert text.words is not None and text.mask is not None
                    context, attention = layers[branch](parts[-1], text.words, text.mask)  # channels attend after places
                    found.append(attention)
                    parts.append(context)
            hidden = stage(torch.cat(parts, dim=1), None if len(parts) > 1 else drawn)
            maps.append(hidden)
        return tuple(picture(hidden) for picture, hidden in zip(self.pictures, maps, strict=True)), places, channels


class ChannelAttention(nn.Module):
    """Attention from each channel of a map to the words: words are projected to `side` x `side` places and weighted by a softmax of
    products.

    sees_padding: let channels attend to padding too, as in the authors' code, which has no mask here; padding is a vector of zeros, so that
    the pictures of a short caption depend on how long the batch's other captions are. The published weights were trained this way.
    """

    def __init__(self, word_width: int, side: int, *, sees_padding: bool = False) -> None:
        super().__init__()
        self.sees_padding = sees_padding
        self.project = nn.Linear(word_width, side * side, bias=False)

    def forward(self, maps: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, C, S, S], words [B, T, D], mask [B, T] (True where there is a word, one at least) -> context [B, C, S, S] and the
        attention [B, T, C], which sums to 1 over the words."""
        projected = self.project(words)  # [B, T, SS]
        products = projected @ maps.flatten(2).transpose(1, 2)  # [B, T, C]
        if not self.sees_padding:
            products = products.masked_fill(~mask[:, :, None], -torch.inf)
        attention = products.softmax(1)
        return (attention.transpose(1, 2) @ projected).view_as(maps), attention
