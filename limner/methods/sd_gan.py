"""SD-GAN: two captions of one picture must give similar pictures, and words scale and shift every map (Yin et al., CVPR 2019).

Guojun Yin, Bin Liu, Lu Sheng, Nenghai Yu, Xiaogang Wang and Jing Shao, "Semantics Disentangling for Text-to-Image Generation",
arXiv:1904.01480. No code of the authors was found: this was written from the paper's abstract, its figures' captions, others' summaries
of it, and memory. Nothing here has been compared with pictures, weights or scores of theirs.

Read: the contrastive loss with its distance, 256 features, alpha 0.1 and epsilon 1.0; a Siamese pair of branches with shared weights,
whose captions are of one picture or of two, "in the discriminator"; batch normalisation with gamma + gamma_c and beta + beta_c at the end
of every upsampling, where gamma_c and beta_c come from the sentence by a network of one hidden layer, and from words joined with the map;
a bidirectional LSTM for text; sentence and noise as the generator's input, with no mention of conditioning augmentation; 64 to 256 px.

Recalled: a word's weight is the softmax of its product with the map's place, and 1x1 convolutions of the words' mean give gamma_c and
beta_c; each scale's discriminator judges whether a picture looks real and whether it matches; each branch has its own noise; text encoder
and Inception are AttnGAN's, and frozen. It is not certain that the generator has DAMSM's term: it is left out unless `matching` is given.

Reconstructed, where nothing was found: widths, gated units, residual blocks, optimiser, schedule, mismatched pairs and the terms' weights
(`limner.families.attentive.losses`) are those of AttnGAN's birds; gamma_c and beta_c of both levels are added, at every upsampling of
every stage, and are 0 at first; a convolution of the discriminator's 4x4 code gives the features, whose length is 1, so that distances of
0.1 and 1 mean something; discriminators and generator minimise the contrastive loss of every scale, of weight 1, with both kinds of pairs
in each step (`SDGAN.contrast`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import VectorNoise, gaussian
from limner.core.settings import Preset, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import smoothed
from limner.families.attentive.attention import attention_to
from limner.families.attentive.losses import discriminator_loss, fooling_loss, mismatched_pairs
from limner.families.attentive.method import TreeMethod
from limner.families.stacked import FIRST_SIDE, Residual, doublings, to_picture
from limner.families.tree import SMALLEST, ScaleDiscriminator, discriminator_name
from limner.nn.fast.layout import for_convolutions
from limner.nn.fast.upsampling import DoublingConvolution

NAME = "sd-gan"
STREAMS = ("generator", "generator second")
"""The noise streams of the branches."""


@dataclass(frozen=True, kw_only=True)
class SDGANSettings(
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
    """Settings of SD-GAN; the defaults are the paper's where they are known, and else AttnGAN's for birds."""

    contrastive_weight: float = 1.0
    """Weight of the contrastive loss of two captions; with 0 there is one caption a picture, as in the paper's ablation."""
    tolerance: float = 0.1
    """Alpha: pictures of one picture's captions need not be nearer to each other than this."""
    margin: float = 1.0
    """Epsilon: pictures of different pictures' captions need not be farther apart than this; features lie on a sphere of radius 1."""
    feature_width: int = 256
    """Width of a discriminator's features for that loss."""
    sentence_level: bool = True
    """Let the sentence scale and shift the maps; without both levels, batch normalisation is plain."""
    word_level: bool = True
    """Let the words scale and shift each place of the maps."""
    mismatch: shared.Mismatch = "neighbour"
    """What a mismatched pair is made of: a picture and the caption of the batch's next one, as in AttnGAN's code; or another picture or
    caption, of another class where classes are known."""
    batch_size: int = 20
    """Pictures a step, over all processes; two captions of each are painted."""

    def check(self) -> None:
        at_least(self, "method", 1, "feature_width")
        at_least(self, "method", 0, "contrastive_weight", "tolerance")
        if not self.tolerance < self.margin <= 2.0:
            raise SettingsError(
                f"method.margin is {self.margin}, but must lie above method.tolerance, {self.tolerance}, and be at most 2: "
                "features lie on a sphere of radius 1"
            )

    @property
    def captions(self) -> int:
        """Captions of a picture that are painted, one a branch of the Siamese pair."""
        return len(STREAMS) if self.contrastive_weight else 1


class SDGAN(TreeMethod[VectorNoise]):
    """The semantic tree and its Siamese discriminators, trained with the joint losses and the contrastive one."""

    Settings = SDGANSettings
    title = "SD-GAN"
    paper = "Yin et al., Semantics Disentangling for Text-to-Image Generation, CVPR 2019, arXiv:1904.01480"
    presets = {
        "as-published": Preset(
            sentence="The paper's losses and normalisation in AttnGAN's networks and schedule for birds at 256 px, for a GPU.",
            resolution=256,
            training={"ema_half_life": 13_900.0},  # images: AttnGAN's 0.999 a step of 20 pictures
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual captions at 32 and 64 px, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_PAIRS,
                "branches": 2,
                "feature_width": 64,
                "generator_channels": 8,
                "discriminator_channels": 16,
                "residual_blocks": 0,
                "batch_size": 8,  # 16 paintings, as many as its family's presets have
            },
        ),
    }
    settings: SDGANSettings

    def __init__(self, settings: SDGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions, NAME, words=settings.word_level, without="--method.no-word-level")
        self.captions = settings.captions
        self.generator = Generator(settings, conditions, self.sides)
        self.discriminators = nn.ModuleList(SiameseDiscriminator(settings, side, conditions.sentence_width) for side in self.sides)
        self.begin_weights(normalized=settings.discriminator_normalization)
        for layer in self.generator.modules():
            if isinstance(layer, SemanticNormalization):
                layer.begin_plain()

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """An update of each discriminator and one of the generator, all with the same pictures. Both branches of the Siamese pair are
        computed at once: first the first caption of every picture, then the second of every picture."""
        settings = self.settings
        text = TextFeatures.cat(batch.texts[: settings.captions])  # K B rows
        z = torch.cat([self.noise(batch, stream).z for stream in STREAMS[: settings.captions]])
        fakes, _ = self.generator(z, text)  # [K B, 3, r, r] for each side r
        for discriminator, fake in zip(self.scale_discriminators(), fakes, strict=True):
            assert isinstance(discriminator, SiameseDiscriminator)
            yield self._discriminator_update(discriminator, batch, fake.detach(), text.sentence, self.penalty(progress))
        yield self._generator_update(batch, fakes, text.sentence)

    def _discriminator_update(
        self, discriminator: SiameseDiscriminator, batch: Batch, fake: Tensor, sentence: Tensor, penalty: float
    ) -> Update:
        """The code of a real picture is computed once and matched with all its captions; mismatched pairs have only first captions.

        fake: [K B, 3, r, r]. sentence: [K B, D]. penalty: weight of R1 in this step; 0 leaves it out.
        """
        settings = self.settings
        pictures = batch.image(fake.shape[-1])
        real_code, fake_code = discriminator.look(pictures), discriminator.look(fake)
        first = batch.text.sentence
        matching = {
            "real": discriminator.match(torch.cat([real_code] * settings.captions), sentence),
            "fake": discriminator.match(fake_code, sentence),
            "mismatched": discriminator.match(
                *mismatched_pairs(discriminator, batch, pictures, real_code, first, settings.mismatch, settings.counterfactual)
            ),
        }
        reality = {"real": discriminator.realism(real_code), "fake": discriminator.realism(fake_code)}
        loss = discriminator_loss(matching, reality)
        metrics = {name: logits.detach().sigmoid().mean() for name, logits in matching.items()}
        metrics |= {f"{name}_unconditional": logits.detach().sigmoid().mean() for name, logits in reality.items()}
        if settings.contrastive_weight:
            contrast, found = self.contrast(discriminator, fake_code)
            loss, metrics = loss + settings.contrastive_weight * contrast, metrics | found

        def verdict(seen: Tensor) -> Tensor:
            code = discriminator.look(seen)
            return (discriminator.match(code, first.float()) + discriminator.realism(code)) / 2.0

        return smoothed(Update(discriminator_name(fake.shape[-1]), loss, metrics), penalty, (verdict, pictures))

    def contrast(self, discriminator: SiameseDiscriminator, code: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive loss of one scale's pictures, from their codes [2 B, 8 D, 4, 4], and metrics for the log.

        A row's two branches make a pair of one picture; its first branch and the next row's second one make a pair of different pictures.
        So a step has as many of each kind, without painting more.
        """
        first, second = discriminator.features(code).chunk(2)
        same = (first - second).norm(dim=1)  # [B]
        different = (first - second.roll(-1, 0)).norm(dim=1)
        loss = contrastive_loss(same, different, tolerance=self.settings.tolerance, margin=self.settings.margin)
        metrics = {"contrast": loss, "same_distance": same.mean(), "different_distance": different.mean()}
        return loss, {name: value.detach() for name, value in metrics.items()}

    def _generator_update(self, batch: Batch, fakes: Sequence[Tensor], sentence: Tensor) -> Update:
        """All scales' fooling and contrastive losses, and the matching model's loss of the last scale, where there is such a model."""
        settings = self.settings
        fooling, contrasts = [], []
        metrics: dict[str, Tensor] = {}
        for discriminator, fake in zip(self.scale_discriminators(), fakes, strict=True):
            assert isinstance(discriminator, SiameseDiscriminator)
            code = discriminator.look(fake)
            fooling.append(fooling_loss(discriminator.match(code, sentence), discriminator.realism(code)))
            if settings.contrastive_weight:
                contrast, metrics = self.contrast(discriminator, code)  # of the last scale, in the end
                contrasts.append(contrast)
        loss = torch.stack(fooling).sum()
        metrics["fooling"] = loss.detach()
        if contrasts:
            loss = loss + settings.contrastive_weight * torch.stack(contrasts).sum()
        return self.matched(Update("generator", loss, metrics), batch, fakes[-1])

    def matching_terms(self, batch: Batch, pictures: Tensor, caption: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Means over the branches, each of which has its own loss: a picture's second caption must not count as wrong for its first."""
        branches = [super(SDGAN, self).matching_terms(batch, part, place) for place, part in enumerate(pictures.chunk(self.captions))]
        terms, found = (
            {name: torch.stack([value[name] for value in values]).mean(0) for name in values[0]} for values in zip(*branches, strict=True)
        )
        return terms, found

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        return VectorNoise(gaussian((self.settings.noise_width,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: VectorNoise) -> Painting:
        """With `extras` "attention-S", [B, T, S, S]: the attention of each place of the map of side S to each word."""
        (*stages, images), attention = self.generator(noise.z, text)
        return Painting(images, tuple(stages), {f"attention-{maps.shape[-1]}": maps for maps in attention})


class Generator(nn.Module):
    """The tree: sentence and noise to a 4x4 map, which semantic upsamplings double, with residual blocks before each later branch."""

    def __init__(self, settings: SDGANSettings, conditions: Conditions, sides: Sequence[int]) -> None:
        super().__init__()
        channels = settings.generator_channels
        text = {
            "sentence_width": conditions.sentence_width if settings.sentence_level else 0,
            "word_width": (conditions.word_width or 0) if settings.word_level else 0,
        }
        levels = doublings(sides[0], NAME, smallest=SMALLEST)
        top = channels << levels
        inner = top * FIRST_SIDE**2 * 2
        width = conditions.sentence_width + settings.noise_width
        self.first = nn.Sequential(nn.Linear(width, inner, bias=False), nn.BatchNorm1d(inner), nn.GLU(dim=1))
        self.rough = nn.ModuleList(SemanticUpsampling(top >> level, top >> level + 1, **text) for level in range(levels))
        self.residuals = nn.ModuleList(
            nn.Sequential(*(Residual(channels, gated=True) for _ in range(settings.residual_blocks))) for _ in sides[1:]
        )
        self.later = nn.ModuleList(SemanticUpsampling(channels, channels, **text) for _ in sides[1:])
        self.pictures = nn.ModuleList(to_picture(channels) for _ in sides)

    def forward(self, z: Tensor, text: TextFeatures) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """z: [B, Z] -> pictures [B, 3, r, r] in [-1, 1], coarse to fine, and the attention to words [B, T, h, w] at every upsampling."""
        hidden = for_convolutions(self.first(torch.cat([text.sentence, z], dim=1)).unflatten(1, (-1, FIRST_SIDE, FIRST_SIDE)))
        read: list[Tensor | None] = []
        for upsampling in self.rough:
            hidden, attention = upsampling(hidden, text)
            read.append(attention)
        maps = [hidden]
        for residuals, upsampling in zip(self.residuals, self.later, strict=True):
            hidden, attention = upsampling(residuals(hidden), text)
            read.append(attention)
            maps.append(hidden)
        pictures = tuple(picture(hidden) for picture, hidden in zip(self.pictures, maps, strict=True))
        return pictures, [attention for attention in read if attention is not None]


class SiameseDiscriminator(ScaleDiscriminator):
    """One scale's discriminator: does a picture look real, does it match, and how far is it from others?"""

    def __init__(self, settings: SDGANSettings, side: int, sentence_width: int) -> None:
        base, normalize = settings.discriminator_channels, settings.discriminator_normalization
        super().__init__(base, side, sentence_width, unconditional=True, normalize=normalize)
        self.place = nn.Conv2d(8 * base, settings.feature_width, FIRST_SIDE) if settings.contrastive_weight else None

    def features(self, code: Tensor) -> Tensor:
        """[B, 8 base, 4, 4] -> [B, feature_width], of length 1 each."""
        assert self.place is not None
        return F.normalize(self.place(code).flatten(1).float(), dim=1)


def contrastive_loss(same: Tensor, different: Tensor, *, tolerance: float, margin: float) -> Tensor:
    """Half the mean over pairs of max(d, alpha)^2, where both captions are of one picture, or max(epsilon - d, 0)^2 (section 3.1).

    same, different: distances d of such pairs, [B] each. tolerance: alpha. margin: epsilon.
    """
    return 0.5 * torch.cat([same.clamp_min(tolerance).square(), (margin - different).clamp_min(0.0).square()]).mean()


class SemanticNormalization(nn.Module):
    """(gamma + gamma_c) x + (beta + beta_c), where x are maps normalised over the batch, channel by channel.

    sentence_width: gamma_c and beta_c of a whole map come from the sentence by a network of one hidden layer; 0 leaves them out.
    word_width: those of each place come from the words that concern it, and are added. The words are brought to the map's channels and
    weighted by a softmax of their products with the map there, which is normalised already; a 1x1 convolution of that mean gives the
    numbers. Here the convolution comes before the mean, with the same result, because the weights sum to 1. 0 leaves them out.

    With neither it is plain batch normalisation.
    """

    def __init__(self, channels: int, *, sentence_width: int = 0, word_width: int = 0) -> None:
        super().__init__()
        self.normalize = nn.BatchNorm2d(channels, affine=False)
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.sentence = (
            nn.Sequential(nn.Linear(sentence_width, channels), nn.ReLU(inplace=True), nn.Linear(channels, 2 * channels))
            if sentence_width
            else None
        )
        self.project = nn.Linear(word_width, channels, bias=False) if word_width else None
        self.words = nn.Linear(channels, 2 * channels) if word_width else None
        self.begin_plain()

    def begin_plain(self) -> None:
        """Set gamma_c and beta_c to 0 for all captions, as they are in the beginning."""
        for layer in (self.words, None if self.sentence is None else self.sentence[-1]):
            if layer is not None:
                assert isinstance(layer, nn.Linear)
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, text: TextFeatures) -> tuple[Tensor, Tensor | None]:
        """Maps [B, C, H, W] and their captions -> maps [B, C, H, W], and the attention of each place to each word, [B, T, H, W], or
        None."""
        x = self.normalize(x)
        numbers = torch.cat([self.gamma, self.beta])  # [2 C]
        if self.sentence is not None:
            numbers = numbers + self.sentence(text.sentence)  # [B, 2 C]
        if self.project is None or self.words is None:
            gamma, beta = numbers.expand(len(x), -1)[:, :, None, None].chunk(2, dim=1)
            return x * gamma + beta, None
        assert text.words is not None and text.mask is not None
        keys = self.project(text.words)  # [B, T, C]
        gammas, betas = (self.words(keys) + (numbers if numbers.ndim == 1 else numbers[:, None])).chunk(2, dim=2)  # [B, T, C] each
        attention = attention_to(x, keys, text.mask)
        places = attention.flatten(2).transpose(1, 2)  # [B, HW, T], so that the numbers' channels lie last, as a CPU's maps do
        gamma, beta = ((places @ numbers).transpose(1, 2).unflatten(2, x.shape[2:]) for numbers in (gammas, betas))
        return x * gamma + beta, attention


class SemanticUpsampling(nn.Module):
    """[B, wide, H, W] -> [B, narrow, 2 H, 2 W]: nearest neighbours, a 3x3 convolution, `SemanticNormalization`, a gated linear unit."""

    def __init__(self, wide: int, narrow: int, *, sentence_width: int = 0, word_width: int = 0) -> None:
        super().__init__()
        self.convolution = DoublingConvolution(wide, 2 * narrow, bias=False)
        self.normalization = SemanticNormalization(2 * narrow, sentence_width=sentence_width, word_width=word_width)
        self.gate = nn.GLU(dim=1)

    def forward(self, x: Tensor, text: TextFeatures) -> tuple[Tensor, Tensor | None]:
        """Maps and their captions -> maps, and the attention of each new place to each word, [B, T, 2 H, 2 W], or None."""
        x, attention = self.normalization(self.convolution(x), text)
        return self.gate(x), attention
