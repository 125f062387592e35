"""MSG-GAN: one generator paints at every scale, and one discriminator sees all scales at once (Karnewar and Wang, CVPR 2020).

Animesh Karnewar and Oliver Wang, "MSG-GAN: Multi-Scale Gradients for Generative Adversarial Networks", arXiv:1903.06048. The networks are
those of ProGAN, trained at their full depth from the start: a 1x1 convolution paints a picture of each of the generator's maps, from 4x4
upward, and the discriminator joins the picture of each scale to its own map of that side, so that gradients reach all depths of the
generator directly. Networks, losses and optimiser follow the first author's PyTorch code (akanimax/BMSG-GAN, commit 863b1f3), which says
that it is not the paper's own; that one (akanimax/msg-stylegan-tf, commit 41fb4eb) has a StyleGAN in place of the ProGAN. From there come:

- `non-saturating` with R1, the mean over scales of each scale's penalty;
- `cat-lin`, where map and picture are concatenated first and a 1x1 convolution follows.

BMSG-GAN's WGAN-GP cannot run: it takes the gradient of a single picture. Here, as with R1, its penalty is the mean over scales. Its
options `hinge` and `standard-gan` cannot run either, and are left out. Its LSGAN squares the mean of the scores where the LSGAN paper takes
the mean of squares; `lsgan` and `lsgan-sigmoid` follow the code.

Ours, with `unconditional` off: a linear layer of the sentence joins the latent, another one joins the discriminator's last block, and
mismatched pairs of picture and caption count as generated ones (`mismatch_weight`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from limner.core.batch import Batch
from limner.core.method import Painting
from limner.core.noise import VectorNoise, gaussian, uniform
from limner.core.optimizers import Adam, Optimizer, RMSprop
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import AdversarialMethod, added
from limner.families.matching_aware import mean_sentence, mismatched_pairs
from limner.families.progressive import layers as progan
from limner.families.stacked import doublings
from limner.nn.fast.layout import for_convolutions
from limner.nn.uncompiled import uncompiled

NAME = "msg-gan"
DRIFT = 1e-3
"""Weight of the mean square of real pictures' scores under `wgan-gp`."""
COMPARED = 2
"""The fewest pictures that minibatch deviation compares."""
PENALTIES = {"wgan-gp": 10.0, "non-saturating": 10.0}
"""Weight of the gradient penalty by loss, where no other is given."""
Loss = Literal["relativistic-hinge", "wgan-gp", "non-saturating", "lsgan", "lsgan-sigmoid"]


@dataclass(frozen=True, kw_only=True)
class MSGGANSettings(
    shared.MismatchWeightSettings, shared.MismatchSettings, shared.CaptionSettings, shared.HalvingSettings, shared.ScheduleSettings
):
    """Settings of MSG-GAN; the defaults are those of BMSG-GAN."""

    unconditional: bool = True
    """Learn from pictures alone and read no text, as published; without it, sentences are the condition."""
    noise_width: int = 512
    """Numbers in the noise vector z, which is brought onto a sphere."""
    condition_width: int = 128
    """Width of the sentence in the latent; not used if unconditional."""
    text_width: int = 128
    """Width of the sentence in the discriminator's last block; not used if unconditional."""
    generator_channels: int = 512
    """Channels of the generator's maps from 4 to 32 px; after that, half as many at each doubling."""
    discriminator_channels: int = 512
    """Channels of the discriminator's maps, likewise."""
    full_scales: int = 4
    """Scales from 4 px upward with the full number of channels; 4 as published, which is up to 32 px."""
    combine: Literal["lin-cat", "cat-lin", "simple"] = "lin-cat"
    """How a picture joins the discriminator's map of its side: a 1x1 convolution of the picture gives half of the channels, as published
    for ProGAN; a 1x1 convolution of both together; or it is concatenated as three more channels."""
    loss: Loss = "relativistic-hinge"
    """The adversarial loss: relativistic average hinge, Wasserstein with gradient penalty, non-saturating with R1, or LSGAN on the mean of
    a batch's scores or of their sigmoids."""
    gradient_penalty: float | None = None
    """Weight of the gradient penalty: WGAN-GP's under `wgan-gp`, R1 under any other loss. By default 10 under `wgan-gp` and
    `non-saturating`, else 0."""
    penalty_every: int = 1
    """Steps between two gradient penalties, whose weight is multiplied by it; 1 as published, more saves time."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Optimiser of both players."""
    learning_rate: float = 3e-3
    """Learning rate of both players."""
    beta1: float = 0.0
    """First-moment decay of Adam."""
    beta2: float = 0.99
    """Second-moment decay of Adam, and the decay of RMSprop's mean square."""
    mismatch: shared.Mismatch = "caption"
    """What a mismatched pair is made of: another caption, which costs no pass over pictures; another picture; or the batch's next picture.
    Pictures and captions are of another class, where classes are known, except for `neighbour`."""
    epochs: float = 200.0
    """Passes over the training pictures; BMSG-GAN leaves their number to the user."""
    batch_size: int = 20
    """Pictures a step, over all processes; each process needs 2, which minibatch deviation compares."""

    def check(self) -> None:
        at_least(self, "method", 1, "noise_width", "condition_width", "text_width", "full_scales", "penalty_every")
        at_least(self, "method", 2, "generator_channels", "discriminator_channels")
        at_least(self, "method", 0, "gradient_penalty")
        above_zero(self, "method", "learning_rate")
        shared.below_one(self, "beta1", "beta2")

    @property
    def penalty(self) -> float:
        """`gradient_penalty`, resolved."""
        return PENALTIES.get(self.loss, 0.0) if self.gradient_penalty is None else self.gradient_penalty


class MSGGAN(AdversarialMethod[VectorNoise]):
    """The generator of all scales and the discriminator that sees them together."""

    Settings = MSGGANSettings
    title = "MSG-GAN"
    paper = "Karnewar and Wang, MSG-GAN: Multi-Scale Gradients for Generative Adversarial Networks, CVPR 2020, arXiv:1903.06048"
    _small = {
        "generator_channels": 128,
        "discriminator_channels": 128,
        "full_scales": 1,
        "noise_width": 64,
        "learning_rate": 3e-3,
        "batch_size": 16,
        "epochs": 40.0,
        "loss": "non-saturating",
        "gradient_penalty": 1.0,
        "penalty_every": 8,
    }
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and settings at 256 px, without captions, for a GPU.",
            resolution=256,
            training={"ema_half_life": 13_860.0},  # images: 0.999 a step of 20 pictures
        ),
        "cpu": Preset(
            sentence="Narrow networks at 64 px with counterfactual captions, sized for two CPU cores.",
            resolution=64,
            method={
                **_small,
                "unconditional": False,
                "loss": "non-saturating",
                "condition_width": 64,
                "text_width": 64,
                "counterfactual": 0.75,
            },
        ),
        "cpu-unconditional": Preset(
            sentence="Narrow networks at 64 px from pictures alone, sized for two CPU cores.",
            resolution=64,
            method=_small,
        ),
    }
    settings: MSGGANSettings
    generator: Generator
    discriminator: Discriminator

    def __init__(self, settings: MSGGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.depth = doublings(conditions.resolution, NAME, smallest=8) + 1
        sentence_width = 0 if settings.unconditional else conditions.sentence_width
        self.generator = Generator(settings, sentence_width, self.depth)
        self.discriminator = Discriminator(settings, sentence_width, self.depth)

    @classmethod
    def reads_text(cls, settings: MSGGANSettings) -> bool:
        return not settings.unconditional

    def optimizer(self) -> Optimizer:
        settings = self.settings
        if settings.optimizer == "rmsprop":
            return RMSprop(learning_rate=settings.learning_rate, decay=settings.beta2)
        return Adam(learning_rate=settings.learning_rate, betas=(settings.beta1, settings.beta2))

    def phases(self) -> list[Phase]:
        settings = self.settings
        if settings.unconditional:
            return [self.phase(epochs=settings.epochs, captions=0, counterfactuals=0, fewest=COMPARED)]
        return [self.phase(epochs=settings.epochs, captions=settings.captions, fewest=COMPARED)]

    def couples_rows(self) -> str | None:
        return "minibatch deviation compares all pictures of a batch"

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """One update of the discriminator and one of the generator, with the same noise."""
        sentence = None if self.settings.unconditional else mean_sentence(batch)  # [B, D]
        reals = pyramid(batch.pictures, self.depth)
        fakes = self.generator(self.noise(batch, "generator").z, sentence)  # coarse to fine
        yield self._discriminator_update(batch, reals, [fake.detach() for fake in fakes], sentence, progress.step)
        scores = self.discriminator(fakes, sentence)
        with torch.no_grad():
            real = self.discriminator(reals, sentence) if self.settings.loss == "relativistic-hinge" else None
        yield Update("generator", generator_loss(self.settings.loss, scores, real))

    def _discriminator_update(
        self, batch: Batch, reals: Sequence[Tensor], fakes: Sequence[Tensor], sentence: Tensor | None, step: int
    ) -> Update:
        settings, discriminator = self.settings, self.discriminator
        features = discriminator.look(reals)
        real, fake = discriminator.match(features, sentence), discriminator(fakes, sentence)
        loss = discriminator_loss(settings.loss, real, fake)
        metrics = {"real": real.detach().mean(), "fake": fake.detach().mean()}
        if sentence is not None and settings.mismatch_weight:
            wrong = mismatched_pairs(self._look_at, batch, features, sentence, settings.mismatch, settings.counterfactual)
            mismatched = discriminator.match(*wrong)
            loss = loss.lerp(discriminator_loss(settings.loss, real, mismatched), settings.mismatch_weight)
            metrics["mismatched"] = mismatched.detach().mean()
        update = Update("discriminator", loss, metrics)
        if not settings.penalty or step % settings.penalty_every:
            return update
        seen = mixtures(reals, fakes, batch) if settings.loss == "wgan-gp" else reals
        penalty = multi_scale_penalty(
            lambda pictures: discriminator(pictures, None if sentence is None else sentence.float()),
            seen,
            target=1.0 if settings.loss == "wgan-gp" else 0.0,
        )
        return added(update, settings.penalty * settings.penalty_every * penalty, {"penalty": penalty.detach()})

    def _look_at(self, pictures: Tensor) -> Tensor:
        return self.discriminator.look(pyramid(pictures, self.depth))

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        return VectorNoise(gaussian((self.settings.noise_width,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: VectorNoise) -> Painting:
        """All scales; the networks paint without bounds, and what is beyond [-1, 1] is cut off, as in the authors' code."""
        *stages, images = (picture.clamp(-1.0, 1.0) for picture in self.generator(noise.z, text.sentence))
        return Painting(images, stages=tuple(stages))

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's map before its last block, which compares the pictures of a batch, place by place: [B, 16 C]."""
        return self.discriminator.joined(pyramid(pictures, self.depth)).flatten(1)


class Generator(nn.Module):
    """ProGAN's generator at full depth, with a picture of every block's map."""

    def __init__(self, settings: MSGGANSettings, sentence_width: int, depth: int) -> None:
        super().__init__()
        widths = progan.block_widths(settings.generator_channels, depth, settings.full_scales)
        self.condition = progan.EqualizedLinear(sentence_width, settings.condition_width) if sentence_width else None
        latent = settings.noise_width + (settings.condition_width if sentence_width else 0)
        self.blocks = nn.ModuleList([progan.FirstBlock(latent, widths[0])])
        self.blocks.extend(progan.GeneratorBlock(wide, narrow) for wide, narrow in zip(widths, widths[1:], strict=False))
        self.pictures = nn.ModuleList(progan.to_picture(width) for width in widths)

    def forward(self, z: Tensor, sentence: Tensor | None = None) -> list[Tensor]:
        """z: [B, Z], sentence: [B, D], where it reads one -> pictures [B, 3, r, r] of r = 4, 8, ..., R, not bounded."""
        x = on_sphere(z)
        if self.condition is not None:
            assert sentence is not None
            x = torch.cat([on_sphere(self.condition(sentence)), x], dim=1)
        painted = []
        for block, picture in zip(self.blocks, self.pictures, strict=True):
            x = for_convolutions(block(x))
            painted.append(picture(x))
        return painted


class Discriminator(nn.Module):
    """ProGAN's discriminator, whose maps are joined with the picture of their side before each block but the first.

    The map that a block gives has half of the next block's channels with `lin-cat`, where the picture has the other half, and all of them
    otherwise. The first block reads the finest picture alone.
    """

    def __init__(self, settings: MSGGANSettings, sentence_width: int, depth: int) -> None:
        super().__init__()
        self.combine = settings.combine
        widths = progan.block_widths(settings.discriminator_channels, depth, settings.full_scales)
        own = [width - width // 2 if self.combine == "lin-cat" else width for width in widths[:-1]]  # of the map, at each lower scale
        joined = [width + 3 if self.combine == "simple" else width for width in widths[:-1]] + [widths[-1]]
        self.pictures = nn.ModuleList(self._joint(width) for width in widths[:-1])
        self.pictures.append(progan.from_picture(widths[-1]))
        self.blocks = nn.ModuleList(progan.DiscriminatorBlock(*pair) for pair in zip(joined[1:], own, strict=True))  # coarse to fine
        text_width = settings.text_width if sentence_width else 0
        self.last = progan.LastBlock(widths[0], narrow=joined[0], sentence_width=sentence_width, compressed=text_width)

    def _joint(self, width: int) -> nn.Module:
        """The layer that joins a picture to a map of `width` channels."""
        if self.combine == "simple":
            return nn.Identity()
        return progan.from_picture(width // 2) if self.combine == "lin-cat" else progan.EqualizedConvolution(width + 3, width, 1)

    def joined(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pictures [B, 3, r, r], coarse to fine -> what the last block reads: [B, C, 4, 4]."""
        x = self.pictures[-1](for_convolutions(pictures[-1]))
        for block, picture, layer in zip(reversed(self.blocks), reversed(pictures[:-1]), reversed(self.pictures[:-1]), strict=True):
            x = block(x)
            # The picture comes first in BMSG-GAN, the map in msg-stylegan-tf.
            x = layer(torch.cat([x, picture], dim=1)) if self.combine == "cat-lin" else torch.cat([layer(picture), x], dim=1)
        return x

    def look(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pictures of all scales -> features for `match`: [B, C, 4, 4]."""
        return self.last.look(self.joined(pictures))

    def match(self, features: Tensor, sentence: Tensor | None = None) -> Tensor:
        """[B, C, 4, 4] and sentences [B, D], where it reads them -> [B] scores."""
        return self.last.match(features, sentence)

    def forward(self, pictures: Sequence[Tensor], sentence: Tensor | None = None) -> Tensor:
        return self.match(self.look(pictures), sentence)


def on_sphere(x: Tensor) -> Tensor:
    """[B, Z] with every row brought to the length sqrt(Z)."""
    return F.normalize(x, dim=1) * x.shape[1] ** 0.5


def pyramid(pictures: Tensor, depth: int) -> list[Tensor]:
    """[B, 3, R, R] -> `depth` scales by average pooling, coarse to fine, down to R / 2 ** (depth - 1)."""
    scales = [pictures]
    while len(scales) < depth:
        scales.append(F.avg_pool2d(scales[-1], 2))
    return scales[::-1]


def discriminator_loss(kind: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss, a scalar, from its scores [B] of real and of generated pictures."""
    if kind == "relativistic-hinge":  # Jolicoeur-Martineau, ICLR 2019
        return relu(1.0 - (real - fake.mean())).mean() + relu(1.0 + (fake - real.mean())).mean()
    if kind == "wgan-gp":
        return fake.mean() - real.mean() + DRIFT * real.square().mean()
    if kind == "non-saturating":
        return softplus(-real).mean() + softplus(fake).mean()
    if kind == "lsgan-sigmoid":
        real, fake = real.sigmoid(), fake.sigmoid()
    return 0.5 * ((real.mean() - 1.0).square() + fake.mean().square())


def generator_loss(kind: Loss, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """The generator's loss, a scalar, from the scores [B] of its pictures and, for the relativistic loss alone, of real ones."""
    if kind == "relativistic-hinge":
        assert real is not None
        return relu(1.0 + (real - fake.mean())).mean() + relu(1.0 - (fake - real.mean())).mean()
    if kind == "wgan-gp":
        return -fake.mean()
    if kind == "non-saturating":
        return softplus(-fake).mean()
    return 0.5 * ((fake.sigmoid() if kind == "lsgan-sigmoid" else fake).mean() - 1.0).square()


def mixtures(reals: Sequence[Tensor], fakes: Sequence[Tensor], batch: Batch) -> list[Tensor]:
    """Pictures between real and generated ones, where WGAN-GP penalises; a row lies at the same place between the two at every scale."""
    with batch.pictures.device:
        place = uniform((1, 1, 1), batch.seed, batch.samples, "mixture").to(batch.pictures)  # [B, 1, 1, 1]
    return [fake.to(real.dtype).lerp(real, place) for real, fake in zip(reals, fakes, strict=True)]


def multi_scale_penalty(discriminator: Callable[[Sequence[Tensor]], Tensor], pictures: Sequence[Tensor], *, target: float) -> Tensor:
    """The mean over scales, and over the batch, of a penalty on the gradient of the scores by each scale's pictures, a scalar.

    target: 1 for WGAN-GP, (norm - 1)^2; 0 for R1, norm^2 / 2.
    """
    with uncompiled(), torch.autocast(pictures[0].device.type, enabled=False):  # second derivatives need float32
        seen = [picture.detach().float().requires_grad_() for picture in pictures]
        gradients = torch.autograd.grad(discriminator(seen).sum(), seen, create_graph=True)
        squares = torch.stack([gradient.square().sum(dim=(1, 2, 3)) for gradient in gradients])  # [scales, B]
        return ((squares + 1e-12).sqrt() - target).square().mean() if target else 0.5 * squares.mean()
