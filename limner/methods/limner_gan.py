"""Limner GAN: the library's own method, made of what its comparisons of the others have shown to help. It has no paper.

One stage, no class labels and no network that was trained before, a text encoder aside. What it is made of, and where that comes from:
- noise first, text later: the first map is made of noise alone, and text and noise then steer every later map by scales and shifts
  (FusedGAN, arXiv:1801.05551; SD-GAN's and DF-GAN's conditional normalisation);
- conditioning augmentation (StackGAN, arXiv:1612.03242);
- a pair head: does the picture look real and match the sentence? (GAN-CLS, arXiv:1605.05396), with counterfactual captions;
- for photographs, a head that asks the first alone, without the sentence (StackGAN++, arXiv:1710.10916);
- a recognition head: which of several sentences, the picture's own, those of the batch and its own with one attribute or word changed,
  does a picture show? It learns from real pictures only. The generator is asked for a margin and no more, so that it has nothing to gain
  from exaggeration (InfoNCE, arXiv:1807.03748; the idea of AC-GAN's and TAC-GAN's classifiers without classes);
- each caption is painted twice in a step, and the two pictures must differ, as the discriminator sees them, by a share of what real
  pictures differ by (mode seeking, Mao et al., arXiv:1903.05628, with a bound at which it stops);
- openness: what a caption leaves open must be as frequent among its pictures as among real ones. Each picture answers the questions of the
  whole batch (does this sentence fit better, or that with one attribute changed?), and two noises tell the bias of the answers (own);
- R1 in every eighth step; learning rates that fall over the second half of the budget; a running average;
- doublings by repeated pixels and gated convolutions, up to a map of the picture's own size (AttnGAN, arXiv:1711.10485).

docs/limner-gan.md says what has been measured of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import ConditionedNoise, gaussian
from limner.core.schedules import cosine
from limner.core.settings import FAST, Preset, at_least, place
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import AdversarialMethod, smoothed
from limner.families.augmentation import Augmenting, ChangeSettings
from limner.families.caption_discriminator import CaptionDiscriminator
from limner.families.likeness import ValidationSettings, validated
from limner.families.matching_aware import bce, mismatched_logits
from limner.families.projected import FrozenStages
from limner.families.stacked import doublings
from limner.families.steered import Blur, SteeredGenerator
from limner.nn.fast.layout import for_convolutions
from limner.nn.initialization import dcgan_initialization, he_initialization


@dataclass(frozen=True, kw_only=True)
class LossSettings(shared.Checked):
    """What the losses ask for, and how learning rates fall."""

    of_training = True
    divergence_weight: float = 0.05
    """Weight of the augmentation's KL divergence from the standard normal."""
    unconditional_weight: float = 0.0
    """Weight of judging pictures without their captions, by a head of its own, which photographs need; 0 trains without that head."""
    counterfactual: float = 0.75
    """Share of the mismatched pairs whose caption is wrong in exactly one attribute or word; the others have another picture's caption."""
    choices: int = 4
    """Counterfactual captions of each picture among which the recognition head must find its own."""
    recognition_weight: float = 1.0
    """Weight of the discriminator's cross-entropy of recognising captions; 0 trains without that head."""
    margin_weight: float = 0.5
    """Weight of the generator's hinge: its picture should be recognised as its caption's."""
    margin: float = 2.0
    """By how much a painted picture's own caption should win against its counterfactual ones, in logits; beyond it, nothing is gained."""
    repeated: float = 0.5
    """Share of a step's painted pictures whose caption is painted a second time, from other noise; 0 paints each once, 0.5 each twice."""
    repeated_from: float = 0.0
    """Share of the budget, in steps or in minutes, after which captions are repeated; until then each is painted once."""
    spread_weight: float = 1.0
    """Weight of the hinge that keeps pictures of one caption apart; it needs repeated captions."""
    spread: float = 0.6
    """How far apart pictures of one caption should be, as a share of the distance between two real pictures."""
    openness_weight: float = 10.0
    """Weight of the term that makes what captions leave open as frequent in painted pictures as in real ones, by repeated captions."""
    cool_from: float = 0.5
    """Share of the budget, in steps or in minutes, after which learning rates fall; 1 keeps them."""
    cool_to: float = 0.1
    """What is left of the learning rates at the end, by a cosine."""

    def check(self) -> None:
        at_least(self, "method", 1, "choices")
        at_least(self, "method", 0, "divergence_weight", "recognition_weight", "margin_weight", "margin", "unconditional_weight")
        at_least(self, "method", 0, "spread_weight", "spread", "openness_weight")
        shared.share(self, "counterfactual", "repeated_from", "cool_from", "cool_to")
        if not 0.0 <= self.repeated <= 0.5:
            raise SettingsError(f"method.repeated is {self.repeated}: give 0 to 0.5, for a caption is repeated once")


@dataclass(frozen=True, kw_only=True)
class LimnerGANSettings(
    LossSettings,
    ChangeSettings,
    ValidationSettings,
    shared.PenaltySettings,
    shared.ClipSettings,
    shared.AdamSettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of Limner GAN; docs/limner-gan.md has the measurements that chose the defaults."""

    text_width: int = 128
    """Numbers of a condition that the augmentation samples, and width of the sentence in the discriminator's heads."""
    generator_channels: int = 32
    """Channels of the generator's last hidden map; earlier ones double, up to eight times as many."""
    features: str | None = place(None, named=True)
    """A frozen network that the discriminator looks through next to its own trunk: a name of docs/features.md, or NAME=FILE."""
    feature_channels: int = 64
    """Channels in which the discriminator sees each of two stages of that network."""
    discriminator_channels: int = 32
    """Channels of the discriminator's first map; later ones double, up to eight times as many, or four times in a residual trunk."""
    discriminator_trunk: Literal["strided", "residual"] = "strided"
    """What the discriminator's heads see: strided convolutions alone, or from a quarter of the picture's side on residual blocks of two."""
    residual: bool = True
    """A residual block at 8x8, after text and noise have joined."""
    text_first: bool = False
    """Whether text and noise make the first map, so that captions can change outlines; without it, noise alone does."""
    noise_style: bool = True
    """Whether the noise steers every map next to the text; without it, the noise makes the first map alone."""
    mapping_layers: int = 0
    """Layers of a network between text and noise and the scales and shifts; 0 lets these depend on them linearly."""
    doublings: Literal["transposed", "gated"] = "transposed"
    """How maps become larger: by transposed convolutions, the last of which makes the picture; or by repeated pixels and convolutions whose
    channels gate each other, up to a map of the picture's own size. `blur` and `last_doubling` are for transposed ones."""
    blur: Blur = "inner"
    """After which of the generator's doublings a binomial filter follows."""
    last_doubling: Literal["transposed", "resized"] = "transposed"
    """How the last map becomes a picture: by a transposed convolution, or made larger and by a 3x3 convolution, which leaves no grain."""
    gradient_penalty: float = 1.0
    """Weight of R1 on the sum of the heads' logits."""
    gradient_clip: float = 100.0
    """Norm to which each player's gradient is cut. Usual ones are below 20; on photographs a burst to 19,500 ended a run at step 5,700."""
    learning_rate: float = 8e-4
    """Learning rate of both players' Adam."""
    beta1: float = 0.0
    """First-moment decay of both players' Adam."""
    epochs: float = 100.0
    """Passes over the training pictures."""
    batch_size: int = 16
    """Real pictures, and painted ones, in a step, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 1, "text_width", "generator_channels", "discriminator_channels", "feature_channels")
        at_least(self, "method", 0, "mapping_layers")
        if "flip" in self.augmentation:
            raise SettingsError("method.augmentation has flip: leave it out, for data.flip mirrors pictures where their captions allow it")


EYES = "features"  # the frozen network's name among the guides


class LimnerGAN(Augmenting, AdversarialMethod[ConditionedNoise]):
    """A generator steered by text and noise, and a discriminator that judges pairs and recognises captions."""

    Settings = LimnerGANSettings
    title = "Limner GAN"
    paper = "the library's own: docs/limner-gan.md"
    _gated = {"doublings": "gated"}  # not the default of the setting, lest models from before it could not be read
    _garden = {**_gated, "choices": 32, "repeated_from": 0.5}
    _photographs = {**_gated, "unconditional_weight": 1.0, "margin_weight": 0.0, "openness_weight": 0.0}
    _deeper = {"generator_channels": 12, "discriminator_channels": 24, "discriminator_trunk": "residual"}
    _wide = {"generator_channels": 64, "discriminator_channels": 64, "batch_size": 64, "learning_rate": 4e-4}
    _small = {"generator_channels": 16, "discriminator_channels": 16, "epochs": 100.0, "patience": 12, "gradient_penalty": 2.0}
    _changes = {"augmentation": ("translation", "cutout"), "augmentation_strength": 0.2, "augmentation_images": 100_000}
    presets = {
        "as-published": Preset(
            sentence="The library's own at 128 px, for a GPU.", resolution=128, method=_garden, training={"ema_half_life": 10_000.0}
        ),
        "cpu": Preset(
            sentence="Narrow networks at 64 px, sized for two CPU cores.",
            resolution=64,
            method={**_garden, "generator_channels": 16, "discriminator_channels": 16, "epochs": 40.0},
            training={"ema_half_life": 4000.0},
        ),
        "photographs": Preset(
            sentence="A narrow generator and a deeper discriminator at 64 px, for photographs, sized for two CPU cores.",
            resolution=64,
            method={**_photographs, **_deeper, "epochs": 100.0, "gradient_penalty": 2.0, "repeated": 0.0},
            training={"ema_half_life": 4000.0},
        ),
        "small-set": Preset(
            sentence="For 50 to 2,000 pictures: the discriminator sees augmented ones, and validation ends training.",
            resolution=64,
            method={**_small, **_changes, **_photographs},
            training={"ema_half_life": 4000.0},
        ),
        "gpu": Preset(
            sentence="Wide networks at 128 px (or --resolution 256) in bfloat16, for a GPU; sized by --dry-run, and never run yet.",
            resolution=128,
            method={**_photographs, **_wide, "epochs": 300.0},
            training={**FAST, "ema_half_life": 20_000.0},
        ),
    }
    settings: LimnerGANSettings
    generator: SteeredGenerator
    discriminator: CaptionDiscriminator

    def __init__(self, settings: LimnerGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        self.generator = SteeredGenerator(
            conditions.sentence_width,
            doublings(conditions.resolution, "limner-gan", smallest=16),
            text_width=settings.text_width,
            noise_width=settings.noise_width,
            channels=settings.generator_channels,
            text_first=settings.text_first,
            noise_style=settings.noise_style,
            mapping_layers=settings.mapping_layers,
            residual=settings.residual,
            gated=settings.doublings == "gated",
            blur=settings.blur,
            resized=settings.last_doubling == "resized",
        )
        self.discriminator = CaptionDiscriminator(
            conditions.resolution,
            conditions.sentence_width,
            channels=settings.discriminator_channels,
            residual=settings.discriminator_trunk == "residual",
            text_width=settings.text_width,
            feature_channels=settings.feature_channels if settings.features is not None else 0,
            unconditional=settings.unconditional_weight > 0,
            recognizes=settings.recognition_weight > 0,
            expects=settings.openness_weight > 0,
        )
        self.generator.apply(dcgan_initialization)
        self.discriminator.apply(he_initialization)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # PyTorch's stubs lack it; a step takes 4/5 of the time
        if settings.augmentation:
            self.register_state("strength", settings.augmentation_strength)

    def load_guides(self, phase: Phase) -> None:
        super().load_guides(phase)
        if self.settings.features is not None and EYES not in self.guides:
            self.guide(EYES, FrozenStages(self.settings.features, self.settings.feature_channels, self.conditions.resolution))

    def stages(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """What the frozen network sees of pictures [B, 3, R, R]; nothing without one."""
        seen: tuple[Tensor, ...] = self.guides[EYES](pictures) if self.settings.features is not None else ()
        return seen

    def phases(self) -> list[Phase]:
        return [self.phase(epochs=self.settings.epochs, counterfactuals=self.settings.choices, **self.settings.validations)]

    def learning_rate_factor(self) -> Callable[[Progress], float]:
        return self.cooling

    def cooling(self, progress: Progress) -> float:
        """What the learning rates are multiplied by: 1, and from `cool_from` on a cosine down to `cool_to`."""
        return cosine(progress, self.settings.cool_from, self.settings.cool_to)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        repeated = self.settings.repeated if progress.spent >= self.settings.repeated_from else 0.0
        painted = len(batch) - int(repeated * len(batch))  # captions; the first of them fill what is left
        rows = torch.arange(len(batch), device=batch.pictures.device) % painted
        noise = self.noise(batch, "gan")
        sentence = batch.text.sentence[rows]  # [B, D]
        fake, divergence = self.generator(noise.z, noise.epsilon, sentence)  # [B, 3, R, R]
        changed = self.changed(batch.pictures)
        features = self.discriminator.look(changed, self.stages(changed))  # [B, C, 4, 4]
        seen = self.changed(fake, alike=rows)  # pictures of one caption alike, so that what differs is theirs
        stages = self.stages(seen)
        painting = self.discriminator.look(seen.detach(), [maps.detach() for maps in stages])
        yield self._discriminator_update(batch, features, sentence, painting, progress)
        painting = self.discriminator.look(seen, stages)
        yield self._generator_update(batch, features.detach(), sentence, painting, divergence, painted)

    def _discriminator_update(self, batch: Batch, features: Tensor, sentence: Tensor, seen: Tensor, progress: Progress) -> Update:
        """BCE of real pairs against mismatched and painted ones, and the cross-entropy of recognising each real picture's caption."""
        own, discriminator, settings = batch.text.sentence, self.discriminator, self.settings
        real = discriminator.match(features, own)  # [B]
        generated = discriminator.match(seen, sentence)
        mismatched = mismatched_logits(discriminator, batch, features, own, "caption", settings.counterfactual)
        loss = bce(real, 1.0) + 0.5 * bce(generated, 0.0) + 0.5 * bce(mismatched, 0.0)
        self.adapt(progress.step, real)
        logits = {"real": real, "fake": generated, "mismatched": mismatched}
        if discriminator.unconditional is not None:
            alone = {name: discriminator.unconditional(found).flatten() for name, found in (("real", features), ("fake", seen))}
            loss = loss + settings.unconditional_weight * (bce(alone["real"], 1.0) + bce(alone["fake"], 0.0))
            logits |= {f"{name}_unconditional": logit for name, logit in alone.items()}
        metrics = {name: value.detach().sigmoid().mean() for name, value in logits.items()}
        if discriminator.recognition is not None:
            wrong = torch.stack([text.sentence for text in batch.counterfactuals], dim=1)  # [B, K, D]
            choices = discriminator.recognition.among(features, own, wrong)  # [B, B + K]
            right = torch.arange(len(batch), device=choices.device)
            recognition = F.cross_entropy(choices, right)
            loss = loss + settings.recognition_weight * recognition
            metrics |= {"recognition": recognition.detach(), "recognised": (choices.argmax(1) == right).float().mean()}
            if settings.openness_weight:
                with torch.no_grad():
                    answers = discriminator.recognition.answers(features, own, wrong).sigmoid()
                expected = discriminator.recognition.expected(own, own, wrong)
                loss = loss + F.binary_cross_entropy_with_logits(expected, answers)
        update = Update("discriminator", loss, metrics)
        return smoothed(update, self.penalty(progress), (lambda pictures: self._verdict(pictures, own.float()), batch.pictures))

    def _verdict(self, pictures: Tensor, sentence: Tensor) -> Tensor:
        """The logits that R1 keeps smooth: not as far as they follow from the frozen network, whose own slopes nothing here can change."""
        changed = self.changed(pictures)
        return self.discriminator.verdict(changed, sentence, self.stages(changed.detach()))

    def _generator_update(self, batch: Batch, real: Tensor, sentence: Tensor, features: Tensor, divergence: Tensor, painted: int) -> Update:
        """BCE(fake, 1), the divergence, the margin of the own caption, openness, and the spread of a caption's pictures.

        real, features: [B, C, 4, 4], of real pictures, whose distances bound the spread, and of those painted from sentence, [B, D]; the
        first `painted` captions fill the rows that are left. Openness: where a caption's two pictures answer p and q, and real ones of such
        captions e in the mean, (p - e)(q - e) is in the mean the square of the answers' bias, as the two noises are independent.
        """
        settings, discriminator = self.settings, self.discriminator
        fooling = bce(discriminator.match(features, sentence), 1.0)
        loss = fooling + settings.divergence_weight * divergence
        if discriminator.unconditional is not None:
            loss = loss + settings.unconditional_weight * bce(discriminator.unconditional(features).flatten(), 1.0)
        metrics = {"fooling": fooling.detach(), "divergence": divergence.detach()}
        recognition = discriminator.recognition
        if recognition is not None and (settings.margin_weight or settings.openness_weight):
            wrong = torch.stack([text.sentence for text in batch.counterfactuals], dim=1)  # [B, K, D]
            rows = torch.arange(len(features), device=features.device) % painted
            logits = recognition.each(features, torch.cat([sentence[:, None], wrong[rows]], dim=1))  # [B, 1 + K]
            margin = logits[:, 0] - logits[:, 1:].logsumexp(1)
            hinge = F.relu(settings.margin - margin).mean()
            loss = loss + settings.margin_weight * hinge
            metrics |= {"margin_hinge": hinge.detach(), "recognised": (margin > 0).float().mean()}
            if settings.openness_weight and painted < len(features):
                answers = recognition.answers(features, batch.text.sentence, wrong).sigmoid()  # [B, N K]
                with torch.no_grad():
                    expected = recognition.expected(sentence[painted:], batch.text.sentence, wrong).sigmoid()
                bias = ((answers[:-painted] - expected) * (answers[painted:] - expected)).mean()
                loss = loss + settings.openness_weight * bias
                metrics |= {"openness_bias": bias.detach()}
        if settings.spread_weight and painted < len(features):
            with torch.no_grad():
                apart = distance(real, real.roll(1, 0)).mean()  # of two real pictures
            spread = distance(features[:-painted], features[painted:]) / apart.clamp_min(1e-6)
            hinge = F.relu(settings.spread - spread).mean()
            loss = loss + settings.spread_weight * hinge
            metrics |= {"spread": spread.detach().mean()}
        return Update("generator", loss, metrics)

    def validate_batches(self, batches: Sequence[Batch]) -> dict[str, float]:
        """How like held-out pictures the pictures of their captions are, and in how many the recognition head finds the caption."""
        recognition = self.discriminator.recognition

        def found(batch: Batch, pictures: Tensor) -> Tensor:
            assert recognition is not None
            wrong = torch.stack([text.sentence for text in batch.counterfactuals], dim=1)  # [B, K, D]
            choices = recognition.among(self.discriminator.look(pictures, self.stages(pictures)), batch.text.sentence, wrong)  # [B, B + K]
            return choices.diagonal() >= choices.amax(1)

        return validated(self, batches, None if recognition is None else found)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> ConditionedNoise:
        settings = self.settings
        return ConditionedNoise(
            z=gaussian((settings.noise_width,), seed, samples, stream),
            epsilon=gaussian((settings.text_width,), seed, samples, f"{stream}, condition"),
        )

    def paint(self, text: TextFeatures, noise: ConditionedNoise) -> Painting:
        return Painting(self.generator(noise.z, noise.epsilon, text.sentence)[0])

    def look(self, pictures: Tensor) -> Tensor:
        """The map of the discriminator's own trunk, before it reads the text, place by place: [B, 16 C]."""
        return self.discriminator.picture(for_convolutions(pictures)).flatten(1)


def distance(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square difference of each two of [B, ...]: [B]. Its gradient is finite where they are equal."""
    return ((first - second).square().flatten(1).mean(1) + 1e-12).sqrt()
