"""An encoder whose sentences have mean 0 and deviation 1 in every place, whatever the scale of the one inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.core.text import TextFeatures
from limner.text.encoder import Limit, TextEncoder
from limner.text.encoding import encode_all
from limner.text.tokenizers import Tokens

SMALLEST = 1e-6
"""A place of the embedding that varies less is not made to vary more."""


class Standardized(TextEncoder):
    """Another encoder, its sentences shifted and scaled place by place; words are left as they are.

    Networks without normalisation learn badly from numbers far from 1, and encoders differ: those trained by a hinge on dot products give
    tenths, those that are compared by angle a length of 1 over all places.
    """

    kind: ClassVar[str] = "standardized"
    mean: Tensor
    deviation: Tensor

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.sentence_width, self.word_width = encoder.sentence_width, encoder.word_width
        self.register_buffer("mean", torch.zeros(self.sentence_width))
        self.register_buffer("deviation", torch.ones(self.sentence_width))

    def fit(self, captions: Sequence[str]) -> Standardized:
        """Take mean and deviation over these captions; returns itself."""
        sentences = encode_all(self.encoder, captions, sentence_only=True).sentence.double()
        self.mean.copy_(sentences.mean(0))
        self.deviation.copy_(sentences.std(0, unbiased=False).clamp_min(SMALLEST))
        return self

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        return self.encoder.tokenize(captions)

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        features = self.encoder.read(ids, mask)
        return TextFeatures((features.sentence - self.mean) / self.deviation, features.words, features.mask, features.tokens)

    def words(self, caption: str) -> list[str]:
        return self.encoder.words(caption)

    def unknown_words(self, caption: str) -> list[str]:
        return self.encoder.unknown_words(caption)

    def read_words(self, caption: str) -> list[str]:
        return self.encoder.read_words(caption)

    def was_cut(self, caption: str) -> bool:
        return self.encoder.was_cut(caption)

    def known_words(self) -> Sequence[str]:
        return self.encoder.known_words()

    @property
    def limit(self) -> Limit | None:
        return self.encoder.limit

    def read_at_most(self, words: int) -> None:
        self.encoder.read_at_most(words)

    def config(self) -> dict[str, Any]:
        return {"encoder": {"kind": self.encoder.kind, **self.encoder.config()}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Standardized:
        from limner.text.registry import encoder_from_config  # which knows this kind, too

        return cls(encoder_from_config(config["encoder"]))
