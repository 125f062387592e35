"""How StyleGAN2's players are trained, and how pictures are made of styles: what methods that build on it share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core.batch import Batch
from limner.core.method import Method, Painting
from limner.core.noise import gaussian
from limner.core.optimizers import Adam
from limner.core.schedules import cosine
from limner.core.trainable import Conditions, Player, Progress, Update
from limner.families.augmentation import Augmenting, shared_by_processes
from limner.families.stacked import doublings
from limner.families.style.discriminator import Discriminator, discriminator_loss, generator_loss
from limner.families.style.generator import Generator, map_widths, mixed
from limner.families.style.noise import StyleNoise, drawn, drawn_maps
from limner.families.style.path_length import path_lengths, path_penalty
from limner.nn.penalties import zero_centred_penalty
from limner.nn.uncompiled import uncompiled


class StyleMethod(Augmenting, Method[StyleNoise]):
    """The generator with its styles, the residual discriminator, and a step of their game. The settings have `StyleSettings`' fields.

    name: the method's, for errors. condition_width: numbers of a condition that both networks read, 0 for none; condition_layers: layers
    of the discriminator's mapping network, which reads it.
    path_mean: the running mean of path lengths; strength: the probability of the augmentation's changes.
    """

    settings: Any
    path_mean: float
    strength: float

    def __init__(self, settings: Any, conditions: Conditions, name: str, *, condition_width: int = 0, condition_layers: int = 8) -> None:
        super().__init__(settings, conditions)
        doublings(conditions.resolution, name, smallest=8)
        self.widths = map_widths(conditions.resolution, settings.channel_base, settings.channel_limit)
        """Channels of the maps of 4, 8, ... px."""
        self.generator = Generator(
            self.widths, settings.noise_width, settings.style_width, settings.mapping_layers, condition_width=condition_width
        )
        self.discriminator = Discriminator(
            self.widths, group=settings.deviation_group, condition_width=condition_width, layers=condition_layers
        )
        self.register_state("path_mean", 0.0)
        self.register_state("strength", settings.augmentation_strength if settings.augmentation else 0.0)

    def players(self) -> dict[str, Player]:
        settings = self.settings
        cooling = self.cooling if settings.cool_from < 1.0 else None
        first, second = self._adam(settings.gradient_penalty, settings.penalty_every), self._adam(settings.path_weight, settings.path_every)
        return {
            "discriminator": Player(module=self.discriminator, optimizer=first, learning_rate_factor=cooling),
            "generator": Player(module=self.generator, optimizer=second, averaged=True, learning_rate_factor=cooling),
        }

    def cooling(self, progress: Progress) -> float:
        """What both players' learning rates are multiplied by: 1, and from `cool_from` on a half cosine down to 0."""
        return cosine(progress, self.settings.cool_from)

    def _adam(self, weight: float, every: int) -> Adam:
        """Adam for a player who takes one more step in each `every`: every step is that much smaller, its memory that much longer."""
        settings, share = self.settings, every / (every + 1) if weight else 1.0
        betas = (settings.beta1**share if settings.beta1 else 0.0, settings.beta2**share)
        return Adam(learning_rate=settings.learning_rate * share, betas=betas)

    def couples_rows(self) -> str | None:
        return "minibatch deviation compares the pictures of a batch, and path lengths are held to their mean"

    def game(self, batch: Batch, step: int, condition: Tensor | None = None) -> Iterator[Update]:
        """One step of the game: both players' losses, and in some steps R1 and path lengths. condition: [B, D], where they read one."""
        settings = self.settings
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

    def truncated(self, styles: Tensor) -> Tensor:
        """Styles [B, places, W], those of the coarsest layers or all brought nearer to the mean style, as the settings say."""
        settings, mapping = self.settings, self.generator.mapping
        if settings.truncation == 1.0:
            return styles
        if settings.truncation_layers is None:
            return mapping.truncated(styles, settings.truncation)
        near, far = styles[:, : settings.truncation_layers], styles[:, settings.truncation_layers :]
        return torch.cat([mapping.truncated(near, settings.truncation), far], dim=1)

    def paint_styles(self, styles: Tensor, noise: StyleNoise) -> Painting:
        """Pictures of styles [B, places, W], with the noise's maps. What is beyond [-1, 1] is cut off, as in the authors' code."""
        synthesis, share = self.generator.synthesis, self.settings.map_noise
        maps = noise.split(synthesis.sides)
        return Painting(synthesis(styles, maps if share == 1.0 else [share * each for each in maps]).clamp(-1.0, 1.0))

    def style_weights(self) -> Sequence[Tensor]:
        """[C, W] for each place: the linear layer by which a style scales the maps there."""
        return self.generator.synthesis.modulations()

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's map before the pictures of a batch are compared, place by place: [B, 16 C]."""
        return self.discriminator.look(pictures).flatten(1)
