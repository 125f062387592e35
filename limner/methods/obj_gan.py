"""Obj-GAN: words to boxes, boxes to shapes, shapes to pictures, which are judged object by object (Li et al., CVPR 2019).

Wenbo Li, Pengchuan Zhang, Lei Zhang, Qiuyuan Huang, Xiaodong He, Siwei Lyu and Jianfeng Gao, "Object-driven Text-to-Image Synthesis via
Adversarial Training", arXiv:1902.10740. This file follows the released code (github.com/jamesli1618/Obj-GAN, commit 44b442f, the author's
copy) where paper and code differ:

- things attend to words by the cosine of their vectors (`label_product` for the paper's product);
- the box generator knows the sentence alone (`box_attention` for the paper's attention to words);
- one of two discriminators judges an object, depending on its size; the paper has one network of two scales.

The released code also has bugs, which weights trained with it depend on (`released`), and which are otherwise not reproduced:

- attention mixes the padding of a batch's captions, as AttnGAN's does;
- the mixture of sizes sees the vertical place of the thing before; when layouts are drawn, mixtures see the distribution of labels, where
  they saw the label itself in training;
- the label loss takes probabilities for their logarithms, and boxes are also learned at the end of a layout, where there is none;
- both object discriminators cut regions out of maps as if their cells were 16 pixels apart, where the small objects' are 8 apart, and from
  boxes in pixels of 64, or of 32 for large objects, where the pictures have 512;
- neither judges a box whose longer side is between a quarter and a half of the picture.

Its first phase learns to write layouts, its second to draw masks, its third to paint; each can be taken over from another run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from limner.core import random
from limner.core.batch import Batch
from limner.core.errors import CheckpointError, SettingsError
from limner.core.layout import Layout
from limner.core.optimizers import Adam
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Preset
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import added, smoothed
from limner.families.attentive.losses import load_guide, matching_terms
from limner.families.matching_aware import bce
from limner.families.objects import places, statistics
from limner.families.objects.boxes import FIRST, PAD, BoxGenerator, box_loss, label_loss, sequences
from limner.families.objects.discriminators import (
    ObjectDiscriminator,
    Objects,
    PatchDiscriminator,
    ShapedDiscriminator,
    object_fooling,
    object_loss,
    orders,
    patch_fooling,
    patch_loss,
    permuted,
    shaped_fooling,
    shaped_loss,
)
from limner.families.objects.generator import ObjectGenerator, Seen
from limner.families.objects.method import LayoutMethod
from limner.families.objects.settings import BoxSettings, LayoutSettings, PictureSettings, ShapeSettings
from limner.families.objects.shapes import MaskDistance, ShapeDiscriminator, ShapeGenerator, shape_discriminator_loss
from limner.families.tree import scales
from limner.matching.models.damsm import DAMSM
from limner.nn.initialization import he_initialization, orthogonal_initialization

NAME = "obj-gan"
BOXES, SHAPES, PICTURES = "boxes", "shapes", "gan"
GUIDE, PERCEPTUAL = "matching", "perceptual"


@dataclass(frozen=True, kw_only=True)
class ObjGANSettings(
    LayoutSettings,
    BoxSettings,
    ShapeSettings,
    PictureSettings,
    shared.AugmentationSettings,
    shared.TreeSettings,
    shared.GuideSettings,
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.ClipSettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of Obj-GAN; the defaults are those of the released code for COCO."""

    generator_channels: int = 48
    """Channels of every stage's map."""
    discriminator_channels: int = 96
    """Channels of a discriminator's first map."""
    residual_blocks: int = 3
    """Residual blocks in each later stage."""
    batch_size: int = 16
    """Pictures a step of the last phase, over all processes."""
    epochs: float = 120.0
    """Passes over the training pictures in the last phase."""

    @property
    def guidance(self) -> float:
        """The weight of the matching model's loss: 100, unless it is given; 0 without a matching model."""
        return (0.0 if self.matching is None else 100.0) if self.matching_weight is None else self.matching_weight


class ObjGAN(LayoutMethod):
    """The three generators, one after the other, and their discriminators."""

    Settings = ObjGANSettings
    title = "Obj-GAN"
    world = "garden-bouquets"
    paper = "Li et al., Object-driven Text-to-Image Synthesis via Adversarial Training, CVPR 2019, arXiv:1902.10740"
    presets = {
        "as-published": Preset(
            sentence="The released networks and schedule at 256 px, for a GPU; needs VGG-19's weights, and --method.matching.",
            resolution=256,
            training={"ema_half_life": 11_090.0},  # images: 0.999 a step of 16 pictures
        ),
        "cpu": Preset(
            sentence="Narrow networks at 64 px for the garden's bouquets: an hour of one CPU core for all three phases.",
            resolution=64,
            method={
                **shared.SMALL_STEPS,
                "gradient_clip": 100.0,
                "things": 4,
                "order": "depth",
                "box_hidden": 128,
                "box_attention": True,
                "rare_labels": 0.0,
                "label_temperature": 1.0,
                "boxes_batch_size": 64,
                "boxes_epochs": 40.0,
                "shape_width": 12,
                "shape_discriminator_width": 12,
                "shape_residuals": 0,
                "shape_side": 32,
                "shape_perceptual": 0.0,
                "shape_distance": 10.0,
                "shapes_batch_size": 6,
                "shapes_epochs": 4.0,
                "shapes_share": 0.15,
                "branches": 2,
                "condition_width": 64,
                "generator_channels": 12,
                "label_channels": 12,
                "discriminator_channels": 16,
                "first_residual_blocks": 1,
                "residual_blocks": 0,
                "discriminator_normalization": False,
                "divergence_weight": 0.05,
                "text_weight": 1.0,
                "object_weight": 0.5,
                "object_side": 64,
                "mismatch": "caption",
                "epochs": 40.0,
            },
        ),
    }
    settings: ObjGANSettings

    def __init__(self, settings: ObjGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        if conditions.word_width is None:
            raise SettingsError(f"{NAME} reads words, which this text encoder does not give: give --text.encoder a run or import that does")
        if not conditions.labels:
            raise SettingsError(f"{NAME} needs layouts: train it on {self.world} or pictures prepared with layouts, or give `labels`")
        s, labels = settings, len(conditions.labels)
        self.sides = scales(conditions.resolution, s.branches, NAME)
        word_width, sentence_width, label_width = conditions.word_width, conditions.sentence_width, conditions.word_width
        if s.released_text:
            word_width, sentence_width, label_width = word_width - s.label_width, sentence_width // 2, s.label_width
            if word_width < 1:
                raise SettingsError(f"the text encoder's words have {conditions.word_width} numbers: give method.label-width fewer of them")
        self.register_state("label_code", zlib.crc32("\n".join(conditions.labels).encode()))
        self.register_buffer("label_words", torch.zeros(labels, label_width))
        self.boxes = BoxGenerator(
            labels,
            conditions.sentence_width,
            conditions.sentence_width // 2 if s.released_text else s.box_hidden,
            components=s.box_components,
            word_width=word_width if s.box_attention else None,
            second_look=s.box_second_look,
            given_state=s.released_text,
            released=s.released,
        )
        for value in self.boxes.parameters():
            nn.init.uniform_(value, -0.08, 0.08)
        shape_width, halvings = s.shape_width or max(labels, 16), s.shape_side.bit_length() - 3
        self.shapes = ShapeGenerator(labels, shape_width, s.shape_residuals)
        first = s.shape_discriminator_width or shape_width // 2
        self.shape_discriminators = nn.ModuleDict({which: ShapeDiscriminator(labels, first, halvings) for which in ("single", "whole")})
        self.generator = ObjectGenerator(
            self.sides,
            NAME,
            sentence_width=sentence_width,
            word_width=word_width,
            labels=labels,
            label_width=label_width,
            label_channels=s.label_channels,
            noise_width=s.noise_width,
            condition_width=s.condition_width,
            channels=s.generator_channels,
            residual_blocks=(s.first_residual_blocks, s.residual_blocks),
            normalize=not s.label_product,
            mixed_padding=s.released,
        )
        width, extra, normalize = s.discriminator_channels, max(s.generator_channels // 4, 1), s.discriminator_normalization
        self.discriminators = nn.ModuleDict()
        for side in self.sides:
            self.discriminators[f"patches-{side}"] = PatchDiscriminator(side, width, sentence_width, normalize=normalize)
            self.discriminators[f"shapes-{side}"] = ShapedDiscriminator(side, width, labels, extra, normalize=normalize)
        if s.object_weight:
            for size, halvings in (("small", 3), ("large", 4)):
                condition = label_width + s.generator_channels
                stride = 16 if s.released else None
                self.discriminators[f"{size}-objects"] = ObjectDiscriminator(
                    halvings, width, labels, extra, condition, side=s.object_side, stride=stride, normalize=normalize
                )
        self.generator.apply(orthogonal_initialization)
        self.shapes.apply(orthogonal_initialization)
        self.discriminators.apply(orthogonal_initialization if normalize else he_initialization)

    @classmethod
    def reads_layouts(cls, settings: ObjGANSettings) -> bool:
        return True

    # Who is trained, and when.

    def players(self) -> dict[str, Player]:
        s = self.settings
        boxes = Adam(learning_rate=s.box_learning_rate, betas=(0.9, 0.999))
        shapes = replace(self.player(self.shapes, averaged=True), gradient_clip=0.25, learning_rate_factor=_fading)
        players = {
            BOXES: Player(module=self.boxes, optimizer=boxes, averaged=True, gradient_clip=5.0),
            **{f"shape-{which}": self.player(network) for which, network in self.shape_discriminators.items()},
            SHAPES: shapes,
            **{name: self.player(network) for name, network in self.discriminators.items()},
        }
        return players | {"generator": self.player(self.generator, averaged=True)}

    def phases(self) -> list[Phase]:
        s = self.settings
        masks = ("shape-single", "shape-whole", SHAPES)
        painting = tuple(name for name in self.players() if name not in (BOXES, *masks))
        boxes = {"batch_size": s.boxes_batch_size, "epochs": s.boxes_epochs, "share": s.boxes_share}
        shapes = {"batch_size": s.shapes_batch_size, "epochs": s.shapes_epochs, "share": s.shapes_share}
        last = 1.0 - s.boxes_share - s.shapes_share
        unseen = {"paints": False, "counterfactuals": 0, "layouts": True, "fewest": 1}
        return [
            self.phase(name=BOXES, players=(BOXES,), words=s.box_attention, **boxes, **unseen),
            self.phase(name=SHAPES, players=masks, captions=0, encoded=False, **shapes, **unseen),
            self.phase(epochs=s.epochs, players=painting, share=last, words=True, layouts=True),
        ]

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:
        """Measure the boxes of the training pictures, before the first phase: their means and deviations, and how often labels occur."""
        if phase.name == BOXES:
            statistics.measure(self.boxes, pictures, self.settings.things, self.settings.rare_labels)

    def read_names(self, encode: Callable[[Sequence[str]], TextFeatures]) -> None:
        """Read labels as captions: each has the mean of its words' vectors."""
        words = self.words(encode(self.conditions.labels))
        shown = words.mask[..., None]
        self.label_words.copy_(torch.where(shown, words.keys, 0.0).sum(1) / shown.sum(1))

    def load_guides(self, phase: Phase) -> None:
        s = self.settings
        if phase.name == PICTURES and s.matching is not None and s.guidance and GUIDE not in self.guides:
            self.guide(GUIDE, load_guide(s.matching))
        if phase.name == SHAPES and s.shape_perceptual and PERCEPTUAL not in self.guides:
            self.guide(PERCEPTUAL, MaskDistance(s.shape_network))

    def adopt(self, phase: Phase, state: Mapping[str, Tensor]) -> None:
        code = state.get("label_code")
        if code is not None and int(code) != self.label_code:
            raise CheckpointError("its labels are not those of the data: give a run on data with the same labels, in the same order")
        super().adopt(phase, state)

    # The steps.

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        assert batch.layout is not None
        layout = self.arranged(batch.layout)
        if progress.phase == BOXES:
            yield self._box_update(batch, layout)
        elif progress.phase == SHAPES:
            yield from self._shape_updates(batch, layout, self.penalty(progress))
        else:
            yield from self._picture_updates(batch, layout, self.penalty(progress))

    def _box_update(self, batch: Batch, layout: Layout) -> Update:
        """How likely the true labels and boxes are, each given all before (section 3.1)."""
        boxes, released = self.boxes, self.settings.released
        labels, codes = sequences(layout, boxes.coded(layout.boxes), boxes.first)
        text = batch.text
        probabilities, centres, sizes, _ = boxes(self.state(text), *self.read(text), labels, codes)
        following = labels[:, 1:]
        names = label_loss(probabilities, following, boxes.label_weights, of_probabilities=released)
        where = box_loss(centres, sizes, codes[:, 1:], following != PAD if released else following >= FIRST)
        right = ((probabilities.argmax(2) == following) & (following != PAD)).sum() / (following != PAD).sum().clamp_min(1)
        return Update(BOXES, names + where, {"labels": names.detach(), "boxes": where.detach(), "label_accuracy": right})

    def _shape_updates(self, batch: Batch, layout: Layout, penalty: float) -> Iterator[Update]:
        """Masks, judged one by one and all of a picture in one (section 3.2)."""
        s, side, labels = self.settings, self.settings.shape_side, len(self.conditions.labels)
        maps = places.labelled(places.box_masks(layout, side), layout.labels, labels)  # [B, N, L, S, S]
        real = places.pasted(layout, side)
        fake = self.shapes(self.noise(batch, "shapes").shapes, maps, places.box_masks(layout, side // 4))
        there = layout.labels >= 0
        there = there | ~there.any()  # where a batch has nothing at all, its empty places
        whole = maps.amax(1)
        instance, together = (self.shape_discriminators[which] for which in ("single", "whole"))
        update = Update("shape-single", shape_discriminator_loss(instance, real[there], fake[there], maps[there]))
        yield smoothed(update, penalty, (lambda masks: instance(masks[:, 0], maps[there]), real[there][:, None]))
        update = Update("shape-whole", shape_discriminator_loss(together, real.amax(1), fake.amax(1), whole))
        yield smoothed(update, penalty, (lambda masks: together(masks[:, 0], whole), real.amax(1)[:, None]))
        one, all_of_them = bce(instance(fake[there], maps[there]), 1.0), bce(together(fake.amax(1), whole), 1.0)
        difference = (fake - real).abs()[there].mean()
        loss = one + all_of_them + s.shape_distance * difference
        metrics = {"single": one.detach(), "whole": all_of_them.detach(), "difference": difference.detach()}
        if PERCEPTUAL in self.guides:
            seen = self.guides[PERCEPTUAL](fake.amax(1), real.amax(1))
            loss, metrics = loss + s.shape_perceptual * seen, metrics | {"perceptual": seen.detach()}
        yield Update(SHAPES, loss, metrics)

    def _picture_updates(self, batch: Batch, layout: Layout, penalty: float) -> Iterator[Update]:
        """The discriminators of every scale, those of objects, and the generator (section 3.3)."""
        s, noise = self.settings, self.noise(batch, "generator")
        scene, sentence = self.scene(layout), self.sentence(batch.text)
        condition = self.generator.condition(sentence)
        seen: Seen = self.generator(noise.z, condition.sample(noise.epsilon), self.words(batch.text), scene)
        chances = torch.from_numpy(random.uniform(batch.seed, "label order", batch.samples[:, None], np.arange(len(self.label_words))))
        order, rows = orders(layout.labels, len(self.label_words), chances.to(sentence.device))
        objects = self._objects(layout, torch.cat([scene.labels, seen.codes[-1]], 2)) if s.object_weight else {}
        for side, fake, maps in zip(self.sides, seen.pictures, scene.maps, strict=True):
            real, patches, shaped = batch.image(side), self.patches(side), self.shaped_discriminator(side)

            def verdict(pictures: Tensor, patches: PatchDiscriminator = patches) -> Tensor:
                code = patches(pictures)
                return (patches.reality(code).mean(1) + patches.matching(code, sentence.float()).mean(1)) / 2.0

            loss, metrics = patch_loss(patches, real, fake, sentence, self.mismatched(batch, side), s.terms)
            yield smoothed(Update(f"patches-{side}", loss, metrics), penalty, (verdict, real))
            yield Update(f"shapes-{side}", shaped_loss(shaped, real, fake, maps, permuted(maps, order), rows))
        maps, fake = scene.maps[-1], seen.pictures[-1]
        for name, chosen in objects.items():
            loss = object_loss(self.object_discriminator(name), chosen, batch.pictures, fake, maps, permuted(maps, order), rows)
            yield Update(name, loss)
        divergence = condition.divergence()
        terms = {"divergence": s.divergence_weight * divergence}
        for side, picture, drawn in zip(self.sides, seen.pictures, scene.maps, strict=True):
            terms[f"patches-{side}"] = patch_fooling(self.patches(side), picture, sentence, s.terms)
            terms[f"shapes-{side}"] = s.shape_weight * shaped_fooling(self.shaped_discriminator(side), picture, drawn)
        for name, chosen in objects.items():
            terms[name] = s.object_weight * object_fooling(self.object_discriminator(name), chosen, fake, maps)
        update = Update("generator", torch.stack(list(terms.values())).sum(), {name: term.detach() for name, term in terms.items()})
        if GUIDE in self.guides:
            guide = self.guides[GUIDE]
            assert isinstance(guide, DAMSM)
            found, facts = matching_terms(guide, fake, [own[0] for own in batch.captions], batch.classes)
            update = added(update, s.guidance * torch.stack(list(found.values())).sum(), facts)
        yield update

    def _objects(self, layout: Layout, conditions: Tensor) -> dict[str, Objects]:
        """The objects that each discriminator looks at, in boxes as it is given them. Their conditions take no gradient, as in the code."""
        s, first, conditions = self.settings, self.sides[0], conditions.detach()
        found = {}
        for name, large, unit in (("small-objects", False, first), ("large-objects", True, first // 2)):
            scale, threshold, least = 1.0, s.large_from, 1.25 / s.object_side
            if s.released:  # boxes in pixels of the first stage's picture, or of its map, where pixels of the object side are meant
                scale, threshold, least = unit / s.object_side, 16.0 / s.object_side, 1.25 / s.object_side
            found[name] = Objects.of(layout.boxes * scale, layout.labels, conditions, threshold, large=large, least=least)
        return found

    def couples_rows(self) -> str | None:
        return "a step looks at all objects of a batch at once"


def _fading(progress: Progress) -> float:
    """The shape phase's learning rate: after 50 epochs it falls by 2 % an epoch, down to a tenth."""
    return float(max(0.98 ** max(int(progress.epoch) - 49, 0), 0.1))
