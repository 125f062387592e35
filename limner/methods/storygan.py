"""StoryGAN: a picture for each sentence of a story, in which things stay what they are (Li et al., CVPR 2019).

Yitong Li, Zhe Gan, Yelong Shen, Jingjing Liu, Yu Cheng, Yuexin Wu, Lawrence Carin, David Carlson and Jianfeng Gao, "StoryGAN: A Sequential
Conditional GAN for Story Visualization", arXiv:1812.02784. A story encoder makes a vector of all sentences, a context encoder carries it
from sentence to sentence, and a generator paints each frame of what the context encoder makes of its sentence. One discriminator looks at
single pictures, another one at whole stories. Networks, losses and the order of updates follow the authors' code
(github.com/yitong91/StoryGAN, commit 6172f8a) where it differs from the paper:

- Text2Gist: two recurrent cells next to each other, and a filter made of the context for an image made of the sentence; the paper stacks
  the cells and filters the context (`text2gist`; `limner.families.stories.context` has both);
- single pictures are judged with their sentence alone, and stories with the mean of their sentences; the paper has the story's vector next
  to the sentence, and for stories all sentences (`picture_condition`, `story_condition`);
- the generator takes two steps with both discriminators' losses for each step of these; the paper alternates pictures and stories;
- a category loss, which the paper does not mention: a head of the pictures' discriminator says what each picture shows.

In one thing the paper is followed: the story's vector is drawn from a Gaussian (conditioning augmentation). The code has the network for it
and never calls it: sentences stand for mean *and* log variance, so that the two KL terms are constants. `augmentation` "none" is that.

Differences from the code: probabilities are kept as logits; a picture is one of any story, while the code draws the stories of its pictures
without replacement, and then one frame of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core.batch import Batch
from limner.core.errors import DataError, SettingsError
from limner.core.method import Painting
from limner.core.noise import gaussian
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import AdversarialMethod, smoothed
from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.matching_aware import bce
from limner.families.stories.networks import PictureDiscriminator, StoryDiscriminator, StoryGenerator, of_stories
from limner.families.stories.noise import AugmentedStoryNoise, GistNoise, StoryNoise
from limner.nn.initialization import he_initialization, normal_initialization


@dataclass(frozen=True, kw_only=True)
class StoryGANSettings(
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.ClipSettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.NoiseSettings,
):
    """Settings of StoryGAN; the defaults are those of the authors' CLEVR-SV model, with conditioning augmentation as in the paper."""

    augmentation: Literal["relu", "glu", "none"] = "relu"
    """What makes a Gaussian of a story, from which its vector is drawn: a linear map with a ReLU, whose variance is at least 1, as in the
    network that the authors' code leaves unused; with a gated linear unit, as in StackGAN++; or nothing, as that code is run."""
    text2gist: Literal["released", "paper"] = "released"
    """How sentence and context meet: as in the authors' code, or as the paper has it."""
    picture_condition: Literal["sentence", "story"] = "sentence"
    """What single pictures are judged with: their sentence, as released, or their sentence and their story, as in the paper."""
    story_condition: Literal["mean", "sentences"] = "mean"
    """What stories are judged with: the mean of their sentences, as released, or all of them in order, as in the paper."""
    generator_channels: int = 192
    """An eighth of the channels of the generator's first map; half are left each time the side doubles."""
    discriminator_channels: int = 96
    """Channels of the discriminators' first map at 64 px; later ones double."""
    doublings: Literal["plain", "gated"] = "plain"
    """What follows the generator's convolutions: batch normalisation and ReLU, as released, or gated linear units, as in AttnGAN."""
    pictures_per_story: int = 1
    """Single pictures that the pictures' discriminator sees for each story of the step."""
    generator_steps: int = 2
    """Steps of the generator, each with noise of its own, for each of the discriminators'."""
    story_weight: float = 1.0
    """Weight of the whole stories in the generator's loss, next to 1 for single pictures."""
    category_weight: float = 1.0
    """Weight of the category loss of real pictures in the discriminator's loss; 0 trains both networks without."""
    generator_category_weight: float = 0.4
    """Weight of the category loss of painted pictures in the generator's loss, where the discriminator learns categories."""
    unconditional_weight: float = 0.0
    """Weight of heads that judge pictures without their sentences, and stories without theirs, next to 1 for pairs; 0 has no such heads."""
    divergence_weight: float = 1.0
    """Weight of the KL term that keeps the vectors of a story spread like standard normal noise (the code has a weight of 2, unused)."""
    counterfactual: float = 0.0
    """Share of the single pictures whose wrong sentence differs in exactly one attribute or word; 0 as published."""
    halve_every: float = 20.0
    """Epochs after which the learning rate halves, again and again; 0 keeps it."""
    epochs: float = 120.0
    """Passes over the training stories."""
    batch_size: int = 24
    """Stories a step, over all processes."""

    def check(self) -> None:
        above_zero(self, "method", "epochs")
        at_least(self, "method", 1, "generator_channels", "discriminator_channels", "pictures_per_story", "generator_steps")
        at_least(self, "method", 0, "story_weight", "category_weight", "generator_category_weight")
        at_least(self, "method", 0, "divergence_weight", "unconditional_weight")
        at_least(self, "method", 2, "batch_size")
        shared.share(self, "counterfactual")
        if self.text2gist == "paper" and self.augmentation == "none":
            raise SettingsError("the paper's Text2Gist begins with a vector that is drawn: give --method.augmentation relu or glu")


class StoryGAN(AdversarialMethod[StoryNoise]):
    """The authors' networks and losses, and the paper's where settings ask for them."""

    Settings = StoryGANSettings
    title = "StoryGAN"
    world = "garden-stories"
    paper = "Li et al., StoryGAN: A Sequential Conditional GAN for Story Visualization, CVPR 2019, arXiv:1812.02784"
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule at 64 px, for a GPU.",
            resolution=64,
            training={"ema_half_life": 0.0},  # the authors keep no running average
        ),
        "cpu": Preset(
            sentence="Narrow networks and counterfactual sentences, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_STEPS,
                "discriminator_normalization": False,
                "gradient_clip": 100.0,  # without it, training broke down after 1,950 steps: docs/storygan.md
                "augmentation": "glu",
                "picture_condition": "story",
                "story_condition": "sentences",
                "noise_width": 16,  # of each frame; what a whole story shares is drawn by the augmentation
                "generator_channels": 24,
                "discriminator_channels": 16,
                "pictures_per_story": 2,
                "generator_steps": 1,
                "unconditional_weight": 1.0,
                "batch_size": 8,
                "epochs": 40.0,
            },
        ),
    }
    settings: StoryGANSettings
    generator: StoryGenerator
    discriminator: PictureDiscriminator

    def __init__(self, settings: StoryGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        if conditions.frames < 2:
            fix = f"train it on {self.world}, or on pictures prepared with stories"
            raise DataError(f"storygan learns from stories, and the training pictures have none: {fix}")
        if settings.pictures_per_story > conditions.frames:
            raise SettingsError(f"method.pictures-per-story is {settings.pictures_per_story}: stories have {conditions.frames} pictures")
        width, normalize = conditions.sentence_width, settings.discriminator_normalization
        augmentation = None if settings.augmentation == "none" else ConditioningAugmentation(width, width, settings.augmentation)
        self.generator = StoryGenerator(
            conditions.resolution,
            width,
            settings.noise_width,
            8 * settings.generator_channels,
            augmentation,
            gist=settings.text2gist == "paper",
            gated=settings.doublings == "gated",
        )
        self.discriminator = PictureDiscriminator(
            conditions.resolution,
            settings.discriminator_channels,
            width * (1 if settings.picture_condition == "sentence" else 2),
            conditions.category_count if settings.category_weight else 0,
            normalize=normalize,
            unconditional=bool(settings.unconditional_weight),
        )
        self.story_discriminator = StoryDiscriminator(
            conditions.resolution,
            settings.discriminator_channels,
            width * (1 if settings.story_condition == "mean" else conditions.frames),
            conditions.frames,
            normalize=normalize,
            unconditional=bool(settings.unconditional_weight),
        )
        self.apply(normal_initialization)
        if not normalize:
            for network in (self.discriminator, self.story_discriminator):
                network.apply(he_initialization)

    @property
    def frames(self) -> int:
        """Frames of a story."""
        return self.conditions.frames

    def players(self) -> dict[str, Player]:
        return {
            "discriminator": self.player(self.discriminator),
            "story-discriminator": self.player(self.story_discriminator),
            "generator": self.player(self.generator, averaged=True),
        }

    def phases(self) -> list[Phase]:
        size = self.settings.batch_size * self.frames
        return [self.phase(epochs=self.settings.epochs, batch_size=size, frames=self.frames, fewest=2 * self.frames)]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        told = of_stories(batch.text.sentence, self.frames)  # [S, F, D]
        single = batch.draw("frames").part(slice(0, len(told) * self.settings.pictures_per_story))  # [B] pictures
        assert single.story is not None
        around = of_stories(single.story.text.sentence, self.frames)  # [B, F, D], the stories that these are of
        penalty = self.penalty(progress)
        with torch.no_grad():
            alone, _ = self._painted(single, around, "discriminator")
            together, _ = self.generator(told, told, self._noise_of_stories(batch, "discriminator"))
        yield self._discriminator_update(single, around, alone, penalty)
        yield self._story_update(batch.pictures, told, together, penalty)
        for number in range(self.settings.generator_steps):
            alone, of_single = self._painted(single, around, f"generator {number}")
            together, of_told = self.generator(told, told, self._noise_of_stories(batch, f"generator {number}"))
            divergence = self.divergence(of_single, single.text.sentence), self.divergence(of_told, told.flatten(0, 1))
            yield self._generator_update(single, around, alone, told, together, divergence)

    def _painted(self, single: Batch, around: Tensor, stream: str) -> tuple[Tensor, GaussianCondition | None]:
        """Pictures [B, 3, R, R] of single sentences, each told by its whole story."""
        return self.generator(single.text.sentence[:, None], around, self.noise(single, f"{stream}, pictures"))

    def _noise_of_stories(self, batch: Batch, stream: str) -> StoryNoise:
        """A row of noise for each story of a batch."""
        return self.noise(batch.part(slice(0, None, self.frames)), f"{stream}, stories")

    def _discriminator_update(self, single: Batch, around: Tensor, painted: Tensor, penalty: float) -> Update:
        condition = self.picture_condition(single.text.sentence, around)
        features = self.discriminator.look(single.pictures)
        wrong = self._wrong_pairs(single, around, features, condition)
        update = self._judged("discriminator", self.discriminator, features, painted, condition, wrong)
        if self.settings.category_weight and self.discriminator.category is not None:
            assert single.categories is not None
            categories = category_loss(self.discriminator.categories(features), single.categories)
            loss = update.loss + self.settings.category_weight * categories
            update = Update(update.player, loss, {**update.metrics, "category": categories.detach()})
        return smoothed(update, penalty, (lambda pictures: self._verdict(pictures, condition.float()), single.pictures))

    def _verdict(self, pictures: Tensor, condition: Tensor) -> Tensor:
        return verdict_of(self.discriminator, self.discriminator.look(pictures), condition)

    def _judged(
        self,
        player: str,
        discriminator: PictureDiscriminator | StoryDiscriminator,
        features: Tensor,
        painted: Tensor,
        condition: Tensor,
        wrong: tuple[Tensor, Tensor],
    ) -> Update:
        """BCE(real, 1) + (BCE(wrong, 0) + BCE(painted, 0)) / 2, and BCE(real, 1) + BCE(painted, 0) without condition, weighted.

        features: of real pictures; painted: pictures; wrong: features of real pictures and conditions that do not fit them.
        """
        seen = discriminator.look(painted)
        logits = {
            "real": discriminator.match(features, condition),
            "mismatched": discriminator.match(*wrong),
            "fake": discriminator.match(seen, condition),
        }
        loss = bce(logits["real"], 1.0) + (bce(logits["mismatched"], 0.0) + bce(logits["fake"], 0.0)) / 2
        if discriminator.unconditional is not None:
            alone = {name: discriminator.unconditional(found).flatten() for name, found in (("real", features), ("fake", seen))}
            loss = loss + self.settings.unconditional_weight * (bce(alone["real"], 1.0) + bce(alone["fake"], 0.0))
            logits |= {f"{name}_unconditional": logit for name, logit in alone.items()}
        return Update(player, loss, {name: logit.detach().sigmoid().mean() for name, logit in logits.items()})

    def _wrong_pairs(self, single: Batch, around: Tensor, features: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Each picture with the next one's sentence, and the first ones with their own, in which something was changed."""
        count = round(self.settings.counterfactual * len(single))
        if not count:
            return features[:-1], condition[1:]
        assert single.counterfactual is not None
        own, changed = single.text.sentence[:count], single.counterfactual.sentence[:count]
        story = around[:count] + (changed - own)[:, None] / self.frames  # whose mean has the changed sentence in place of its own
        wrong = self.picture_condition(changed, story)
        return torch.cat([features[:count], features[count:-1]]), torch.cat([wrong, condition[count + 1 :]])

    def _story_update(self, pictures: Tensor, told: Tensor, painted: Tensor, penalty: float) -> Update:
        condition, discriminator = self.story_condition(told), self.story_discriminator
        features = discriminator.look(pictures)
        update = self._judged("story-discriminator", discriminator, features, painted, condition, (features[:-1], condition[1:]))
        seen = pictures.view(len(told), -1, *pictures.shape[2:])  # [S, 3 F, R, R], for one gradient a story

        def verdict(stories: Tensor) -> Tensor:
            return verdict_of(discriminator, discriminator.look(stories.view_as(pictures)), condition.float())

        return smoothed(update, penalty, (verdict, seen))

    def _generator_update(
        self, single: Batch, around: Tensor, alone: Tensor, told: Tensor, together: Tensor, divergences: tuple[Tensor, Tensor]
    ) -> Update:
        """Both discriminators are to be fooled, the categories found, and the stories' vectors kept spread."""
        settings, weight = self.settings, self.settings.story_weight
        features = self.discriminator.look(alone)
        of_pictures = bce(self.discriminator.match(features, self.picture_condition(single.text.sentence, around)), 1.0)
        seen = self.story_discriminator.look(together)
        of_stories = bce(self.story_discriminator.match(seen, self.story_condition(told)), 1.0)
        metrics = {"pictures": of_pictures.detach(), "stories": of_stories.detach()}
        if self.discriminator.unconditional is not None and self.story_discriminator.unconditional is not None:
            picture = bce(self.discriminator.unconditional(features), 1.0)
            whole = bce(self.story_discriminator.unconditional(seen), 1.0)
            of_pictures = of_pictures + settings.unconditional_weight * picture
            of_stories = of_stories + settings.unconditional_weight * whole
            metrics |= {"pictures_unconditional": picture.detach(), "stories_unconditional": whole.detach()}
        if settings.generator_category_weight and self.discriminator.category is not None:
            assert single.categories is not None
            categories = category_loss(self.discriminator.categories(features), single.categories)
            of_pictures = of_pictures + settings.generator_category_weight * categories
            metrics["category"] = categories.detach()
        divergence = divergences[0] + weight * divergences[1]
        metrics["divergence"] = divergence.detach()
        return Update("generator", of_pictures + weight * of_stories + settings.divergence_weight * divergence, metrics)

    def picture_condition(self, sentence: Tensor, stories: Tensor) -> Tensor:
        """What single pictures are judged with: sentences [B, D] and their stories [B, F, D] -> [B, D] or [B, 2 D]."""
        return sentence if self.settings.picture_condition == "sentence" else torch.cat([sentence, stories.mean(1)], dim=1)

    def story_condition(self, told: Tensor) -> Tensor:
        """What stories are judged with: [S, F, D] -> [S, D] or [S, F D]."""
        return told.mean(1) if self.settings.story_condition == "mean" else told.flatten(1)

    def divergence(self, found: GaussianCondition | None, sentences: Tensor) -> Tensor:
        """The KL term of stories. Without augmentation it is the code's: sentences [B, D] in place of mean and log variance, a constant."""
        return (GaussianCondition(sentences, sentences) if found is None else found).divergence()

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> StoryNoise:
        width = (self.conditions.sentence_width,)
        z = gaussian((self.frames, self.settings.noise_width), seed, samples, stream)
        if self.settings.text2gist == "paper":
            drawn = [gaussian(width, seed, samples, f"{stream}, {name}") for name in ("epsilon", "start")]
            return GistNoise(z, *drawn)
        if self.settings.augmentation == "none":
            return StoryNoise(z)
        return AugmentedStoryNoise(z, gaussian(width, seed, samples, f"{stream}, epsilon"))

    def paint(self, text: TextFeatures, noise: StoryNoise) -> Painting:
        """Single pictures: each caption is a story of one sentence."""
        sentences = text.sentence[:, None]
        return Painting(self.generator(sentences, sentences, noise)[0])

    def tell(self, text: Sequence[TextFeatures], noise: StoryNoise) -> Painting:
        """Stories: the sentences of each frame, of as many stories as the noise has rows -> [B F, 3, R, R], story by story."""
        sentences = torch.stack([frame.sentence for frame in text], dim=1)
        return Painting(self.generator(sentences, sentences, noise)[0])

    def summary(self) -> str:
        return f"Paints a story of {self.frames} sentences as {self.frames} pictures of {self.resolution} x {self.resolution}."

    def usage(self) -> str:
        return f"""```python
import limner
model = limner.load("PATH")
stories = model.tell([{", ".join(f'"sentence {number}"' for number in range(1, self.frames + 1))}], n=4, seed=7)
```
"""

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        return (*super().next_steps(settings), ("story", 'limner explore story RUN "..." "..." --out story.png'))

    def look(self, pictures: Tensor) -> Tensor:
        """The map of the pictures' discriminator before it reads the text, place by place: [B, 128 C]."""
        return self.discriminator.look(pictures).flatten(1)


def verdict_of(discriminator: PictureDiscriminator | StoryDiscriminator, features: Tensor, condition: Tensor) -> Tensor:
    """The logits that R1 keeps smooth, [B]: of the pairs, and of the head without condition where there is one."""
    logits = discriminator.match(features, condition)
    return logits if discriminator.unconditional is None else logits + discriminator.unconditional(features).flatten()


def category_loss(logits: Tensor, categories: Tensor) -> Tensor:
    """A binary cross-entropy for each category [B, L], the mean over pictures and categories."""
    return F.binary_cross_entropy_with_logits(logits, categories)
