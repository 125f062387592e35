"""Batch normalisation whose scales and shifts say what a caption says (SD-GAN: Yin et al., CVPR 2019, arXiv:1904.01480, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.core.text import TextFeatures
from limner.nn.attention import attention_to
from limner.nn.upsampling import DoublingConvolution


class SemanticNormalization(nn.Module):
    """(gamma + gamma_c) x + (beta + beta_c) of maps x that are normalised over the batch, channel by channel.

    sentence_width: gamma_c and beta_c of a whole map come from the sentence by a network of one hidden layer; 0 leaves them out.
    word_width: those of each place come from the words that concern it, and are added. The words are brought to the map's channels and
    weighted by a softmax of their products with the map there, which is normalised already; a 1x1 convolution of that mean gives the
    numbers. Here every word has its numbers first and a place the mean of them, which is the same, for weights sum to 1. 0 leaves them out.

    With neither it is plain batch normalisation.
    """

    def __init__(self, channels: int, *, sentence_width: int = 0, word_width: int = 0) -> None:
        super().__init__()
        self.normalize = nn.BatchNorm2d(channels, affine=False)
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.sentence = (
            nn.Sequential(nn.Linear(sentence_width, channels), nn.ReLU(inplace=True), nn.Linear(channels, 2 * channels))
            if sentence_width
            else None
        )
        self.project = nn.Linear(word_width, channels, bias=False) if word_width else None
        self.words = nn.Linear(channels, 2 * channels) if word_width else None
        self.begin_plain()

    def begin_plain(self) -> None:
        """Let gamma_c and beta_c be 0 for all captions, as they are at first."""
        for layer in (self.words, None if self.sentence is None else self.sentence[-1]):
            if layer is not None:
                assert isinstance(layer, nn.Linear)
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, text: TextFeatures) -> tuple[Tensor, Tensor | None]:
        """Maps [B, C, H, W] and their captions -> maps [B, C, H, W], and how much each place read of each word, [B, T, H, W], or None."""
        x = self.normalize(x)
        numbers = torch.cat([self.gamma, self.beta])  # [2 C]
        if self.sentence is not None:
            numbers = numbers + self.sentence(text.sentence)  # [B, 2 C]
        if self.project is None or self.words is None:
            gamma, beta = numbers.expand(len(x), -1)[:, :, None, None].chunk(2, dim=1)
            return x * gamma + beta, None
        assert text.words is not None and text.mask is not None
        keys = self.project(text.words)  # [B, T, C]
        gammas, betas = (self.words(keys) + (numbers if numbers.ndim == 1 else numbers[:, None])).chunk(2, dim=2)  # [B, T, C] each
        attention = attention_to(x, keys, text.mask)
        places = attention.flatten(2).transpose(1, 2)  # [B, HW, T], so that the numbers' channels lie last, as a CPU's maps do
        gamma, beta = ((places @ numbers).transpose(1, 2).unflatten(2, x.shape[2:]) for numbers in (gammas, betas))
        return x * gamma + beta, attention


class SemanticUpsampling(nn.Module):
    """[B, wide, H, W] -> [B, narrow, 2 H, 2 W]: nearest neighbours, a 3x3 convolution, `SemanticNormalization`, a gated linear unit."""

    def __init__(self, wide: int, narrow: int, *, sentence_width: int = 0, word_width: int = 0) -> None:
        super().__init__()
        self.convolution = DoublingConvolution(wide, 2 * narrow, bias=False)
        self.normalization = SemanticNormalization(2 * narrow, sentence_width=sentence_width, word_width=word_width)
        self.gate = nn.GLU(dim=1)

    def forward(self, x: Tensor, text: TextFeatures) -> tuple[Tensor, Tensor | None]:
        """Maps and their captions -> maps, and how much each new place read of each word, [B, T, 2 H, 2 W], or None."""
        x, attention = self.normalization(self.convolution(x), text)
        return self.gate(x), attention
