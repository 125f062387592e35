"""The settings that methods share: one idea in each class, and all of them on this page.

A method's `Settings` lists the classes that it needs side by side and adds fields of its own; none of these classes derives from another
one that has fields. Each checks its own values in `check`, and `Checked` runs every class's check when settings are made. The fields stay
flat: on the command line, in recipes and in saved folders. A class with `of_training` says how to train and not what the networks are: a
run that starts from a trained model takes these fields from its preset, and the others from the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from limner.core.errors import SettingsError
from limner.core.settings import above_zero, at_least, place

Mismatch = Literal["picture", "caption", "neighbour"]
"""What a mismatched pair, a real picture with a caption that does not describe it, is made of.

- "picture": another picture with this picture's caption; of another class, where classes are known.
- "caption": another picture's caption with this picture; of another class, where classes are known. It saves a pass over pictures.
- "neighbour": two neighbours in the batch, whatever they show, as StackGAN, AttnGAN and DF-GAN have it. DF-GAN joins each caption with the
  next picture, and the last one with the first picture; StackGAN and AttnGAN join each picture with the next caption, and leave out the
  last picture.
"""


def share(settings: Any, *names: str) -> None:
    """Raise SettingsError where one of a method's settings is not a number from 0 to 1."""
    for name in names:
        value = getattr(settings, name)
        if not 0.0 <= value <= 1.0:
            raise SettingsError(f"method.{name.replace('_', '-')} is {value}, but must lie between 0 and 1")


def below_one(settings: Any, *names: str) -> None:
    """Raise SettingsError where one of a method's settings is not a number from 0 to 1, or is 1."""
    for name in names:
        value = getattr(settings, name)
        if not 0.0 <= value < 1.0:
            raise SettingsError(f"method.{name.replace('_', '-')} is {value}, but must be at least 0 and below 1")


def part(settings: Any, *names: str) -> None:
    """Raise SettingsError where a phase's part of a budget is not above 0 and below 1: a phase without minutes would learn nothing."""
    for name in names:
        value = getattr(settings, name)
        if not 0.0 < value < 1.0:
            raise SettingsError(f"method.{name.replace('_', '-')} is {value}, but each phase needs a part: choose it between 0 and 1")


def fewest(settings: Any) -> int:
    """The fewest pictures of a process's part of a batch (`Phase.fewest`): 2 where mismatched pairs are neighbours in it, else 1."""
    paired = getattr(settings, "mismatch", None) == "neighbour" and getattr(settings, "mismatch_weight", 1.0) > 0.0
    return 2 if paired else 1


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The base of settings that are made of several classes."""

    def __post_init__(self) -> None:
        """Run the `check` of each class that has one: first those of the classes listed last, at the end the method's own."""
        for part in reversed(type(self).__mro__):
            if issubclass(part, Checked) and "check" in vars(part):
                part.check(self)

    def check(self) -> None:
        """Raise SettingsError for values that do not work. A class with fields checks these here; it need not call the others' checks."""


@dataclass(frozen=True, kw_only=True)
class NoiseSettings(Checked):
    """The noise vector that a picture is painted from."""

    noise_width: int = 100
    """Numbers in the noise vector z."""

    def check(self) -> None:
        at_least(self, "method", 1, "noise_width")


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings(Checked):
    """How long to train, and on how many pictures at a time."""

    of_training = True
    epochs: float = 600.0
    """Passes over the training pictures."""
    batch_size: int = 64
    """Pictures a step, over all processes."""

    def check(self) -> None:
        above_zero(self, "method", "epochs")
        at_least(self, "method", 2, "batch_size")


@dataclass(frozen=True, kw_only=True)
class AdamSettings(Checked):
    """One Adam for every player."""

    of_training = True
    learning_rate: float = 2e-4
    """Learning rate of every player's Adam."""
    beta1: float = 0.5
    """First-moment decay of every player's Adam."""

    def check(self) -> None:
        above_zero(self, "method", "learning_rate")
        below_one(self, "beta1")


@dataclass(frozen=True, kw_only=True)
class HalvingSettings(Checked):
    """A learning rate that halves as training goes on."""

    of_training = True
    halve_every: float = 0.0
    """Epochs between halvings of the learning rate; 0 keeps it constant."""

    def check(self) -> None:
        at_least(self, "method", 0, "halve_every")


@dataclass(frozen=True, kw_only=True)
class PenaltySettings(Checked):
    """A gradient penalty in some of the discriminators' steps."""

    of_training = True
    gradient_penalty: float = 0.0
    """Weight of R1, which keeps discriminators smooth around real pictures (Mescheder et al., ICML 2018); 0 as published."""
    penalty_every: int = 8
    """Steps between two gradient penalties, whose weight is multiplied by it (Karras et al., CVPR 2020)."""

    def check(self) -> None:
        at_least(self, "method", 0, "gradient_penalty")
        at_least(self, "method", 1, "penalty_every")


@dataclass(frozen=True, kw_only=True)
class ClipSettings(Checked):
    """A bound on gradients.

    Adam answers a gradient far above the usual ones with a step of up to 1 / sqrt(1 - beta2) = 31 learning rates in every weight that it
    touches, and a discriminator without normalisation may not come back from that.
    """

    of_training = True
    gradient_clip: float = 0.0
    """Largest norm of each player's gradient; 0 for no limit."""

    def check(self) -> None:
        at_least(self, "method", 0, "gradient_clip")


@dataclass(frozen=True, kw_only=True)
class NormalizationSettings(Checked):
    """A switch for batch normalisation in discriminators. R1 needs it off: it is the gradient of one picture's logit by that picture."""

    discriminator_normalization: bool = True
    """Batch normalisation in discriminators, as published; without it, their convolutions have biases and He initialisation."""

    def check(self) -> None:
        if getattr(self, "gradient_penalty", 0.0) and self.discriminator_normalization:
            raise SettingsError("method.gradient-penalty wants each picture judged by itself: add --method.no-discriminator-normalization")


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(Checked):
    """The captions that are the condition of a picture."""

    captions: int = 1
    """Captions per picture, whose mean embedding is the condition."""

    def check(self) -> None:
        at_least(self, "method", 1, "captions")


@dataclass(frozen=True, kw_only=True)
class MismatchSettings(Checked):
    """Mismatched pairs: real pictures with captions that do not describe them, which discriminators learn to refuse."""

    mismatch: Mismatch = "picture"
    """What a mismatched pair is made of: another picture, as published; another caption, which saves a pass over pictures; or two
    neighbours in the batch, whatever they show. Other pictures and captions are of another class, where classes are known."""
    counterfactual: float = 0.0
    """Share of the mismatched pairs whose caption is wrong in exactly one attribute or word; 0 as published."""

    def check(self) -> None:
        share(self, "counterfactual")


@dataclass(frozen=True, kw_only=True)
class MismatchWeightSettings(Checked):
    """The weight of mismatched pairs next to generated ones."""

    mismatch_weight: float = 0.5
    """Weight w of the mismatched pair in the discriminators' loss, 1 - w for the generated pair; 0 trains without it (no CLS)."""

    def check(self) -> None:
        share(self, "mismatch_weight")
        if getattr(self, "counterfactual", 0.0) and not self.mismatch_weight:
            raise SettingsError("method.counterfactual needs mismatched pairs: set method.mismatch-weight above 0 or this to 0")


@dataclass(frozen=True, kw_only=True)
class TreeSettings(Checked):
    """The sizes of a tree of generators with a discriminator for each scale; the defaults are those of AttnGAN's birds."""

    branches: int = 3
    """Scales that are painted, the last at the full resolution and each before it at half of the next."""
    generator_channels: int = 32
    """Channels of every branch's map."""
    discriminator_channels: int = 64
    """Channels of a discriminator's first map at 64 px and above; later ones double, down to 8 times as many at 4x4."""
    residual_blocks: int = 2
    """Residual blocks in each later branch."""

    def check(self) -> None:
        at_least(self, "method", 1, "branches", "generator_channels", "discriminator_channels")
        at_least(self, "method", 0, "residual_blocks")


@dataclass(frozen=True, kw_only=True)
class GuideSettings(Checked):
    """A trained matching model whose loss helps to train the generator."""

    matching: str | None = place(None)
    """Run or model folder of a trained `damsm`, which judges by words and sentence whether the final pictures fit their captions. Without
    one that term is left out."""
    matching_weight: float | None = None
    """Weight of that term; by default the 5 of AttnGAN's birds (its 50 for COCO) with a matching model, and 0 without."""

    def check(self) -> None:
        at_least(self, "method", 0, "matching_weight")
        if self.matching_weight and self.matching is None:
            raise SettingsError(
                f"method.matching-weight is {self.matching_weight} with no matching model: give --method.matching the run of a damsm"
            )

    @property
    def guidance(self) -> float:
        """`matching_weight`, resolved."""
        return (0.0 if self.matching is None else 5.0) if self.matching_weight is None else self.matching_weight


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings(Checked):
    """Conditioning augmentation, as AttnGAN and the methods after it have it."""

    condition_width: int = 100
    """Numbers in the condition that is drawn for a sentence."""
    divergence_weight: float = 1.0
    """Weight of the KL term that keeps the conditions of a sentence spread like standard normal noise."""

    def check(self) -> None:
        at_least(self, "method", 1, "condition_width")
        at_least(self, "method", 0, "divergence_weight")


@dataclass(frozen=True, kw_only=True)
class AttentionSettings(Checked):
    """Attention to words."""

    mixed_padding: bool = False
    """Hide padding from the attention as the authors' code does, which mixes the masks of a batch's captions."""


SMALL_STEPS: dict[str, Any] = {
    "learning_rate": 8e-4,
    "beta1": 0.0,
    "halve_every": 0.0,
    "batch_size": 16,
    "counterfactual": 0.75,
    "gradient_penalty": 1.0,
}
"""What nearly all `cpu` presets begin with. docs/methods.md compares them after twelve minutes of training on a CPU core: batches of 16 at
a learning rate of 8e-4 without momentum gave better pictures than batches of 32 at 4e-4 with a momentum of 0.5, from fewer pictures."""

SMALL_PAIRS: dict[str, Any] = {**SMALL_STEPS, "mismatch": "caption", "discriminator_normalization": False, "epochs": 40.0}
"""The same for methods with mismatched pairs and normalised discriminators: exchanging captions saves a pass over pictures, and R1 wants
discriminators without batch normalisation."""
