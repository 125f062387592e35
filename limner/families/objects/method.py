"""How a layout becomes a picture: Obj-GAN's painting, from noise and words to boxes, shapes and the picture.

Li et al., CVPR 2019, arXiv:1902.10740. `limner.methods.obj_gan` builds the networks and trains them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.layout import Layout
from limner.core.method import Painting
from limner.core.noise import Noise, gaussian, switched, uniform
from limner.core.text import TextFeatures
from limner.families.adversarial import AdversarialMethod
from limner.families.objects import places
from limner.families.objects.boxes import BoxGenerator, Drawn
from limner.families.objects.discriminators import Mismatched, ObjectDiscriminator, PatchDiscriminator, ShapedDiscriminator
from limner.families.objects.generator import ObjectGenerator, Scene, Seen, Words
from limner.families.objects.shapes import ShapeGenerator

SHAPE_CELLS = 32
"""Cells across a shape of a layout, within its box."""


@dataclass(frozen=True)
class SceneNoise(Noise):
    """What decides a scene: choices [B, 3 N] float64, uniform numbers for labels and mixtures; places [B, N, 4], where in the mixtures;
    shapes [B, N, S], of each mask; z [B, Z], of the picture; epsilon [B, C], of the condition."""

    choices: Tensor = field(metadata={"between": switched})
    places: Tensor
    shapes: Tensor
    z: Tensor
    epsilon: Tensor


class LayoutMethod(AdversarialMethod[SceneNoise]):
    """Painting, and what the networks are given of text and layouts.

    Methods build `boxes`, `shapes`, `generator` and `discriminators`, note the pictures' `sides`, and fill `label_words`. Their settings
    have the fields of `limner.families.objects.settings`.
    """

    sampling: tuple[str, ...] = ("temperature",)
    settings: Any
    sides: tuple[int, ...]
    boxes: BoxGenerator
    shapes: ShapeGenerator
    generator: ObjectGenerator
    discriminators: nn.ModuleDict
    label_words: Tensor
    """[L, G], the vector of each label."""

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> SceneNoise:
        things, s = self.settings.things, self.settings
        return SceneNoise(
            uniform((3 * things,), seed, samples, f"{stream} choices"),
            gaussian((things, 4), seed, samples, f"{stream} places"),
            gaussian((things, self.shapes.noise_width), seed, samples, f"{stream} shapes"),
            gaussian((s.noise_width,), seed, samples, stream),
            gaussian((s.condition_width,), seed, samples, f"{stream} condition"),
        )

    def paint(self, text: TextFeatures, noise: SceneNoise) -> Painting:
        """With `extras` as `paint_layout` has them."""
        return self.paint_layout(text, self.layout(text, noise), noise)

    def layout(self, text: TextFeatures, noise: SceneNoise) -> Layout:
        """Labels and boxes that the caption asks for, and each thing's shape."""
        drawn = self._drawn(text, noise)
        return self.shaped(Layout(drawn.boxes, drawn.labels), noise)

    def shaped(self, layout: Layout, noise: SceneNoise) -> Layout:
        """Boxes with the shapes that the noise gives them; things beyond `things` are left out."""
        layout, side = places.sized(layout, self.settings.things), self.settings.shape_side
        order = places.size_order(layout) if self.settings.order == "size" else None  # in which the shape generator has learned them
        asked = layout if order is None else places.ordered(layout, order)
        maps = places.labelled(places.box_masks(asked, side), asked.labels, len(self.conditions.labels))
        masks = self.shapes(noise.shapes.to(maps.dtype), maps, places.box_masks(asked, side // 4))
        if order is not None:
            masks = masks.gather(1, order.argsort(1)[..., None, None].expand_as(masks))
        shapes = places.cut_out(masks, layout.boxes, SHAPE_CELLS) * (layout.labels >= 0)[..., None, None]
        lowest, highest = shapes.amin((2, 3), keepdim=True), shapes.amax((2, 3), keepdim=True)
        return replace(layout, shapes=(shapes - lowest) / (highest - lowest).clamp_min(1e-3))

    def paint_layout(self, text: TextFeatures, layout: Layout, noise: SceneNoise) -> Painting:
        """With `extras` "boxes" [B, N, 4], "labels" [B, N] and "shapes" [B, N, S, S]; "attention-S" [B, T, S, S], how much each place of
        the map of side S looked at each word; "object-attention" [B, N, T], how much each thing did in the last stage."""
        layout = places.sized(layout, self.settings.things)
        if layout.shapes is None:
            layout = self.shaped(layout, noise)
        condition = self.generator.condition(self.sentence(text)).sample(noise.epsilon)
        seen: Seen = self.generator(noise.z, condition, self.words(text), self.scene(layout))
        assert layout.shapes is not None
        extras = {"boxes": layout.boxes, "labels": layout.labels, "shapes": layout.shapes, "object-attention": seen.object_attention[-1]}
        extras |= {f"attention-{maps.shape[-1]}": maps for maps in seen.attention}
        *stages, images = seen.pictures
        return Painting(images, tuple(stages), extras)

    def preview(self, batch: Batch) -> Painting | None:
        """Masks in the colours of their labels: the layout that is drawn for a caption, or, without captions, shapes of the true boxes."""
        if batch.layout is None:
            return None
        noise = self.noise(batch, "preview")
        layout = self.layout(batch.text, noise) if batch.texts else self.shaped(replace(self.arranged(batch.layout), shapes=None), noise)
        masks = places.pasted(layout, self.resolution)
        return Painting(places.coloured(masks, layout.labels, len(self.conditions.labels)))

    def look(self, pictures: Tensor) -> Tensor:
        """The code of the last scale's patch discriminator, place by place: [B, D]."""
        return self.patches(self.sides[-1])(pictures).flatten(1)

    # What the networks are given of text and layouts.

    def arranged(self, layout: Layout) -> Layout:
        """A training layout as the networks are given it: in the order of the settings, with `things` places."""
        return places.sized(places.by_size(layout) if self.settings.order == "size" else layout, self.settings.things)

    def sentence(self, text: TextFeatures) -> Tensor:
        """The sentence that the picture networks read: [B, D]."""
        return text.sentence[:, : text.sentence.shape[1] // 2] if self.settings.released_text else text.sentence

    def state(self, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """The box generator's first state for each row of the text."""
        return self.boxes.begun(text.sentence)

    def read(self, text: TextFeatures) -> tuple[Tensor | None, Tensor | None]:
        """The words and their mask that the box generator attends to; None where it does not."""
        if not self.settings.box_attention:
            return None, None
        words = self.words(text)
        return words.features, words.mask

    def _drawn(self, text: TextFeatures, noise: SceneNoise) -> Drawn:
        s = self.settings
        choices = noise.choices.unflatten(1, (s.things, 3))
        return self.boxes.draw(
            self.state(text),
            *self.read(text),
            choices,
            noise.places,
            temperature=s.temperature,
            label_temperature=s.label_temperature,
        )

    def words(self, text: TextFeatures) -> Words:
        """What the picture generator reads of each word."""
        assert text.words is not None and text.mask is not None
        if not self.settings.released_text:
            return Words(text.words, text.words, text.mask)
        width = self.settings.label_width
        return Words(text.words[..., :-width], text.words[..., -width:], text.mask)

    def scene(self, layout: Layout) -> Scene:
        """Masks and label maps for every picture of the tree."""
        count = len(self.conditions.labels)

        def drawn(side: int) -> Tensor:
            masks = places.pasted(layout, side)
            return places.seen(masks) if self.settings.order == "depth" else masks

        vectors = places.one_hot(layout.labels, count, layout.boxes.dtype) @ self.label_words.to(layout.boxes.dtype)
        maps = [places.label_maps(drawn(side), layout.labels, count) for side in self.sides]
        return Scene(maps, [drawn(side // 2) for side in self.sides], vectors)

    def patches(self, side: int) -> PatchDiscriminator:
        """The patch discriminator of pictures of a side."""
        network = self.discriminators[f"patches-{side}"]
        assert isinstance(network, PatchDiscriminator)
        return network

    def shaped_discriminator(self, side: int) -> ShapedDiscriminator:
        """The shape discriminator of pictures of a side."""
        network = self.discriminators[f"shapes-{side}"]
        assert isinstance(network, ShapedDiscriminator)
        return network

    def object_discriminator(self, name: str) -> ObjectDiscriminator:
        """The discriminator of "small-objects" or "large-objects"."""
        network = self.discriminators[name]
        assert isinstance(network, ObjectDiscriminator)
        return network

    def mismatched(self, batch: Batch, side: int) -> Mismatched:
        """Sentences and pictures of a side that do not belong together."""
        count, mismatch, sentence = batch.rows_of(self.settings.counterfactual), self.settings.mismatch, self.sentence(batch.text)
        pictures, others = None, count < len(batch)
        wrong = sentence[1:] if mismatch == "neighbour" else sentence
        if mismatch == "caption" and others:
            wrong = self.sentence(batch.mismatched.text)
        if mismatch == "picture" and others:
            pictures = torch.cat([batch.image(side)[:count], batch.mismatched.image(side)[count:]])
        if count:
            assert batch.counterfactual is not None
            wrong = torch.cat([self.sentence(batch.counterfactual)[: len(wrong)][:count], wrong[count:]])
        return Mismatched(wrong, pictures)
