"""SD-GAN: two captions of one picture must paint alike, and words scale and shift every map (Yin et al., CVPR 2019).

Guojun Yin, Bin Liu, Lu Sheng, Nenghai Yu, Xiaogang Wang and Jing Shao, "Semantics Disentangling for Text-to-Image Generation",
arXiv:1904.01480. No code of the authors was found: this was written from the paper's abstract, its figures' captions, others' summaries
of it, and memory. Nothing here has been compared with pictures, weights or scores of theirs.

Read: the contrastive loss with its distance, 256 features, alpha 0.1 and epsilon 1.0; a Siamese pair of branches with shared weights,
whose captions are of one picture or of two, "in the discriminator"; batch normalisation with gamma + gamma_c and beta + beta_c at the end
of every upsampling, where gamma_c and beta_c come from the sentence by a network of one hidden layer, and from words joined with the map;
a bidirectional LSTM for text; sentence and noise as the generator's input, with no word of conditioning augmentation; 64 to 256 px.

Recalled: a word's weight is the softmax of its product with the map's place, and 1x1 convolutions of the words' mean give gamma_c and
beta_c; each scale's discriminator is asked if a picture looks real and if it matches; each branch has noise of its own; text encoder and
Inception are AttnGAN's, and frozen. It is not certain that the generator has DAMSM's term: it is left out unless `matching` is given.

Reconstructed, where nothing was found: widths, gated units, residual blocks, optimiser, schedule, mismatched pairs and the terms' weights
(`limner.nn.joint_losses`) are those of AttnGAN's birds; gamma_c and beta_c of both levels are added, at every upsampling of every stage,
and are 0 at first; a convolution of the discriminator's 4x4 code gives the features, whose length is 1, so that distances of 0.1 and 1
mean something; discriminators and generator minimise the contrastive loss of every scale, of weight 1, with both kinds of pairs in each
step (`SDGAN.contrast`).
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
from limner.core.method import Adam, Conditions, Method, Painting, Phase, Player, Progress, Update
from limner.core.noise import Noise, gaussian
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.matching.damsm import DAMSM
from limner.matching.guidance import load_guide, matching_terms
from limner.nn.initialization import he_initialization, orthogonal_initialization
from limner.nn.joint_losses import Mismatch, discriminator_loss, fooling_loss, mismatched_pairs
from limner.nn.layout import for_convolutions
from limner.nn.penalties import zero_centred_penalty
from limner.nn.semantic_normalization import SemanticNormalization, SemanticUpsampling
from limner.nn.stacked import FIRST_SIDE, Residual, doublings, to_picture
from limner.nn.trees import SMALLEST, ScaleDiscriminator, scales

NAME = "sd-gan"
GUIDE = "matching"
STREAMS = ("generator", "generator second")
"""Of the noise of each branch."""


@dataclass(frozen=True, kw_only=True)
class SDGANSettings:
    """Settings of SD-GAN; the defaults are the paper's where they are known, and else AttnGAN's for birds."""

    branches: int = 3
    """Scales that are painted, the last at the full resolution and each before it at half of the next."""
    contrastive_weight: float = 1.0
    """Weight of the contrastive loss of two captions; with 0 there is one caption a picture, as in the paper's ablation."""
    tolerance: float = 0.1
    """Alpha: pictures of one picture's captions need not come nearer to each other than this."""
    margin: float = 1.0
    """Epsilon: pictures of different pictures' captions need not go farther apart than this; features lie on a sphere of radius 1."""
    feature_width: int = 256
    """Numbers in which a discriminator sees a picture for that loss."""
    sentence_level: bool = True
    """Let the sentence scale and shift the maps; without either level, batch normalisation is plain."""
    word_level: bool = True
    """Let the words scale and shift each place of the maps."""
    noise_width: int = 100
    """Numbers in the noise vector z."""
    generator_channels: int = 32
    """Channels of every branch's map."""
    discriminator_channels: int = 64
    """Channels of a discriminator's first map at 64 px and above; later ones double, down to 8 times as many at 4x4."""
    residual_blocks: int = 2
    """Residual blocks in each later branch."""
    matching: str | None = None
    """Run or model folder of a trained `damsm`, which judges by words and sentence if the final pictures fit their captions. Without one
    that term is left out."""
    matching_weight: float | None = None
    """Weight of that term; by default AttnGAN's 5 with a matching model, and 0 without."""
    mismatch: Mismatch = "shift"
    """What a mismatched pair is: a picture with the sentence of the batch's next one, as in AttnGAN's code; or what is exchanged for one
    of elsewhere, of another class where classes are known: the picture or the caption."""
    counterfactual: float = 0.0
    """Share of the mismatched pairs whose caption is wrong in exactly one attribute or word; 0 as published."""
    gradient_penalty: float = 0.0
    """Weight of R1, which keeps discriminators smooth around real pictures (Mescheder et al., ICML 2018); 0 as published."""
    penalty_every: int = 8
    """Steps between two gradient penalties, each that many times as heavy (Karras et al., CVPR 2020)."""
    discriminator_normalization: bool = True
    """Batch normalisation in discriminators; without it, their convolutions have biases and start as He et al. advise."""
    learning_rate: float = 2e-4
    """Learning rate of all players' Adam."""
    beta1: float = 0.5
    """First-moment decay of all players' Adam."""
    epochs: float = 600.0
    """Passes over the training pictures."""
    batch_size: int = 20
    """Pictures a step, over all processes; two captions of each are painted."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "branches", "feature_width", "noise_width", "generator_channels", "discriminator_channels")
        at_least(self, "method", 1, "penalty_every")
        at_least(self, "method", 2, "batch_size")
        at_least(self, "method", 0, "contrastive_weight", "tolerance", "residual_blocks", "matching_weight", "gradient_penalty")
        above_zero(self, "method", "learning_rate", "epochs")
        if not self.tolerance < self.margin <= 2.0:
            raise SettingsError(
                f"method.margin is {self.margin}, but must lie above method.tolerance, {self.tolerance}, and be at most 2: "
                "features lie on a sphere of radius 1"
            )
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
    def captions(self) -> int:
        """Captions of a picture that are painted, one a branch of the Siamese pair."""
        return len(STREAMS) if self.contrastive_weight else 1


@dataclass(frozen=True)
class SDGANNoise(Noise):
    """z: [B, noise_width]."""

    z: Tensor


class SDGAN(Method):
    """The semantic tree and its Siamese discriminators, under the joint losses and the contrastive one."""

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
                "branches": 2,
                "feature_width": 64,
                "generator_channels": 8,
                "discriminator_channels": 16,
                "residual_blocks": 0,
                "mismatch": "caption",
                "counterfactual": 0.75,
                "gradient_penalty": 1.0,
                "discriminator_normalization": False,
                "learning_rate": 8e-4,
                "beta1": 0.0,
                "epochs": 40.0,
                "batch_size": 8,  # 16 paintings, as many as its family's presets have
            },
        ),
    }
    settings: SDGANSettings

    def __init__(self, settings: SDGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.sides = scales(conditions.resolution, settings.branches, NAME)
        """Sides of the pictures that are painted, coarse to fine."""
        if settings.word_level and conditions.word_width is None:
            raise SettingsError(
                f"{NAME} reads words, which this text encoder does not give: give --text.encoder a damsm run or another that does, "
                "or --method.no-word-level"
            )
        self.generator = Generator(settings, conditions, self.sides)
        self.discriminators = nn.ModuleList(SiameseDiscriminator(settings, side, conditions.sentence_width) for side in self.sides)
        self.generator.apply(orthogonal_initialization)
        for layer in self.generator.modules():
            if isinstance(layer, SemanticNormalization):
                layer.begin_plain()
        self.discriminators.apply(orthogonal_initialization if settings.discriminator_normalization else he_initialization)

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
                captions=settings.captions,
                counterfactual=settings.counterfactual > 0,
                words=settings.word_level,
            )
        ]

    def begin(self, phase: Phase) -> None:
        if self.settings.matching is not None and self.settings.guidance and GUIDE not in self.guides:
            self.guide(GUIDE, load_guide(self.settings.matching))

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """One turn of each discriminator and one of the generator, all with the same pictures: both branches of the Siamese pair at once,
        the first caption of every picture before the second of every picture."""
        settings = self.settings
        text = TextFeatures.cat(batch.texts[: settings.captions])  # K B rows
        z = torch.cat([self.noise(batch, stream).z for stream in STREAMS[: settings.captions]])
        fakes, _ = self.generator(z, text)  # [K B, 3, r, r] for each side r
        due = progress.step % settings.penalty_every == 0
        penalty = settings.gradient_penalty * settings.penalty_every if due else 0.0
        for judge, fake in zip(self.judges(), fakes, strict=True):
            yield self._discriminator_update(judge, batch, fake.detach(), text.sentence, penalty)
        yield self._generator_update(batch, fakes, text.sentence)

    def judges(self) -> Iterator[SiameseDiscriminator]:
        """Each scale's discriminator, coarse to fine."""
        for judge in self.discriminators:
            assert isinstance(judge, SiameseDiscriminator)
            yield judge

    def _discriminator_update(self, judge: SiameseDiscriminator, batch: Batch, fake: Tensor, sentence: Tensor, penalty: float) -> Update:
        """A real picture is looked at once, and matched with all its captions; mismatched pairs have the first captions alone.

        fake: [K B, 3, r, r]. sentence: [K B, D]. penalty: weight of R1 in this step; 0 leaves it out.
        """
        settings = self.settings
        pictures = batch.image(fake.shape[-1])
        real_code, fake_code = judge.look(pictures), judge.look(fake)
        first = batch.text.sentence
        matching = {
            "real": judge.match(torch.cat([real_code] * settings.captions), sentence),
            "fake": judge.match(fake_code, sentence),
            "mismatched": judge.match(
                *mismatched_pairs(judge, batch, pictures, real_code, first, settings.mismatch, settings.counterfactual)
            ),
        }
        reality = {"real": judge.judge(real_code), "fake": judge.judge(fake_code)}
        loss = discriminator_loss(matching, reality)
        metrics = {name: logits.detach().sigmoid().mean() for name, logits in matching.items()}
        metrics |= {f"{name}_unconditional": logits.detach().sigmoid().mean() for name, logits in reality.items()}
        if settings.contrastive_weight:
            contrast, found = self.contrast(judge, fake_code)
            loss, metrics = loss + settings.contrastive_weight * contrast, metrics | found
        if penalty:

            def verdict(seen: Tensor) -> Tensor:
                code = judge.look(seen)
                return (judge.match(code, first.float()) + judge.judge(code)) / 2.0

            smoothness = zero_centred_penalty(verdict, pictures)
            loss = loss + penalty * smoothness
            metrics["penalty"] = smoothness.detach()
        return Update(discriminator_name(fake.shape[-1]), loss, metrics)

    def contrast(self, judge: SiameseDiscriminator, code: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive loss of one scale's pictures, seen as [2 B, 8 D, 4, 4], and what is worth a curve.

        Pairs of one picture are the two branches' rows; pairs of different pictures are a picture of the first branch and the next one's of
        the second. So a step has as many of each, and paints nothing for them.
        """
        first, second = judge.features(code).chunk(2)
        same = (first - second).norm(dim=1)  # [B]
        different = (first - second.roll(-1, 0)).norm(dim=1)
        loss = contrastive_loss(same, different, tolerance=self.settings.tolerance, margin=self.settings.margin)
        metrics = {"contrast": loss, "same_distance": same.mean(), "different_distance": different.mean()}
        return loss, {name: value.detach() for name, value in metrics.items()}

    def _generator_update(self, batch: Batch, fakes: Sequence[Tensor], sentence: Tensor) -> Update:
        """All scales' fooling and contrastive losses, and the matching model's verdict on the last scale, where there is one."""
        settings = self.settings
        fooling, contrasts = [], []
        metrics: dict[str, Tensor] = {}
        for judge, fake in zip(self.judges(), fakes, strict=True):
            code = judge.look(fake)
            fooling.append(fooling_loss(judge.match(code, sentence), judge.judge(code)))
            if settings.contrastive_weight:
                contrast, metrics = self.contrast(judge, code)  # of the last scale, in the end
                contrasts.append(contrast)
        loss = torch.stack(fooling).sum()
        metrics["fooling"] = loss.detach()
        if contrasts:
            loss = loss + settings.contrastive_weight * torch.stack(contrasts).sum()
        if GUIDE in self.guides:
            terms, found = self._matching_terms(batch, fakes[-1])
            loss = loss + settings.guidance * torch.stack(list(terms.values())).sum()
            metrics |= {f"matching_{name}": value.detach() for name, value in terms.items()} | found
        return Update("generator", loss, metrics)

    def _matching_terms(self, batch: Batch, pictures: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Means over the branches, which are judged one by one: a picture's second caption is no wrong answer for its first."""
        guide, branches = self.guides[GUIDE], self.settings.captions
        assert isinstance(guide, DAMSM)
        both = [
            matching_terms(guide, part, [own[branch] for own in batch.captions], batch.classes)
            for branch, part in enumerate(pictures.chunk(branches))
        ]
        terms, found = (
            {name: torch.stack([value[name] for value in values]).mean(0) for name in values[0]} for values in zip(*both, strict=True)
        )
        return terms, found

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> SDGANNoise:
        return SDGANNoise(gaussian((self.settings.noise_width,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        """With `extras` "attention-S", [B, T, S, S]: how much each place of the map of side S read of each word."""
        assert isinstance(noise, SDGANNoise)
        (*stages, images), attention = self.generator(noise.z, text)
        return Painting(images, tuple(stages), {f"attention-{maps.shape[-1]}": maps for maps in attention})

    def look(self, pictures: Tensor) -> Tensor:
        """The last discriminator's 4x4 code, place by place: [B, 128 D]."""
        judge = self.discriminators[-1]
        assert isinstance(judge, ScaleDiscriminator)
        return judge.look(pictures).flatten(1)


class Generator(nn.Module):
    """The tree: sentence and noise to a 4x4 map, which the captions' upsamplings double, with residual blocks before each later branch."""

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
        """z: [B, Z] -> pictures [B, 3, r, r] in [-1, 1], coarse to fine, and what was read of words, [B, T, h, w], at every upsampling."""
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
    """One scale's: does a picture look real, does it match, and where does it lie among others?"""

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


def discriminator_name(side: int) -> str:
    """The player that judges pictures of this side."""
    return f"discriminator-{side}"
