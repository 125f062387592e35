"""A discriminator's head that recognises the captions of pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Recognition(nn.Module):
    """How well sentences fit pictures, by products of their projections.

    Neither is brought to unit length: with cosines the margin is never reached, and the generator is pushed for ever.
    """

    def __init__(self, features: int, sentence_width: int, width: int, *, expects: bool = False) -> None:
        super().__init__()
        self.of_picture, self.of_sentence = nn.Linear(features, width), nn.Linear(sentence_width, width)
        self.expectation: nn.Sequential | None = None
        if expects:
            self.expectation = nn.Sequential(nn.Linear(sentence_width, width), nn.LeakyReLU(0.2), nn.Linear(width, width))

    def each(self, features: Tensor, sentences: Tensor) -> Tensor:
        """Features [B, C, 4, 4] and each picture's own sentences [B, K, D] -> logits [B, K]."""
        return torch.einsum("bw,bkw->bk", self.of_picture(features.flatten(1)), self.of_sentence(sentences))

    def among(self, features: Tensor, sentences: Tensor, wrong: Tensor) -> Tensor:
        """Logits [B, B + K] of each picture with every sentence [B, D] of the batch, its own on the diagonal, and with its own wrong ones.

        features: [B, C, 4, 4]; wrong: [B, K, D].
        """
        seen = self.of_picture(features.flatten(1))  # [B, W]
        others = torch.einsum("bw,bkw->bk", seen, self.of_sentence(wrong))
        return torch.cat([seen @ self.of_sentence(sentences).T, others], dim=1)

    def answers(self, features: Tensor, sentences: Tensor, wrong: Tensor) -> Tensor:
        """By how many logits a sentence fits each picture better than that sentence with one attribute or word changed: [B, N K].

        features: [B, C, 4, 4]; sentences [N, D] and their counterfactual ones [N, K, D] are those of the whole batch, so that most ask
        about what a picture's own caption leaves open.
        """
        differences = F.linear(sentences[:, None] - wrong, self.of_sentence.weight).flatten(0, 1)  # [N K, W]
        return self.of_picture(features.flatten(1)) @ differences.T

    def expected(self, own: Tensor, sentences: Tensor, wrong: Tensor) -> Tensor:
        """What `answers` should be of a picture by its caption [B, D] alone: [B, N K] logits. Only the expectation learns from them."""
        differences = F.linear(sentences[:, None] - wrong, self.of_sentence.weight.detach()).flatten(0, 1)
        assert self.expectation is not None
        expected: Tensor = self.expectation(own) @ differences.T
        return expected
