"""DM-GAN: a tree of generators whose later branches refine their maps from a memory of the caption's words (Zhu et al., CVPR 2019).

Minfeng Zhu, Pingbo Pan, Wei Chen and Yi Yang, "DM-GAN: Dynamic Memory Generative Adversarial Networks for Text-to-Image Synthesis",
arXiv:1904.01310. This file follows the authors' code (github.com/MinfengZhu/DM-GAN, commit d515995) where it says more than the paper:

- discriminators have spectral norms and biases in place of batch normalisation, but for their last layers;
- the map's mean, which writes the memory, passes no gradient on, and the answer of a memory stands beside itself before what refines it;
- the losses are AttnGAN's (`limner.nn.joint_losses`), and the KL term is a mean over numbers where the paper sums.

Other than in the code: a place never reads the padding of its caption (theirs mixes the batch's masks: `mixed_padding`); the power
iteration of an evaluation is not kept; the running average takes in the batch statistics too; means are over maps of any size, which
theirs takes to be 64 and 128 px. Never published: what the paper's variants without gates or memory are made of (`limner.nn.memory`;
without memory, later branches read the condition, as in StackGAN++), sizes other than 256 px, mismatched pairs from elsewhere than the
batch, gradient penalties.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

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
from limner.nn.attentive import AttentiveNoise
from limner.nn.conditioning import ConditioningAugmentation, GaussianCondition
from limner.nn.initialization import he_initialization, orthogonal_initialization
from limner.nn.joint_losses import Mismatch, discriminator_update, generator_loss
from limner.nn.layout import for_convolutions
from limner.nn.memory import DynamicMemory, after_response
from limner.nn.spectral import normalize_spectrally
from limner.nn.stacked import to_picture
from limner.nn.trees import FirstStage, NextStage, ScaleDiscriminator, scales

NAME = "dm-gan"
GUIDE = "matching"


@dataclass(frozen=True, kw_only=True)
class DMGANSettings:
    """Settings of DM-GAN; the defaults are those of the authors' birds model."""

    branches: int = 3
    """Scales that are painted, the last at the full resolution and each before it at half of the next."""
    memory: bool = True
    """Refine maps by a memory of the words; without, as in the paper's baseline, later branches read the condition alone."""
    writing_gate: bool = True
    """Weigh each word against the picture as it is when the memory is written; without, the memory holds the words alone."""
    response_gate: bool = True
    """Weigh, at each place, what was read from the memory against the map; without, it stands beside the map."""
    mixed_padding: bool = False
    """Hide padding from the memory's readers as the authors' code does, which mixes the masks of a batch's captions."""
    noise_width: int = 100
    """Numbers in the noise vector z."""
    condition_width: int = 100
    """Numbers in the condition that is drawn for a sentence."""
    generator_channels: int = 64
    """Channels of every branch's map."""
    discriminator_channels: int = 32
    """Channels of a discriminator's first map at 64 px and above; later ones double, down to 8 times as many at 4x4."""
    residual_blocks: int = 2
    """Residual blocks in each later branch; the authors' COCO model has 3."""
    spectral_normalization: bool = True
    """Divide the weights of discriminators' convolutions by their largest singular values, as published; without, they start as He et al.
    advise."""
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
    learning_rate: float = 2e-4
    """Learning rate of all players' Adam."""
    beta1: float = 0.5
    """First-moment decay of all players' Adam."""
    epochs: float = 800.0
    """Passes over the training pictures."""
    batch_size: int = 10
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

    @property
    def guidance(self) -> float:
        """`matching_weight`, resolved."""
        return (0.0 if self.matching is None else 5.0) if self.matching_weight is None else self.matching_weight

    @property
    def reads_words(self) -> bool:
        """Whether the generator writes words to a memory."""
        return self.memory and self.branches > 1


class DMGAN(Method):
    """The tree with its memories and its discriminators, under the joint losses and those of a matching model."""

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
                "branches": 2,
                "condition_width": 64,
                "generator_channels": 8,
                "discriminator_channels": 12,
                "residual_blocks": 0,
                "spectral_normalization": False,
                "divergence_weight": 0.05,
                "mismatch": "caption",
                "counterfactual": 0.75,
                "gradient_penalty": 1.0,
                "learning_rate": 8e-4,
                "beta1": 0.0,
                "epochs": 40.0,
                "batch_size": 16,
            },
        ),
    }
    settings: DMGANSettings

    def __init__(self, settings: DMGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.sides = scales(conditions.resolution, settings.branches, NAME)
        """Sides of the pictures that are painted, coarse to fine."""
        if settings.reads_words and conditions.word_width is None:
            raise SettingsError(
                f"{NAME} reads words, which this text encoder does not give: give --text.encoder a damsm run or another that does, "
                "or --method.no-memory"
            )
        self.generator = Generator(settings, conditions, self.sides)
        self.discriminators = nn.ModuleList(
            build_discriminator(settings.discriminator_channels, side, conditions.sentence_width, spectral=settings.spectral_normalization)
            for side in self.sides
        )
        self.generator.apply(orthogonal_initialization)
        self.discriminators.apply(orthogonal_initialization if settings.spectral_normalization else he_initialization)

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
        condition = self.generator.condition(batch.text.sentence)
        fakes, _ = self.generator(self.noise(batch, "generator"), condition, batch.text)  # [B, 3, r, r] for each side r
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
        """All scales' fooling losses, the matching model's verdict on the last scale, and the KL term (Eq. 10 to 12)."""
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
        """With `extras` "attention-S", [B, T, S, S]: how much each place of the map of side S read of each word, to paint 2 S."""
        assert isinstance(noise, AttentiveNoise)
        (*stages, images), attention = self.generator(noise, self.generator.condition(text.sentence), text)
        return Painting(images, tuple(stages), {f"attention-{maps.shape[-1]}": maps for maps in attention})

    def look(self, pictures: Tensor) -> Tensor:
        """The last discriminator's 4x4 code, place by place: [B, 128 D]."""
        judge = self.discriminators[-1]
        assert isinstance(judge, ScaleDiscriminator)
        return judge.look(pictures).flatten(1)


class Generator(nn.Module):
    """The tree: conditioning augmentation, a trunk of stages with a memory before each later one, pictures of the stages' maps."""

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

    def forward(self, noise: AttentiveNoise, condition: GaussianCondition, text: TextFeatures) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Pictures [B, 3, r, r] in [-1, 1], coarse to fine, and what was read of words, [B, T, h, w], before every later branch."""
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
    """One scale's, without batch normalisation; its last layers have no spectral norm either."""
    judge = ScaleDiscriminator(base, side, sentence_width, unconditional=True, normalize=False)
    if spectral:
        assert judge.matching is not None and judge.matching.joint is not None
        normalize_spectrally(judge.picture)
        normalize_spectrally(judge.matching.joint)
    return judge


def discriminator_name(side: int) -> str:
    """The player that judges pictures of this side."""
    return f"discriminator-{side}"
