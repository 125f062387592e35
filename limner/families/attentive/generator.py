"""The generators of AttnGAN and MirrorGAN: a tree whose later branches attend to words and, in MirrorGAN, to the sentence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limner.core.noise import ConditionedNoise
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.families.attentive.attention import WordAttention
from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.stacked import to_picture
from limner.families.tree import FirstStage, NextStage


class SentenceAttention(nn.Module):
    """MirrorGAN's attention to the sentence, as the authors' code has it (Qiao et al., CVPR 2019, Eq. 5).

    The condition is projected to the map's channels. Each place weighs these by a softmax over channels of their products with the map.
    """

    def __init__(self, condition_width: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(condition_width, channels)
        self.compare = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Maps [B, C, H, W] and conditions [B, N] -> [B, C, H, W]."""
        sentence = self.linear(condition)[:, :, None, None]
        return sentence * self.compare(hidden * sentence).softmax(1)


class AttentiveGenerator(nn.Module):
    """The tree: conditioning augmentation, and a trunk of stages. Later stages attend to words, and a convolution of each stage's map
    paints.

    sides: sides of the stages' pictures, coarse to fine. channels: of every stage's map. words: whether later stages attend to words; they
    read the condition instead if not, as in StackGAN++. sentence: whether they also attend to the sentence; a 1x1 convolution then reduces
    map, words and sentence to twice the map's channels. last_only: paint only the last picture. method: its name, for error messages.
    """

    def __init__(
        self,
        conditions: Conditions,
        sides: Sequence[int],
        method: str,
        *,
        noise_width: int,
        condition_width: int,
        channels: int,
        residual_blocks: int,
        words: bool = True,
        sentence: bool = False,
        mixed_padding: bool = False,
        last_only: bool = False,
    ) -> None:
        super().__init__()
        later = len(sides) - 1
        self.augmentation = ConditioningAugmentation(conditions.sentence_width, condition_width, "glu")
        self.first = FirstStage(condition_width + noise_width, channels, sides[0], method)
        self.attention = nn.ModuleList()
        self.glimpses = nn.ModuleList()
        self.joins = nn.ModuleList()
        if words:
            assert conditions.word_width is not None or not later
            for _ in range(later):
                self.attention.append(WordAttention(conditions.word_width or 0, channels, mixed_padding=mixed_padding))
            self.later = nn.ModuleList(NextStage(2 * channels, channels, residual_blocks) for _ in range(later))
            for _ in range(later if sentence else 0):
                self.glimpses.append(SentenceAttention(condition_width, channels))
                self.joins.append(nn.Conv2d(3 * channels, 2 * channels, 1, bias=False))
        else:
            self.later = nn.ModuleList(NextStage(channels, channels, residual_blocks, condition=condition_width) for _ in range(later))
        self.last_only = last_only
        self.pictures = nn.ModuleList(to_picture(channels) for _ in range(1 if last_only else len(sides)))

    def condition(self, sentence: Tensor) -> GaussianCondition:
        """[B, D] -> Gaussians of C numbers."""
        found: GaussianCondition = self.augmentation(sentence)
        return found

    def forward(self, noise: ConditionedNoise, condition: GaussianCondition, text: TextFeatures) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Pictures [B, 3, r, r] in [-1, 1], coarse to fine, and the attention to words [B, T, h, w] of every later stage."""
        drawn = condition.sample(noise.epsilon)
        hidden = self.first(drawn, noise.z)  # the condition first, as in the authors' code
        maps, attended = [hidden], []
        for branch, stage in enumerate(self.later):
            if self.attention:
                assert text.words is not None and text.mask is not None
                context, attention = self.attention[branch](hidden, text.words, text.mask)
                attended.append(attention)
                parts = [hidden, context]
                if self.glimpses:
                    hidden = self.joins[branch](torch.cat([*parts, self.glimpses[branch](hidden, drawn)], dim=1))
                else:
                    hidden = torch.cat(parts, dim=1)
                hidden = stage(hidden)
            else:
                hidden = stage(hidden, drawn)
            maps.append(hidden)
        if self.last_only:
            maps = maps[-1:]
        return tuple(picture(hidden) for picture, hidden in zip(self.pictures, maps, strict=True)), attended
