"""The random inputs of a story's pictures."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limner.core.noise import Noise


@dataclass(frozen=True)
class StoryNoise(Noise):
    """z: [B, F, Z], a vector for each frame. A single picture is painted from the first."""

    z: Tensor


@dataclass(frozen=True)
class AugmentedStoryNoise(StoryNoise):
    """epsilon: [B, D], which of the vectors that fit a story it is told by (conditioning augmentation)."""

    epsilon: Tensor


@dataclass(frozen=True)
class GistNoise(AugmentedStoryNoise):
    """start: [B, D], the state of the sentences' GRU before the first one (the paper's g_0)."""

    start: Tensor
