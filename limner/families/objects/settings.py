"""Obj-GAN's settings, phase by phase; the defaults are the released code's for COCO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from limner.core.errors import SettingsError
from limner.core.settings import above_zero, at_least, place
from limner.families import settings as shared
from limner.families.objects.discriminators import TermWeights

Order = Literal["size", "depth"]


@dataclass(frozen=True, kw_only=True)
class LayoutSettings(shared.Checked):
    """Which things there are, and how they are named."""

    things: int = 10
    """The most things in a picture; of a layout with more, the largest boxes are kept."""
    order: Order = "size"
    """In which order things are written: the largest first, as published; or "depth", as the data have them, from the rearmost to the one
    in front, where those in front then hide the others in masks and label maps."""
    released: bool = False
    """Do as the released code does, faults included: see the page of the method. Imported weights need it."""
    released_text: bool = False
    """Read what the text encoder of an import gives: sentences that begin with the reader's hidden state and end with its cell, and words
    that end with their GloVe vectors."""
    label_width: int = 50
    """Numbers in the GloVe vectors of words and labels, with `released_text`; else labels are read as captions are."""

    def check(self) -> None:
        at_least(self, "method", 1, "things", "label_width")


@dataclass(frozen=True, kw_only=True)
class BoxSettings(shared.Checked):
    """The first phase: words to labels and boxes."""

    box_hidden: int = 256
    """Numbers in the box generator's state."""
    box_components: int = 5
    """Gaussians in the mixtures of centres and of sizes."""
    box_attention: bool = False
    """Let the box generator attend to the words at every step, as in the paper; in the released models it knows the sentence alone."""
    box_second_look: bool = False
    """Let it attend to the words again once a label is drawn, for what is said of this thing's place. In neither the paper nor the code;
    needs `box_attention`."""
    rare_labels: float = 1e5
    """A label that occurs n times weighs this / n ** 0.8 in the label loss; 0 weighs all alike."""
    box_learning_rate: float = 1e-3
    """Learning rate of the box generator's Adam."""
    temperature: float = 0.4
    """Temperature at which boxes are drawn; below 1, likely ones become likelier."""
    label_temperature: float = 0.0
    """Temperature at which labels are drawn; 0 takes the likeliest at each step."""
    boxes_batch_size: int = 1
    """Pictures a step of this phase; the released code can only take one."""
    boxes_epochs: float = 10.0
    """Passes over the training pictures in this phase."""
    boxes_share: float = 0.1
    """This phase's part of a budget in minutes."""

    def check(self) -> None:
        at_least(self, "method", 1, "box_hidden", "box_components", "boxes_batch_size")
        if self.box_second_look and not self.box_attention:
            raise SettingsError("method.box-second-look is on, and method.box-attention is off: turn both on, or neither")
        at_least(self, "method", 0, "rare_labels", "label_temperature")
        above_zero(self, "method", "box_learning_rate", "temperature", "boxes_epochs")
        shared.part(self, "boxes_share")


@dataclass(frozen=True, kw_only=True)
class ShapeSettings(shared.Checked):
    """The second phase: boxes to masks."""

    shape_width: int | None = None
    """Channels of the shape generator's finest map; by default as many as there are labels."""
    shape_discriminator_width: int | None = None
    """Channels of the first map of the discriminators of shapes, and half as many of each after it; by default half of the generator's."""
    shape_side: int = 64
    """Side of the masks that it draws of the whole picture."""
    shape_residuals: int = 1
    """Residual blocks of the shape generator."""
    shape_perceptual: float = 10.0
    """Weight of the perceptual loss between generated and real masks; 0 trains without it, and needs no network."""
    shape_network: str = place("vgg19", named=True)
    """The frozen network of that loss: a name of docs/features.md, or NAME=FILE."""
    shape_distance: float = 0.0
    """Weight of the mean difference between generated and real masks themselves; 0 as published."""
    shapes_batch_size: int = 44
    """Pictures a step of this phase."""
    shapes_epochs: float = 60.0
    """Passes over the training pictures in this phase."""
    shapes_share: float = 0.2
    """This phase's part of a budget in minutes."""

    def check(self) -> None:
        at_least(self, "method", 4, "shape_width", "shape_discriminator_width")
        at_least(self, "method", 0, "shape_residuals", "shape_perceptual", "shape_distance")
        at_least(self, "method", 1, "shapes_batch_size")
        above_zero(self, "method", "shapes_epochs")
        shared.part(self, "shapes_share")
        if self.shape_side < 16 or self.shape_side & (self.shape_side - 1):
            raise SettingsError(f"method.shape-side is {self.shape_side}, but must be a power of two from 16")
        taken = self.shapes_share + getattr(self, "boxes_share", 0.0)
        if taken >= 1.0:
            raise SettingsError(f"method.boxes-share and method.shapes-share take {taken:g} of the budget: leave some to the pictures")


@dataclass(frozen=True, kw_only=True)
class PictureSettings(shared.Checked):
    """The third phase: masks and words to pictures."""

    first_residual_blocks: int = 7
    """Residual blocks of the first stage; `residual_blocks` are those of each later one."""
    label_channels: int | None = None
    """Channels to which labels' vectors are projected before they are laid on maps; by default they are not projected."""
    label_product: bool = False
    """Compare labels with words by their product, as in the paper; the released code takes the cosine."""
    object_side: int = 512
    """Side in pixels to which pictures are resized for the object discriminators."""
    large_from: float = 0.25
    """Longer side of a box, as a share of the picture's side, from which the discriminator of large objects judges it."""
    unconditional_weight: float = 1.0
    """Weight of the loss by which patches must look real."""
    text_weight: float = 0.1
    """Weight of the loss by which patches must match the sentence."""
    shape_weight: float = 1.0
    """Weight of the generator's loss by which pictures must match their label maps."""
    object_weight: float = 0.1
    """Weight of the generator's loss by which objects must look real and match; 0 trains without object discriminators."""
    mismatch: shared.Mismatch = "neighbour"
    """What a mismatched pair is made of: a picture and the caption of the batch's next one, as published; or another picture or caption, of
    another class where classes are known."""
    counterfactual: float = 0.0
    """Share of the mismatched pairs whose caption is wrong in exactly one attribute or word; 0 as published."""

    def check(self) -> None:
        at_least(self, "method", 1, "label_channels")
        at_least(self, "method", 0, "first_residual_blocks", "unconditional_weight", "text_weight", "shape_weight", "object_weight")
        shared.share(self, "large_from", "counterfactual")
        if self.object_side < 32 or self.object_side % 16:
            raise SettingsError(f"method.object-side is {self.object_side}, but must be a multiple of 16 from 32")

    @property
    def terms(self) -> TermWeights:
        """The weights of the losses' terms."""
        return TermWeights(
            unconditional=self.unconditional_weight, text=self.text_weight, shape=self.shape_weight, objects=self.object_weight
        )
