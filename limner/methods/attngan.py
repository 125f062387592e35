"""AttnGAN: a tree of generators whose later branches look at words, and a matching loss by words (Xu et al., CVPR 2018).

Tao Xu, Pengchuan Zhang, Qiuyuan Huang, Han Zhang, Zhe Gan, Xiaolei Huang and Xiaodong He, "AttnGAN: Fine-Grained Text to Image Generation
with Attentional Generative Adversarial Networks", arXiv:1711.10485; AttnDCGAN, of one discriminator, is in the authors' code with it. This
file follows that code (github.com/taoxugit/AttnGAN, commit 0d000e6) where paper and code differ:

- the noise comes after the condition at the first stage, and the condition is read nowhere else;
- the discriminators read the sentence embedding itself, not the condition;
- the weights of the losses' terms, and a mismatched pair where the paper has none (`limner.nn.joint_losses`);
- the KL term is a mean over numbers where the paper sums.

Other than in the code: a place never sees the padding of its caption (theirs mixes the batch's masks: `mixed_padding`); the running
average takes in the batch statistics too, which theirs leaves out; captions need no order by length. Never published: final sizes other
than 256 px, mismatched pairs from elsewhere than the batch, discriminators without normalisation, and what later branches read where
attention is off (here the condition, as in StackGAN++).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Adam, Conditions, Method, Painting, Phase, Player, Progress, Update
from limner.core.noise import Noise, gaussian
from limner.core.settings import FAST, Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.matching.damsm import DAMSM
from limner.matching.guidance import load_guide, matching_terms
from limner.nn.attentive import AttentiveGenerator, AttentiveNoise
from limner.nn.conditioning import GaussianCondition
from limner.nn.initialization import he_initialization, orthogonal_initialization
from limner.nn.joint_losses import Mismatch, discriminator_update, generator_loss
from limner.nn.trees import ScaleDiscriminator, scales

NAME = "attngan"
GUIDE = "matching"


@dataclass(frozen=True, kw_only=True)
class AttnGANSettings:
    """Settings of AttnGAN; the defaults are those of the authors' birds model."""

    branches: int = 3
    """Scales that are painted, the last at the full resolution and each before it at half of the next."""
    last_picture_only: bool = False
    """Paint the last scale alone, with one discriminator, as AttnDCGAN does."""
    attention: bool = True
    """Let every place of later branches look at the words; without, they read the condition, as in StackGAN++."""
    mixed_padding: bool = False
    """Hide padding from the attention as the authors' code does, which mixes the masks of a batch's captions."""
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
    divergence_weight: float = 1.0
    """Weight of the KL term that keeps the conditions of a sentence spread like standard normal noise."""
    matching: str | None = None
    """Run or model folder of a trained `damsm`, which judges by words and sentence if the final pictures fit their captions. Without one
    that term is left out."""
    matching_weight: float | None = None
    """Weight of that term; by default the 5 of the authors' birds (their 50 for COCO) with a matching model, and 0 without."""
    mismatch: Mismatch = "shift"
    """What a mismatched pair is: a picture with the sentence of the batch's next one, as in the authors' code; or what is exchanged for
    one of elsewhere, of another class where classes are known: the picture or the caption."""
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
    batch_size: int = 20
    """Pictures a step, over all processes."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "branches", "noise_width", "condition_width", "generator_channels", "discriminator_channels")
        at_least(self, "method", 1, "penalty_every")
        at_least(self, "method", 2, "batch_size")
        at_least(self, "method", 0, "residual_blocks", "divergence_weight", "matching_weight", "gradient_penalty")
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
        return self.attention and self.branches > 1


class AttnGAN(Method):
    """The attentive tree and its discriminators, under the joint losses and those of a matching model."""

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
                "branches": 2,
                "condition_width": 64,
                "generator_channels": 12,
                "discriminator_channels": 16,
                "residual_blocks": 0,
                "mismatch": "caption",
                "counterfactual": 0.75,
                "divergence_weight": 0.05,
                "gradient_penalty": 1.0,
                "discriminator_normalization": False,
                "learning_rate": 8e-4,
                "beta1": 0.0,
                "epochs": 40.0,
                "batch_size": 16,
            },
        ),
    }
    settings: AttnGANSettings

    def __init__(self, settings: AttnGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        sides = scales(conditions.resolution, settings.branches, NAME)
        if settings.reads_words and conditions.word_width is None:
            raise SettingsError(
                f"{NAME} reads words, which this text encoder does not give: give --text.encoder a damsm run or another that does, "
                "or --method.no-attention"
            )
        self.sides = sides[-1:] if settings.last_picture_only else sides
        """Sides of the pictures that are painted, coarse to fine."""
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
                words=settings.reads_words,
            )
        ]

    def begin(self, phase: Phase) -> None:
        if self.settings.matching is not None and self.settings.guidance and GUIDE not in self.guides:
            self.guide(GUIDE, load_guide(self.settings.matching))

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """One turn of each discriminator and one of the generator, all with the same pictures."""
        settings = self.settings
        noise = self.noise(batch, "generator")
        condition = self.generator.condition(batch.text.sentence)
        fakes, _ = self.generator(noise, condition, batch.text)  # [B, 3, r, r] for each side r
        due = progress.step % settings.penalty_every == 0
        for side, judge, fake in zip(self.sides, self.discriminators, fakes, strict=True):
            assert isinstance(judge, ScaleDiscriminator)
            yield discriminator_update(
                discriminator_name(side),
                judge,
                batch,
                fake,
                batch.text.sentence,
                mismatch=settings.mismatch,
                counterfactual=settings.counterfactual,
                penalty=settings.gradient_penalty * settings.penalty_every if due else 0.0,
            )
        yield self._generator_update(batch, fakes, condition)

    def _generator_update(self, batch: Batch, fakes: Sequence[Tensor], condition: GaussianCondition) -> Update:
        """All scales' fooling losses, the matching model's verdict on the last scale, and the KL term (Eq. 3, 4 and 13)."""
        settings = self.settings
        loss = generator_loss(self.discriminators, fakes, batch.text.sentence)
        divergence = condition.divergence()
        metrics = {"fooling": loss.detach(), "divergence": divergence.detach()}
        loss = loss + settings.divergence_weight * divergence
        if GUIDE in self.guides:
            guide = self.guides[GUIDE]
            assert isinstance(guide, DAMSM)
            terms, found = matching_terms(guide, fakes[-1], [own[0] for own in batch.captions], batch.classes)
            loss = loss + settings.guidance * torch.stack(list(terms.values())).sum()
            metrics |= {f"matching_{name}": value.detach() for name, value in terms.items()} | found
        return Update("generator", loss, metrics)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> AttentiveNoise:
        z = gaussian((self.settings.noise_width,), seed, samples, stream)
        return AttentiveNoise(z, gaussian((self.settings.condition_width,), seed, samples, f"{stream} condition"))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        """With `extras` "attention-S", [B, T, S, S]: how much each place of the map of side S looked at each word, to paint 2 S."""
        assert isinstance(noise, AttentiveNoise)
        (*stages, images), attention = self.generator(noise, self.generator.condition(text.sentence), text)
        return Painting(images, tuple(stages), {f"attention-{maps.shape[-1]}": maps for maps in attention})

    def look(self, pictures: Tensor) -> Tensor:
        """The last discriminator's 4x4 code, place by place: [B, 128 D]."""
        judge = self.discriminators[-1]
        assert isinstance(judge, ScaleDiscriminator)
        return judge.look(pictures).flatten(1)


def discriminator_name(side: int) -> str:
    """The player that judges pictures of this side."""
    return f"discriminator-{side}"
