"""AttnGAN's step (Xu et al., CVPR 2018, arXiv:1711.10485): conditioning augmentation, joint losses at every scale, a KL term.

MirrorGAN, DM-GAN and ControlGAN have their own generators and further terms, and train by it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor

from limner.core.batch import Batch
from limner.core.method import Painting, Progress, Update
from limner.core.noise import ConditionedNoise, Noise, gaussian
from limner.core.settings import at_least
from limner.core.text import TextFeatures
from limner.games.adversarial import added, smoothed
from limner.games.tree import TreeGame, TreeSettings
from limner.nn.conditioning import GaussianCondition
from limner.nn.joint_losses import discriminator_loss, generator_loss, mismatched_pairs
from limner.nn.trees import ScaleDiscriminator, discriminator_name


@dataclass(frozen=True, kw_only=True)
class AttentiveSettings(TreeSettings):
    """With a condition that is drawn for each sentence, and attention whose padding may be mixed."""

    mixed_padding: bool = False
    """Hide padding from the attention as the authors' code does, which mixes the masks of a batch's captions."""
    condition_width: int = 100
    """Numbers in the condition that is drawn for a sentence."""
    divergence_weight: float = 1.0
    """Weight of the KL term that keeps the conditions of a sentence spread like standard normal noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, "method", 1, "condition_width")
        at_least(self, "method", 0, "divergence_weight")


class AttentiveGame(TreeGame):
    """The family's step and its painting.

    `generator.condition(sentence)` gives the Gaussian from which a sentence's condition is drawn, and `generator(noise, condition, text)`
    the pictures of every side, the attention to words of every later branch, and whatever else a method paints.
    """

    settings: AttentiveSettings
    generator: Any

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """One turn of each discriminator and one of the generator, all with the same pictures."""
        condition = self.generator.condition(batch.text.sentence)
        fakes = self.generator(self.noise(batch, "generator"), condition, batch.text)[0]  # [B, 3, r, r] for each side r
        for judge, fake in zip(self.judges(), fakes, strict=True):
            yield self.discriminator_update(judge, batch, fake, self.penalty(progress))
        yield self.generator_update(batch, fakes, condition)

    def discriminator_update(
        self, judge: ScaleDiscriminator, batch: Batch, fake: Tensor, penalty: float = 0.0, codes: Mapping[str, Tensor] | None = None
    ) -> Update:
        """One scale's turn against generated pictures [B, 3, r, r], with the batch's sentences.

        penalty: weight of R1 in this step; 0 leaves it out. codes: what the judge saw in "real" and "fake" pictures (detached ones), where
        the caller has looked already.
        """
        settings, pictures, sentence = self.settings, batch.image(fake.shape[-1]), batch.text.sentence
        if codes is None:
            codes = dict(zip(("real", "fake"), judge.look_apart(pictures, fake.detach()), strict=True))
        pairs = {name: (code, sentence) for name, code in codes.items()}
        pairs["mismatched"] = mismatched_pairs(judge, batch, pictures, codes["real"], sentence, settings.mismatch, settings.counterfactual)
        matching = dict(zip(pairs, judge.match_apart(*pairs.values()), strict=True))
        reality = {} if judge.reality is None else {name: judge.judge(code) for name, code in codes.items()}
        metrics = {name: logits.detach().sigmoid().mean() for name, logits in matching.items()}
        metrics |= {f"{name}_unconditional": logits.detach().sigmoid().mean() for name, logits in reality.items()}

        def verdict(seen: Tensor) -> Tensor:
            code = judge.look(seen)
            match = judge.match(code, sentence.float())
            return match if judge.reality is None else (match + judge.judge(code)) / 2.0

        turn = Update(discriminator_name(fake.shape[-1]), discriminator_loss(matching, reality), metrics)
        return smoothed(turn, penalty, (verdict, pictures))

    def generator_update(self, batch: Batch, fakes: Sequence[Tensor], condition: GaussianCondition) -> Update:
        """All scales' fooling losses, the KL term, and the matching model's verdict on the last scale (Eq. 3, 4 and 13)."""
        divergence = condition.divergence()
        update = added(self.fooling(batch, fakes), self.settings.divergence_weight * divergence, {"divergence": divergence.detach()})
        return self.matched(update, batch, fakes[-1])

    def fooling(self, batch: Batch, fakes: Sequence[Tensor]) -> Update:
        """The generator's turn as far as discriminators decide it."""
        loss = generator_loss(self.discriminators, fakes, batch.text.sentence)
        return Update("generator", loss, {"fooling": loss.detach()})

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> ConditionedNoise:
        z = gaussian((self.settings.noise_width,), seed, samples, stream)
        return ConditionedNoise(z, gaussian((self.settings.condition_width,), seed, samples, f"{stream} condition"))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        """With `extras` "attention-S", [B, T, S, S]: how much each place of the map of side S looked at each word, to paint 2 S."""
        assert isinstance(noise, ConditionedNoise)
        (*stages, images), attention, *_ = self.generator(noise, self.generator.condition(text.sentence), text)
        return Painting(images, tuple(stages), {f"attention-{maps.shape[-1]}": maps for maps in attention})
