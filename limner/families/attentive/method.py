"""How AttnGAN and the methods after it are trained: a tree of pictures, a discriminator at every scale, one generator.

Xu et al., CVPR 2018, arXiv:1711.10485. `TreeMethod` holds players, phases and the matching model's loss term; `AttentiveMethod` adds
the training step and painting. MirrorGAN, DM-GAN and ControlGAN derive from `AttentiveMethod` and add generators and loss terms of their
own; SD-GAN, which has a step of its own, derives from `TreeMethod`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import ConditionedNoise, NoiseType, gaussian
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families.adversarial import AdversarialMethod, added, smoothed
from limner.families.attentive.losses import discriminator_loss, generator_loss, load_guide, matching_terms, mismatched_pairs
from limner.families.conditioning import GaussianCondition
from limner.families.tree import ScaleDiscriminator, discriminator_name, scales
from limner.matching.models.damsm import DAMSM
from limner.nn.initialization import he_initialization, orthogonal_initialization

GUIDE = "matching"
"""The matching model's name among a method's guides."""


class TreeMethod(AdversarialMethod[NoiseType]):
    """Players and phases of the family. Methods build `generator` and `discriminators`, one for each side, and call `begin_weights`.

    Their settings have the fields of `TreeSettings`, `GuideSettings`, `MismatchSettings` and `ScheduleSettings`, too.

    name: the method's name, for error messages. words: whether its networks read words. without: the options that turn words off.

    Raises SettingsError where the networks read words and the text encoder gives none, and where the branches do not fit the resolution.
    """

    generator: nn.Module
    discriminators: nn.ModuleList
    captions = 1
    """Captions of a picture that are painted in a step."""

    def __init__(self, settings: Any, conditions: Conditions, name: str, *, words: bool, without: str) -> None:
        super().__init__(settings, conditions)
        self.sides = scales(conditions.resolution, settings.branches, name)
        """Sides of the pictures that are painted, coarse to fine."""
        self.reads_words = words
        if words and conditions.word_width is None:
            raise SettingsError(
                f"{name} reads words, which this text encoder does not give: give --text.encoder a damsm run or another that does, "
                f"or {without}"
            )

    def begin_weights(self, *, normalized: bool) -> None:
        """Set the initial weights of all networks. normalized: whether discriminators normalise batches or weights."""
        self.generator.apply(orthogonal_initialization)
        self.discriminators.apply(orthogonal_initialization if normalized else he_initialization)

    def players(self) -> dict[str, Player]:
        players = {
            discriminator_name(side): self.player(discriminator)
            for side, discriminator in zip(self.sides, self.discriminators, strict=True)
        }
        return players | {"generator": self.player(self.generator, averaged=True)}

    def phases(self) -> list[Phase]:
        return [self.phase(epochs=self.settings.epochs, captions=self.captions, words=self.reads_words)]

    def load_guides(self, phase: Phase) -> None:
        if self.settings.matching is not None and self.settings.guidance and GUIDE not in self.guides:
            self.guide(GUIDE, load_guide(self.settings.matching))

    def scale_discriminators(self) -> Iterator[ScaleDiscriminator]:
        """Each scale's discriminator, coarse to fine."""
        for discriminator in self.discriminators:
            assert isinstance(discriminator, ScaleDiscriminator)
            yield discriminator

    def matched(self, update: Update, batch: Batch, pictures: Tensor) -> Update:
        """The generator's update with the matching model's loss of its last pictures [B, 3, R, R] added, where there is such a model."""
        if GUIDE not in self.guides:
            return update
        terms, found = self.matching_terms(batch, pictures)
        more = {f"matching_{name}": value.detach() for name, value in terms.items()} | found
        return added(update, self.settings.guidance * torch.stack(list(terms.values())).sum(), more)

    def matching_terms(self, batch: Batch, pictures: Tensor, caption: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The matching model's losses of pictures [B, 3, R, R] and one of their captions each. caption: its place among a picture's
        captions."""
        guide = self.guides[GUIDE]
        assert isinstance(guide, DAMSM)
        return matching_terms(guide, pictures, [own[caption] for own in batch.captions], batch.classes)

    def look(self, pictures: Tensor) -> Tensor:
        """The last discriminator's 4x4 code, place by place: [B, 128 D]."""
        *_, discriminator = self.scale_discriminators()
        return discriminator.look(pictures).flatten(1)


class AttentiveMethod(TreeMethod[ConditionedNoise]):
    """The family's training step and painting.

    `generator.condition(sentence)` returns the Gaussian from which a sentence's condition is drawn. `generator(noise, condition, text)`
    returns the pictures of every side, the attention to words of every later branch, and whatever else a method has to show.
    """

    generator: Any

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """An update of each discriminator and one of the generator, all with the same pictures."""
        condition = self.generator.condition(batch.text.sentence)
        fakes = self.generator(self.noise(batch, "generator"), condition, batch.text)[0]  # [B, 3, r, r] for each side r
        for discriminator, fake in zip(self.scale_discriminators(), fakes, strict=True):
            yield self.discriminator_update(discriminator, batch, fake, self.penalty(progress))
        yield self.generator_update(batch, fakes, condition)

    def discriminator_update(
        self, discriminator: ScaleDiscriminator, batch: Batch, fake: Tensor, penalty: float = 0.0, codes: Mapping[str, Tensor] | None = None
    ) -> Update:
        """One scale's discriminator learns from the batch and from generated pictures [B, 3, r, r] of its sentences.

        penalty: weight of R1 in this step; 0 leaves it out. codes: the discriminator's codes of "real" and "fake" pictures (detached
        ones), where the caller has looked already.
        """
        settings, pictures, sentence = self.settings, batch.image(fake.shape[-1]), batch.text.sentence
        if codes is None:
            codes = dict(zip(("real", "fake"), discriminator.look_apart(pictures, fake.detach()), strict=True))
        pairs = {name: (code, sentence) for name, code in codes.items()}
        pairs["mismatched"] = mismatched_pairs(
            discriminator, batch, pictures, codes["real"], sentence, settings.mismatch, settings.counterfactual
        )
        matching = dict(zip(pairs, discriminator.match_apart(*pairs.values()), strict=True))
        reality = {} if discriminator.reality is None else {name: discriminator.realism(code) for name, code in codes.items()}
        metrics = {name: logits.detach().sigmoid().mean() for name, logits in matching.items()}
        metrics |= {f"{name}_unconditional": logits.detach().sigmoid().mean() for name, logits in reality.items()}

        def verdict(seen: Tensor) -> Tensor:
            code = discriminator.look(seen)
            match = discriminator.match(code, sentence.float())
            return match if discriminator.reality is None else (match + discriminator.realism(code)) / 2.0

        update = Update(discriminator_name(fake.shape[-1]), discriminator_loss(matching, reality), metrics)
        return smoothed(update, penalty, (verdict, pictures))

    def generator_update(self, batch: Batch, fakes: Sequence[Tensor], condition: GaussianCondition) -> Update:
        """All scales' fooling losses, the KL term, and the matching model's loss of the last scale (Eq. 3, 4 and 13)."""
        divergence = condition.divergence()
        update = added(self.fooling(batch, fakes), self.settings.divergence_weight * divergence, {"divergence": divergence.detach()})
        return self.matched(update, batch, fakes[-1])

    def fooling(self, batch: Batch, fakes: Sequence[Tensor]) -> Update:
        """The generator's update with the discriminators' losses alone."""
        loss = generator_loss(self.discriminators, fakes, batch.text.sentence)
        return Update("generator", loss, {"fooling": loss.detach()})

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> ConditionedNoise:
        z = gaussian((self.settings.noise_width,), seed, samples, stream)
        return ConditionedNoise(z, gaussian((self.settings.condition_width,), seed, samples, f"{stream} condition"))

    def paint(self, text: TextFeatures, noise: ConditionedNoise) -> Painting:
        """With `extras` "attention-S", [B, T, S, S]: how much each place of the map of side S looked at each word, to paint 2 S."""
        (*stages, images), attention, *_ = self.generator(noise, self.generator.condition(text.sentence), text)
        return Painting(images, tuple(stages), {f"attention-{maps.shape[-1]}": maps for maps in attention})
