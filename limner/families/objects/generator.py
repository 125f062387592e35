"""The picture generator: AttnGAN's tree, whose maps know where which thing stands, and what the caption says of it.

Li et al., CVPR 2019, arXiv:1902.10740, section 3.3. Each thing attends to the words by its label (Eq. 2); what it finds is laid on its
mask, next to its label's vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.attentive.attention import WordAttention, attend
from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.objects.places import spread
from limner.families.stacked import doublings, to_picture, upsampling
from limner.families.tree import SMALLEST
from limner.nn.fast.layout import for_convolutions

FIRST_SIDE = 8
"""Side of the map that the noise makes."""


@dataclass(frozen=True)
class Words:
    """What a caption says, word by word: features [B, T, D], the same words in the space of label vectors [B, T, G], mask [B, T]."""

    features: Tensor
    keys: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Scene:
    """Where things stand, for each picture of the tree.

    maps: [B, L, S, S] for each side S, what stands where, by label. masks: [B, N, S / 2, S / 2] of each thing. labels: [B, N, G], the
    vectors of their labels, zeros for none.
    """

    maps: Sequence[Tensor]
    masks: Sequence[Tensor]
    labels: Tensor


@dataclass(frozen=True)
class Seen:
    """What the generator paints and how it came to it.

    pictures: [B, 3, S, S] for each side. codes: what each thing found in the caption, [B, N, C], in each stage. attention: of each place of
    later stages to each word, [B, T, S / 2, S / 2]; object_attention: of each thing to each word, [B, N, T], in each stage.
    """

    pictures: tuple[Tensor, ...]
    codes: list[Tensor]
    attention: list[Tensor]
    object_attention: list[Tensor]


class ObjectAttention(nn.Module):
    """Attention from things to words: a softmax over how near each word is to the thing's label, in the space of label vectors.

    normalize: nearness is the cosine, as in the released code; the paper has the product.
    """

    def __init__(self, word_width: int, channels: int, *, normalize: bool, mixed_padding: bool) -> None:
        super().__init__()
        self.normalize, self.mixed_padding = normalize, mixed_padding
        self.project = nn.Linear(word_width, channels, bias=False)

    def forward(self, labels: Tensor, words: Words) -> tuple[Tensor, Tensor]:
        """Labels' vectors [B, N, G] -> what each thing finds [B, N, C], and its attention [B, N, T]."""
        keys = words.keys
        if self.normalize:
            labels, keys = F.normalize(labels, dim=2, eps=1e-8), F.normalize(keys, dim=2, eps=1e-8)
        things = labels.transpose(1, 2)[..., None]  # [B, G, N, 1]: places of a map
        found, attention = attend(things, keys, self.project(words.features), words.mask, mixed_padding=self.mixed_padding)
        return found[..., 0].transpose(1, 2), attention[..., 0].transpose(1, 2)


class LabelMapCode(nn.Module):
    """[B, L, S, S] -> [B, channels, S / 2, S / 2], normalised by instance."""

    def __init__(self, labels: int, channels: int) -> None:
        super().__init__()
        half = max(channels // 2, 1)
        self.look = looking(labels, half)
        self.halve = nn.Sequential(nn.Conv2d(half, channels, 3, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True))

    def forward(self, maps: Tensor) -> Tensor:
        return self.halve(self.look(maps))


def looking(labels: int, channels: int) -> nn.Sequential:
    """[B, L, S, S] -> [B, channels, S, S], as generator and discriminators look at label maps."""
    return nn.Sequential(
        nn.ReflectionPad2d(1), nn.Conv2d(labels, channels, 3), nn.InstanceNorm2d(channels), nn.LeakyReLU(0.2, inplace=True)
    )


class InstanceResidual(nn.Module):
    """x + IN(conv(GLU(IN(conv(x))))), whose maps are mirrored at their edges."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, 2 * channels, 3, bias=False),
            nn.InstanceNorm2d(2 * channels),
            nn.GLU(dim=1),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Stage(nn.Module):
    """One picture of the tree: a map of half its side, joined with what words and things say of each place, grows to a map of its side.

    attends: whether each place also attends to the words, as in later stages.
    """

    def __init__(
        self,
        channels: int,
        labels: int,
        label_width: int,
        word_width: int,
        residuals: int,
        *,
        attends: bool,
        normalize: bool,
        mixed_padding: bool,
    ) -> None:
        super().__init__()
        self.maps = LabelMapCode(labels, channels)
        self.words = WordAttention(word_width, channels, mixed_padding=mixed_padding) if attends else None
        self.objects = ObjectAttention(word_width, channels, normalize=normalize, mixed_padding=mixed_padding)
        inner = 3 * channels + label_width
        self.residuals = nn.Sequential(*(InstanceResidual(inner) for _ in range(residuals)))
        self.upsampling = upsampling(inner, channels, gated=True)
        self.picture = to_picture(channels)

    def forward(
        self, hidden: Tensor, maps: Tensor, masks: Tensor, labels: Tensor, laid: Tensor, words: Words
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """The map before [B, C, S / 2, S / 2], label maps [B, L, S, S], masks [B, N, S / 2, S / 2], labels' vectors [B, N, G], and
        what is laid on the map in their place [B, N, G'] -> the next map, what things found, their attention, that of places."""
        found, object_attention = self.objects(labels, words)
        attention = []
        if self.words is None:
            parts = [self.maps(maps), hidden]
        else:
            context, by_place = self.words(hidden, words.features, words.mask)
            attention.append(by_place)
            parts = [hidden + self.maps(maps), context]
        joined = torch.cat([*parts, spread(found, masks), spread(laid, masks)], 1)
        return self.upsampling(self.residuals(for_convolutions(joined))), found, object_attention, attention


class ObjectGenerator(nn.Module):
    """The tree of pictures.

    sides: of the pictures, coarse to fine. labels: how many there are; label_width, word_width: of their vectors, and of words' features.
    label_channels: to which labels' vectors are brought before they are laid on the map; None lays them there as they are, as published.
    residual_blocks: in the first stage, and in each later one.
    """

    def __init__(
        self,
        sides: Sequence[int],
        method: str,
        *,
        sentence_width: int,
        word_width: int,
        labels: int,
        label_width: int,
        label_channels: int | None = None,
        noise_width: int,
        condition_width: int,
        channels: int,
        residual_blocks: tuple[int, int],
        normalize: bool,
        mixed_padding: bool,
    ) -> None:
        super().__init__()
        levels = doublings(sides[0], method, smallest=2 * SMALLEST) - 2
        self.top = channels << levels
        self.augmentation = ConditioningAugmentation(sentence_width, condition_width, "glu")
        inner = self.top * FIRST_SIDE**2 * 2
        self.linear = nn.Sequential(nn.Linear(condition_width + noise_width, inner, bias=False), nn.BatchNorm1d(inner), nn.GLU(dim=1))
        self.grow = nn.Sequential(*(upsampling(self.top >> level, self.top >> level + 1, gated=True) for level in range(levels)))
        self.labels = None if label_channels is None else nn.Linear(label_width, label_channels, bias=False)
        self.stages = nn.ModuleList(
            Stage(
                channels,
                labels,
                label_channels or label_width,
                word_width,
                residual_blocks[min(number, 1)],
                attends=number > 0,
                normalize=normalize,
                mixed_padding=mixed_padding,
            )
            for number in range(len(sides))
        )

    def condition(self, sentence: Tensor) -> GaussianCondition:
        """[B, D] -> Gaussians of conditions."""
        found: GaussianCondition = self.augmentation(sentence)
        return found

    def forward(self, z: Tensor, condition: Tensor, words: Words, scene: Scene) -> Seen:
        """Noise [B, Z] and conditions [B, C] -> pictures."""
        hidden = self.grow(self.linear(torch.cat([condition, z], 1)).view(-1, self.top, FIRST_SIDE, FIRST_SIDE))
        laid = scene.labels if self.labels is None else self.labels(scene.labels)
        pictures, codes, attention, object_attention = [], [], [], []
        for stage, maps, masks in zip(self.stages, scene.maps, scene.masks, strict=True):
            assert isinstance(stage, Stage)
            hidden, found, by_object, by_place = stage(hidden, maps, masks, scene.labels, laid, words)
            pictures.append(stage.picture(hidden))
            codes.append(found)
            object_attention.append(by_object)
            attention += by_place
        return Seen(tuple(pictures), codes, attention, object_attention)
