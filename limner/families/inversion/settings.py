"""Settings of inversion, of captions as codes and of editing."""

from __future__ import annotations

from dataclasses import dataclass

from limner.core.errors import SettingsError
from limner.core.settings import above_zero, at_least, place
from limner.families import settings as shared
from limner.text.summary_lstm import SummarySettings


@dataclass(frozen=True, kw_only=True)
class InversionSettings(shared.Checked):
    """How an encoder learns to find a picture's code. The paper gives no weight: these are idinvert's and e4e's where those have one."""

    perceptual: str | None = place("vgg16", named=True)
    """Network for the perceptual terms, as NAME or NAME=FILE; none for the generator's own discriminator, which is always at hand."""
    perceptual_layer: str = "relu4_3"
    """Layer of that network that is compared; with the discriminator, every block is."""
    pixel_weight: float = 1.0
    """Weight of the mean squared difference of the pictures."""
    perceptual_weight: float = 0.1
    """Weight of the difference of their features, as a share of the features' mean square."""
    code_weight: float = 1.0
    """Weight of the mean squared difference between a generated picture's code and the code that the encoder finds for it."""
    picture_adversary_weight: float = 0.08
    """Weight of the adversary that tells real pictures from their reconstructions; 0 for none."""
    code_adversary_weight: float = 0.1
    """Weight of the adversary that tells the generator's codes from the encoder's; 0 for none."""
    inversion_learning_rate: float = 1e-4
    """Learning rate of the encoder's Adam and of the adversaries'."""
    inversion_cooled: bool = False
    """Let the encoder's learning rate fall to 0 along a half cosine."""
    inversion_epochs: float = 200.0
    """Passes over the training pictures in the second phase."""
    inversion_batch_size: int = 16
    """Pictures a step of the second phase, over all processes."""
    inversion_share: float = 0.3
    """The second phase's share of a budget in minutes."""

    def check(self) -> None:
        at_least(self, "method", 0, "pixel_weight", "perceptual_weight", "code_weight", "picture_adversary_weight", "code_adversary_weight")
        at_least(self, "method", 2, "inversion_batch_size")
        above_zero(self, "method", "inversion_learning_rate", "inversion_epochs")
        if not self.pixel_weight + self.perceptual_weight + self.code_weight:
            raise SettingsError("the encoder has nothing to learn: set method.pixel-weight, perceptual-weight or code-weight above 0")


@dataclass(frozen=True, kw_only=True)
class TextToCodeSettings(shared.Checked):
    """How captions become codes."""

    own_encoder: bool = True
    """Train an LSTM that reads captions, as published. Without it, or with --text.encoder, the run's encoder reads them."""
    encoder_width: int = 512
    """Width of the LSTM's state."""
    word_embedding: int = 300
    """Width of the embedding of each word."""
    maximum_words: int = 64
    """Words of a caption that the LSTM reads."""
    contrast_weight: float = 1.0
    """Weight of InfoNCE, which brings a caption nearer to its own picture's code than to the others of the batch."""
    contrast_temperature: float = 1.0
    """Temperature of InfoNCE, by which squared distances are divided."""
    pair_weight: float = 0.0
    """Weight of the squared distance itself; 0 as published. With it a caption's code stays where pictures' codes are."""
    text_scaled: bool = False
    """Divide these squared distances by those of pictures' codes from the mean code, whatever W's scale; off as published."""
    text_learning_rate: float = 1e-3
    """Learning rate of the third phase's Adam."""
    text_cooled: bool = False
    """Let that learning rate fall to 0 along a half cosine."""
    text_epochs: float = 60.0
    """Passes over the training pictures in the third phase."""
    text_batch_size: int = 64
    """Pictures a step of the third phase, over all processes."""
    text_share: float = 0.1
    """The third phase's share of a budget in minutes."""

    def check(self) -> None:
        at_least(self, "method", 1, "maximum_words")
        at_least(self, "method", 0, "contrast_weight", "pair_weight")
        at_least(self, "method", 2, "text_batch_size")
        above_zero(self, "method", "contrast_temperature", "text_learning_rate", "text_epochs")
        SummarySettings(word_embedding=self.word_embedding, width=self.encoder_width, layers=1)
        if not self.contrast_weight + self.pair_weight:
            raise SettingsError("captions have nothing to learn: set method.contrast-weight or method.pair-weight above 0")


@dataclass(frozen=True, kw_only=True)
class EditSettings(shared.Checked):
    """How codes are moved once all is trained."""

    paint_steps: int = 0
    """When painting: steps of Adam that move the code so that its picture, encoded again, gives the wanted code."""
    invert_steps: int = 0
    """When inverting: steps of Adam from the code that the encoder finds, at `edit_rate`, by the encoder's terms of pixels, features and
    codes."""
    edit_steps: int = 200
    """When editing: steps of Adam from the picture's code. With 0 the code goes straight to what the caption asks for."""
    edit_rate: float = 0.01
    """When painting or editing in steps: their learning rate."""
    edit_text_weight: float = 1.0
    """When editing: weight of the squared distance from what the caption asks for."""
    edit_picture_weight: float = 1.0
    """When editing: weight of the difference from the given picture's features, which keeps what the caption leaves alone."""
    edit_whole: bool = False
    """When editing: aim at the caption's code itself, as published. Without it, only what the caption describes is replaced."""

    def check(self) -> None:
        at_least(self, "method", 0, "paint_steps", "invert_steps", "edit_steps", "edit_text_weight", "edit_picture_weight")
        above_zero(self, "method", "edit_rate")
