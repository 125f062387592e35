"""ControlGAN: AttnGAN's tree with attention by channels too, asked word by word, and held to the real picture (Li et al., NeurIPS 2019).

Bowen Li, Xiaojuan Qi, Thomas Lukasiewicz and Philip H. S. Torr, "Controllable Text-to-Image Generation", arXiv:1909.07083. A change of one
word should change what the word names and nothing else. This file follows the authors' code (github.com/mrlibw/ControlGAN, commit e6cf108)
where paper and code differ, but for the first point:

- their word-level discriminator learns nothing: a number, made of a frozen image encoder's regions of the real pictures, is added to the
  loss (`word_discriminator="inert"`). The paper trains one, and the generator against it; so does this, by default
  (`limner.nn.word_discriminator` says what is reconstructed);
- the channels that look at words are those of the spatial attention's result, not of the map before it;
- channels look at padding as well (`padded_channels`), and places at the padding of other captions (`mixed_padding`): neither by default;
- the perceptual network, VGG-16 up to relu2_2, sees pictures in [-1, 1], as nobody trained it; its loss is a mean over the scales;
- they give the words' loss captions drawn with no regard to the picture's class, in another order than the pictures; here they are those
  of a picture of another class, where classes are known.

All else, and what was never published, as in `limner.methods.attngan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Adam, Conditions, Method, Painting, Phase, Player, Progress, Update
from limner.core.noise import Noise, gaussian
from limner.core.settings import FAST, Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.features.perceptual import PerceptualLoss
from limner.matching.damsm import DAMSM
from limner.matching.guidance import as_seen, load_guide, matching_terms
from limner.nn.attention import WordAttention
from limner.nn.attentive import AttentiveNoise
from limner.nn.channel_attention import ChannelAttention
from limner.nn.conditioning import ConditioningAugmentation, GaussianCondition
from limner.nn.damsm import paired_word_scores
from limner.nn.initialization import he_initialization, orthogonal_initialization
from limner.nn.joint_losses import Mismatch, discriminator_update, fooling_loss
from limner.nn.matching_aware import bce
from limner.nn.stacked import to_picture
from limner.nn.trees import FirstStage, NextStage, scales
from limner.nn.word_discriminator import WordScaleDiscriminator, word_verdicts

NAME = "controlgan"
MATCHING, PERCEPTUAL = "matching", "perceptual"


@dataclass(frozen=True, kw_only=True)
class ControlGANSettings:
    """Settings of ControlGAN; the defaults are those of the authors' birds model, with the paper's word-level discriminator."""

    branches: int = 3
    """Scales that are painted, the last at the full resolution and each before it at half of the next."""
    spatial_attention: bool = True
    """Let every place of later branches look at the words."""
    channel_attention: bool = True
    """Let every channel of later branches look at the words. Without either attention, they read the condition, as in StackGAN++."""
    mixed_padding: bool = False
    """Hide padding from the places as the authors' code does, which mixes the masks of a batch's captions."""
    padded_channels: bool = False
    """Hide no padding from the channels, as in the authors' code."""
    noise_width: int = 100
    """Numbers in the noise vector z."""
    condition_width: int = 100
    """Numbers in the condition that is drawn for a sentence."""
    generator_channels: int = 32
    """Channels of every branch's map."""
    discriminator_channels: int = 64
    """Channels of a discriminator's first map at 64 px and above; later ones double, down to 8 times as many at 4x4."""
    residual_blocks: int = 2
    """Residual blocks in each later branch."""
    unconditional_loss: bool = True
    """Ask discriminators also if a picture looks real, whatever it should match."""
    word_discriminator: Literal["learned", "inert", "none"] = "learned"
    """Whether discriminators are asked word by word: `learned` trains them to, as in the paper; `inert` adds to their losses the number of
    the authors' code, which needs a matching model and changes no weight; `none` leaves it out."""
    word_weight: float = 1.0
    """Weight of the word-level loss in the discriminators: half the sum over matching and mismatched captions."""
    word_fooling_weight: float = 1.0
    """Weight of the word-level loss in the generator, where it is learned."""
    divergence_weight: float = 1.0
    """Weight of the KL term that keeps the conditions of a sentence spread like standard normal noise."""
    perceptual: float = 1.0
    """Weight of the perceptual loss between pictures and the real ones of their captions; 0 trains without, and needs no network."""
    perceptual_network: str = "vgg16"
    """The frozen network of the perceptual loss: a name of docs/features.md, or NAME=FILE."""
    perceptual_stage: str = "relu2_2"
    """The stage of that network that is compared."""
    perceptual_share: bool = False
    """Divide the perceptual loss by the mean square of the real pictures' features, which makes one weight fit every network, and prepare
    pictures as the network was trained; without, as in the authors' code."""
    matching: str | None = None
    """Run or model folder of a trained `damsm`, which judges by words and sentence if the final pictures fit their captions. Without one
    that term is left out."""
    matching_weight: float | None = None
    """Weight of that term; by default the 5 of the authors' birds (their 50 for COCO) with a matching model, and 0 without."""
    mismatch: Mismatch = "shift"
    """What a mismatched pair is: a picture with the sentence of the batch's next one, as in the authors' code; or what is exchanged for
    one of elsewhere, of another class where classes are known: the picture or the caption. Words are always those of elsewhere."""
    counterfactual: float = 0.0
    """Share of the mismatched pairs whose caption is wrong in exactly one attribute or word; 0 as published."""
    gradient_penalty: float = 0.0
    """Weight of R1, which keeps discriminators smooth around real pictures (Mescheder et al., ICML 2018); 0 as published."""
    penalty_every: int = 8
    """Steps between two gradient penalties, each that many times as heavy (Karras et al., CVPR 2020)."""
    discriminator_normalization: bool = True
    """Batch normalisation in discriminators, as published; without it, their convolutions have biases and start as He et al. advise."""
    learning_rate: float = 2e-4
    """Learning rate of all players' Adam."""
    beta1: float = 0.5
    """First-moment decay of all players' Adam."""
    epochs: float = 600.0
    """Passes over the training pictures."""
    batch_size: int = 8
    """Pictures a step, over all processes."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "branches", "noise_width", "condition_width", "generator_channels", "discriminator_channels")
        at_least(self, "method", 1, "penalty_every")
        at_least(self, "method", 2, "batch_size")
        at_least(self, "method", 0, "residual_blocks", "divergence_weight", "matching_weight", "gradient_penalty", "perceptual")
        at_least(self, "method", 0, "word_weight", "word_fooling_weight")
        above_zero(self, "method", "learning_rate", "epochs")
        if not 0.0 <= self.counterfactual <= 1.0:
            raise SettingsError(f"method.counterfactual is {self.counterfactual}, but must lie between 0 and 1")
        if self.matching_weight and self.matching is None:
            raise SettingsError(
                f"method.matching-weight is {self.matching_weight} with no matching model: give --method.matching the run of a damsm"
            )
        if self.gradient_penalty and self.discriminator_normalization:
            raise SettingsError("method.gradient-penalty wants each picture judged by itself: add --method.no-discriminator-normalization")

    @property
    def guidance(self) -> float:
        """`matching_weight`, resolved."""
        return (0.0 if self.matching is None else 5.0) if self.matching_weight is None else self.matching_weight

    @property
    def reads_words(self) -> bool:
        """Whether the generator looks at words."""
        return (self.spatial_attention or self.channel_attention) and self.branches > 1


class ControlGAN(Method):
    """The tree that attends by places and channels, and discriminators that are asked by sentence and by words."""

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
                "branches": 2,
                "condition_width": 64,
                "generator_channels": 12,
                "discriminator_channels": 16,
                "residual_blocks": 0,
                "perceptual_network": "garden",
                "perceptual_stage": "layer2",
                "perceptual_share": True,
                "divergence_weight": 0.05,
                "mismatch": "caption",
                "counterfactual": 0.75,
                "gradient_penalty": 1.0,
                "discriminator_normalization": False,
                "learning_rate": 8e-4,
                "beta1": 0.0,
                "epochs": 40.0,
                "batch_size": 16,
            },
        ),
    }
    settings: ControlGANSettings

    def __init__(self, settings: ControlGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.sides = scales(conditions.resolution, settings.branches, NAME)
        """Sides of the pictures that are painted, coarse to fine."""
        self.asks_words = settings.word_discriminator == "learned"
        if (settings.reads_words or self.asks_words) and conditions.word_width is None:
            raise SettingsError(
                f"{NAME} reads words, which this text encoder does not give: give --text.encoder a damsm run or another that does, or "
                "--method.no-spatial-attention --method.no-channel-attention --method.word-discriminator none"
            )
        self.generator = Generator(settings, conditions, self.sides)
        normalize = settings.discriminator_normalization
        self.discriminators = nn.ModuleList(
            WordScaleDiscriminator(
                settings.discriminator_channels,
                side,
                conditions.sentence_width,
                unconditional=settings.unconditional_loss,
                normalize=normalize,
                word_width=conditions.word_width if self.asks_words else None,
            )
            for side in self.sides
        )
        self.generator.apply(orthogonal_initialization)
        self.discriminators.apply(orthogonal_initialization if normalize else he_initialization)

    def players(self) -> dict[str, Player]:
        optimizer = Adam(learning_rate=self.settings.learning_rate, betas=(self.settings.beta1, 0.999))
        judges = {
            discriminator_name(side): Player(module=judge, optimizer=optimizer)
            for side, judge in zip(self.sides, self.discriminators, strict=True)
        }
        return judges | {"generator": Player(module=self.generator, optimizer=optimizer, averaged=True)}

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="gan",
                resolution=self.conditions.resolution,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                counterfactual=settings.counterfactual > 0,
                words=settings.reads_words or self.asks_words,
            )
        ]

    def begin(self, phase: Phase) -> None:
        settings = self.settings
        inert = settings.word_discriminator == "inert"
        if inert and settings.matching is None:
            raise SettingsError("the inert word loss is a matching model's: give --method.matching, or --method.word-discriminator none")
        if settings.matching is not None and (settings.guidance or inert) and MATCHING not in self.guides:
            self.guide(MATCHING, load_guide(settings.matching))
        if settings.perceptual and PERCEPTUAL not in self.guides:
            loss = PerceptualLoss(settings.perceptual_network, settings.perceptual_stage, plain=not settings.perceptual_share)
            self.guide(PERCEPTUAL, loss)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """One turn of each discriminator and one of the generator, all with the same pictures."""
        settings = self.settings
        noise = self.noise(batch, "generator")
        condition = self.generator.condition(batch.text.sentence)
        fakes, _, _ = self.generator(noise, condition, batch.text)  # [B, 3, r, r] for each side r
        due = progress.step % settings.penalty_every == 0
        for judge, fake in zip(self.discriminators, fakes, strict=True):
            assert isinstance(judge, WordScaleDiscriminator)
            yield self.discriminator_update(judge, batch, fake, settings.gradient_penalty * settings.penalty_every if due else 0.0)
        yield self._generator_update(batch, fakes, condition)

    def discriminator_update(self, judge: WordScaleDiscriminator, batch: Batch, fake: Tensor, penalty: float = 0.0) -> Update:
        """One scale's turn against generated pictures [B, 3, r, r]: AttnGAN's losses, and if the words of captions are in real pictures."""
        settings, pictures = self.settings, batch.image(fake.shape[-1])
        regions, painted = judge.look_at_regions(pictures, fake.detach())
        update = discriminator_update(
            discriminator_name(fake.shape[-1]),
            judge,
            batch,
            fake,
            batch.text.sentence,
            mismatch=settings.mismatch,
            counterfactual=settings.counterfactual,
            penalty=penalty,
            codes=dict(zip(("real", "fake"), judge.look_on(regions, painted), strict=True)),
        )
        if judge.words is not None:
            own, wrong = word_verdicts(judge.words, regions, batch, settings.counterfactual)
        elif settings.word_discriminator == "inert":
            own, wrong = self._inert_verdicts(pictures, batch)
        else:
            return update
        loss = (bce(own, 1.0) + bce(wrong, 0.0)) / 2.0
        metrics = {"words_real": own.detach().sigmoid().mean(), "words_mismatched": wrong.detach().sigmoid().mean()}
        return replace(update, loss=update.loss + settings.word_weight * loss, metrics={**update.metrics, **metrics})

    @torch.no_grad()
    def _inert_verdicts(self, pictures: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the authors' code has in place of a word-level discriminator's verdicts: a frozen matching model's scores, as logits."""
        guide = self.guides[MATCHING]
        assert isinstance(guide, DAMSM)
        regions, _ = guide.picture_side(as_seen(guide, pictures))
        return word_verdicts(partial(paired_word_scores, gammas=guide.gammas), regions, batch, encoder=guide.encoder)

    def _generator_update(self, batch: Batch, fakes: Sequence[Tensor], condition: GaussianCondition) -> Update:
        """All scales' fooling losses by sentence and by words, the perceptual loss, a matching model's verdict, and the KL term."""
        settings, text = self.settings, batch.text
        fooling, by_words = [], []
        for judge, fake in zip(self.discriminators, fakes, strict=True):
            assert isinstance(judge, WordScaleDiscriminator)
            (regions,) = judge.look_at_regions(fake)
            (code,) = judge.look_on(regions)
            fooling.append(fooling_loss(judge.match(code, text.sentence), None if judge.reality is None else judge.judge(code)))
            if judge.words is not None and settings.word_fooling_weight:
                assert text.words is not None and text.mask is not None
                by_words.append(bce(judge.words(regions, text.words, text.mask), 1.0))
        divergence = condition.divergence()
        loss = torch.stack(fooling).sum()
        metrics = {"fooling": loss.detach(), "divergence": divergence.detach()}
        loss = loss + settings.divergence_weight * divergence
        if by_words:
            words = torch.stack(by_words).sum()
            loss, metrics["fooling_words"] = loss + settings.word_fooling_weight * words, words.detach()
        if PERCEPTUAL in self.guides:
            compare = self.guides[PERCEPTUAL]
            difference = torch.stack([compare(fake, batch.image(fake.shape[-1])) for fake in fakes]).mean()
            loss, metrics["perceptual"] = loss + settings.perceptual * difference, difference.detach()
        if MATCHING in self.guides and settings.guidance:
            guide = self.guides[MATCHING]
            assert isinstance(guide, DAMSM)
            terms, found = matching_terms(guide, fakes[-1], [own[0] for own in batch.captions], batch.classes)
            loss = loss + settings.guidance * torch.stack(list(terms.values())).sum()
            metrics |= {f"matching_{name}": value.detach() for name, value in terms.items()} | found
        return Update("generator", loss, metrics)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> AttentiveNoise:
        z = gaussian((self.settings.noise_width,), seed, samples, stream)
        return AttentiveNoise(z, gaussian((self.settings.condition_width,), seed, samples, f"{stream} condition"))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        """With `extras` "attention-S", [B, T, S, S], how much each place of the map of side S looked at each word, to paint 2 S; and
        "channels-S", [B, T, C], how much each channel did."""
        assert isinstance(noise, AttentiveNoise)
        (*stages, images), attention, channels = self.generator(noise, self.generator.condition(text.sentence), text)
        extras = {f"attention-{maps.shape[-1]}": maps for maps in attention}
        extras |= {f"channels-{side}": found for side, found in zip(self.sides, channels, strict=False)}
        return Painting(images, tuple(stages), extras)

    def look(self, pictures: Tensor) -> Tensor:
        """The last discriminator's 4x4 code, place by place: [B, 128 D]."""
        judge = self.discriminators[-1]
        assert isinstance(judge, WordScaleDiscriminator)
        return judge.look(pictures).flatten(1)


class Generator(nn.Module):
    """The tree: conditioning augmentation, a trunk of stages with what places and channels see in the words beside the map of each later
    one, pictures of the stages' maps."""

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
        self, noise: AttentiveNoise, condition: GaussianCondition, text: TextFeatures
    ) -> tuple[tuple[Tensor, ...], list[Tensor], list[Tensor]]:
        """Pictures [B, 3, r, r] in [-1, 1], coarse to fine, and the attention of every later branch's places [B, T, h, w] and channels
        [B, T, C]."""
        drawn = condition.sample(noise.epsilon)
        hidden = self.first(drawn, noise.z)  # the condition first, as in the authors' code
        maps, places, channels = [hidden], list[Tensor](), list[Tensor]()
        for branch, stage in enumerate(self.later):
            beside = [hidden]
            for layers, found in ((self.spatial, places), (self.channel, channels)):
                if layers:
                    assert text.words is not None and text.mask is not None
                    context, attention = layers[branch](beside[-1], text.words, text.mask)  # channels: of what the places saw
                    found.append(attention)
                    beside.append(context)
            hidden = stage(torch.cat(beside, dim=1), None if len(beside) > 1 else drawn)
            maps.append(hidden)
        return tuple(picture(hidden) for picture, hidden in zip(self.pictures, maps, strict=True)), places, channels


def discriminator_name(side: int) -> str:
    """The player that judges pictures of this side."""
    return f"discriminator-{side}"
