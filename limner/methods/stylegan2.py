"""StyleGAN2: styles scale the weights of a generator's convolutions (Karras et al., CVPR 2020).

Tero Karras, Samuli Laine, Miika Aittala, Janne Hellsten, Jaakko Lehtinen and Timo Aila, "Analyzing and Improving the Image Quality of
StyleGAN", arXiv:1912.04958. A mapping network turns a latent z into a style w. Each convolution of the generator has its weights scaled by
a linear layer of the style and normalised again, and noise added, which decides what the style leaves open. Pictures are sums of what each
side adds; the discriminator is residual. The networks are in `limner.families.style`.

It learns from pictures alone. Networks, losses and schedule follow rosinality's PyTorch code (rosinality/stylegan2-pytorch, commit
bef283a), which gives the same numbers as NVIDIA's (NVlabs/stylegan2-ada-pytorch, commit d72cc7d), to rounding. As in the paper there are
the logistic loss; R1 in each 16th step and path-length regularisation in each 4th, by steps of their own, with Adam's rate and decays
adjusted for them; and two latents a picture in 9 of 10 steps, mixed at a random layer.

Here the same generated pictures serve both players, and noise is drawn anew for each picture that is painted: the maps of noise that
checkpoints hold are not used.

Not in the paper: `augmentation` shows the discriminator changed pictures, for small sets (ADA, Karras et al., NeurIPS 2020, with fewer
kinds of changes). With `unconditional` off, sentences take the place of the class labels in stylegan2-ada-pytorch's conditional form:
they join the latent, and the discriminator's score is a projection on a mapping of the sentence; mismatched pairs are not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import gaussian
from limner.core.optimizers import Adam
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.augmentation import Augmenting, ChangeSettings, shared_by_processes
from limner.families.matching_aware import mean_sentence
from limner.families.stacked import doublings
from limner.families.style.discriminator import Discriminator, discriminator_loss, generator_loss
from limner.families.style.generator import Generator, map_widths, mixed
from limner.families.style.noise import StyleNoise, drawn, drawn_maps
from limner.families.style.path_length import path_lengths, path_penalty
from limner.nn.penalties import zero_centred_penalty
from limner.nn.uncompiled import uncompiled

NAME = "stylegan2"


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Settings(ChangeSettings, shared.CaptionSettings, shared.ScheduleSettings):
    """Settings of StyleGAN2; the defaults are those of the paper's configuration F."""

    unconditional: bool = True
    """Learn from pictures alone and read no text, as published; without it, sentences are the condition."""
    noise_width: int = 512
    """Numbers in the latent z."""
    style_width: int = 512
    """Numbers in a style w."""
    mapping_layers: int = 8
    """Layers of the mapping network from z to w."""
    discriminator_layers: int = 8
    """Layers of the discriminator's own mapping network, which reads sentences; not used where unconditional."""
    channel_base: int = 32_768
    """Channels of a map, times its side: maps of 256 px have 128 channels, maps of 128 px twice as many."""
    channel_limit: int = 512
    """The most channels of a map."""
    mixing: float = 0.9
    """Share of the steps in which pictures have two latents, mixed at a random layer."""
    gradient_penalty: float = 10.0
    """Weight of R1, which keeps the discriminator smooth around real pictures."""
    penalty_every: int = 16
    """Steps between two gradient penalties, each that many times as heavy."""
    path_weight: float = 2.0
    """Weight of path-length regularisation; 0 trains without it."""
    path_every: int = 4
    """Steps between two path-length penalties, each that many times as heavy."""
    path_shrink: int = 2
    """How many times fewer pictures a path-length penalty looks at than a step has."""
    deviation_group: int = 4
    """Pictures that minibatch deviation compares with each other; a process's part of a batch is a multiple of it, or smaller."""
    learning_rate: float = 2e-3
    """Learning rate of both players' Adam; mapping layers learn a hundredth as fast."""
    beta1: float = 0.0
    """First-moment decay of both players' Adam."""
    beta2: float = 0.99
    """Second-moment decay of both players' Adam."""
    truncation: float = 1.0
    """When painting: how far a style stays from the mean style. Below 1 pictures are more typical and more alike; 0 paints the mean."""
    truncation_layers: int | None = None
    """When painting: how many layers' styles are truncated, the coarsest first; none for all."""
    epochs: float = 357.0
    """Passes over the training pictures; 25 million pictures, for FFHQ's 70,000."""
    batch_size: int = 32
    """Pictures a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 1, "noise_width", "style_width", "mapping_layers", "discriminator_layers", "channel_base", "channel_limit")
        at_least(self, "method", 1, "penalty_every", "path_every", "path_shrink", "deviation_group")
        at_least(self, "method", 0, "gradient_penalty", "path_weight", "truncation", "truncation_layers")
        above_zero(self, "method", "learning_rate")
        shared.share(self, "mixing")
        shared.below_one(self, "beta1", "beta2")
        if self.batch_size > self.deviation_group and self.batch_size % self.deviation_group:
            wanted = f"must be a multiple of method.deviation-group, {self.deviation_group}"
            raise SettingsError(f"method.batch-size is {self.batch_size}, but {wanted}")


class StyleGAN2(Augmenting, Method[StyleNoise]):
    """The generator with its styles, and the residual discriminator.

    path_mean: the running mean of path lengths; strength: the probability of the augmentation's changes.
    """

    Settings = StyleGAN2Settings
    title = "StyleGAN2"
    paper = "Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, arXiv:1912.04958"
    sampling: tuple[str, ...] = ("truncation", "truncation_layers")
    _small = {
        "noise_width": 64,
        "style_width": 128,
        "mapping_layers": 4,
        "channel_base": 1024,
        "channel_limit": 128,
        "gradient_penalty": 1.0,
        "path_every": 8,
        "learning_rate": 2.5e-3,
        "batch_size": 16,
        "epochs": 40.0,
    }
    presets = {
        "as-published": Preset(
            sentence="The paper's networks and settings at 256 px, without captions, for a GPU.",
            resolution=256,
            # Images: 10,000 as published. The running average also moves with the steps of path-length regularisation, one for each four.
            training={"ema_half_life": 12_500.0},
        ),
        "cpu": Preset(
            sentence="Narrow networks at 64 px from pictures alone, sized for two CPU cores.",
            resolution=64,
            method=_small,
        ),
        "small-set": Preset(
            sentence="As cpu, with an augmentation that adapts, for sets of some hundred to a few thousand pictures.",
            resolution=64,
            method={**_small, "augmentation": ("translation", "cutout"), "augmentation_images": 100_000, "epochs": 200.0},
        ),
    }
    settings: StyleGAN2Settings
    path_mean: float
    strength: float

    def __init__(self, settings: StyleGAN2Settings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        doublings(conditions.resolution, NAME, smallest=8)
        widths = map_widths(conditions.resolution, settings.channel_base, settings.channel_limit)
        read = 0 if settings.unconditional else conditions.sentence_width
        self.generator = Generator(widths, settings.noise_width, settings.style_width, settings.mapping_layers, condition_width=read)
        self.discriminator = Discriminator(
            widths, group=settings.deviation_group, condition_width=read, layers=settings.discriminator_layers
        )
        self.register_state("path_mean", 0.0)
        self.register_state("strength", settings.augmentation_strength if settings.augmentation else 0.0)

    @classmethod
    def reads_text(cls, settings: StyleGAN2Settings) -> bool:
        return not settings.unconditional

    def players(self) -> dict[str, Player]:
        settings = self.settings
        return {
            "discriminator": Player(module=self.discriminator, optimizer=self._adam(settings.gradient_penalty, settings.penalty_every)),
            "generator": Player(module=self.generator, optimizer=self._adam(settings.path_weight, settings.path_every), averaged=True),
        }

    def _adam(self, weight: float, every: int) -> Adam:
        """Adam for a player who takes one more step in each `every`: every step is that much smaller, its memory that much longer."""
        settings, share = self.settings, every / (every + 1) if weight else 1.0
        betas = (settings.beta1**share if settings.beta1 else 0.0, settings.beta2**share)
        return Adam(learning_rate=settings.learning_rate * share, betas=betas)

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="gan",
                resolution=self.conditions.resolution,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                captions=0 if settings.unconditional else settings.captions,
                fewest=min(2, settings.deviation_group),
            )
        ]

    def couples_rows(self) -> str | None:
        return "minibatch deviation compares the pictures of a batch, and path lengths are held to their mean"

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        settings, step = self.settings, progress.step
        condition = None if settings.unconditional else mean_sentence(batch)  # [B, D]
        fake = self._painted(batch, "generator", len(batch), condition)[0]
        real, refused = self.judge(batch.pictures, condition), self.judge(fake.detach(), condition)
        metrics = {"real": real.detach().mean(), "fake": refused.detach().mean()}
        yield Update("discriminator", discriminator_loss(real, refused), metrics)
        if settings.gradient_penalty and step % settings.penalty_every == 0:
            penalty = zero_centred_penalty(
                lambda pictures: self.judge(pictures, None if condition is None else condition.float()), batch.pictures
            )
            weight = settings.gradient_penalty * settings.penalty_every
            yield Update("discriminator", weight * penalty, {"penalty": penalty.detach()})
        yield Update("generator", generator_loss(self.judge(fake, condition)))
        if settings.path_weight and step % settings.path_every == 0:
            yield self._path_update(batch, condition)
        self.adapt(step, real)

    def judge(self, pictures: Tensor, condition: Tensor | None) -> Tensor:
        """[B] logits of pictures [B, 3, R, R], changed by the augmentation first."""
        logits: Tensor = self.discriminator(self.changed(pictures), condition)
        return logits

    def _painted(self, batch: Batch, stream: str, count: int, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Pictures of the first `count` rows, and their styles [count, places, W]. Maps of noise are drawn on the device."""
        mapping, synthesis = self.generator.mapping, self.generator.synthesis
        first, second = (self._latent(batch, f"{stream}{number}", count) for number in ("", ", mixed"))
        styles = mapping(first, condition)
        mapping.follow(styles)
        at = synthesis.places  # where the second style begins: one place for all rows, as in the authors' code
        if float(torch.rand(())) < self.settings.mixing:
            at = int(torch.randint(1, synthesis.places, ()))
        other = styles if at == synthesis.places else mapping(second, condition)
        styles = mixed(styles, other, synthesis.places, at)
        return synthesis(styles, drawn_maps(synthesis.sides, count, styles)), styles

    def _latent(self, batch: Batch, stream: str, count: int) -> Tensor:
        with batch.pictures.device:
            return gaussian((self.settings.noise_width,), batch.seed, batch.samples[:count], stream).to(batch.pictures)

    def _path_update(self, batch: Batch, condition: Tensor | None) -> Update:
        """The generator's step by path-length regularisation, which also moves `path_mean`."""
        settings, device = self.settings, batch.pictures.device
        count = max(len(batch) // settings.path_shrink, 1)
        with uncompiled(), torch.autocast(device.type, enabled=False):  # second derivatives need float32
            given = None if condition is None else condition[:count].float()
            pictures, styles = self._painted(batch, "path", count, given)
            lengths = path_lengths(pictures, styles, torch.randn_like(pictures))
            penalty, moved = path_penalty(lengths, self.path_mean)
        mean = shared_by_processes(moved)
        self.path_mean = mean if math.isfinite(mean) else self.path_mean
        figures = {"path_penalty": penalty.detach(), "path_length": lengths.detach().mean()}
        return Update("generator", settings.path_weight * settings.path_every * penalty, figures)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> StyleNoise:
        return drawn(self.settings.noise_width, self.generator.synthesis.sides, seed, samples, stream)

    def paint(self, text: TextFeatures, noise: StyleNoise) -> Painting:
        """The networks paint without bounds; what is beyond [-1, 1] is cut off, as in the authors' code."""
        return self.paint_styles(self.find_styles(text, noise), noise)

    def find_styles(self, text: TextFeatures, noise: StyleNoise) -> Tensor:
        """The style of every place, truncated as the settings say: [B, places, W]."""
        settings, mapping = self.settings, self.generator.mapping
        style = mapping(noise.z, None if settings.unconditional else text.sentence)
        styles = self.generator.repeated(style)
        if settings.truncation == 1.0:
            return styles
        if settings.truncation_layers is None:
            return mapping.truncated(styles, settings.truncation)
        near, far = styles[:, : settings.truncation_layers], styles[:, settings.truncation_layers :]
        return torch.cat([mapping.truncated(near, settings.truncation), far], dim=1)

    def paint_styles(self, styles: Tensor, noise: StyleNoise) -> Painting:
        """Pictures of styles [B, places, W], with the noise's maps."""
        synthesis = self.generator.synthesis
        return Painting(synthesis(styles, noise.split(synthesis.sides)).clamp(-1.0, 1.0))

    def style_weights(self) -> Sequence[Tensor]:
        """[C, W] for each place: the linear layer by which a style scales the maps there."""
        return self.generator.synthesis.modulations()

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's map before the pictures of a batch are compared, place by place: [B, 16 C]."""
        return self.discriminator.look(pictures).flatten(1)
