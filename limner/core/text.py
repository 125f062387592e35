"""What a text encoder gives: `TextFeatures`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TextFeatures:
    """A batch of encoded captions.

    sentence: [B, D], one embedding a caption.
    words: [B, T, Dw], one embedding a word, or None.
    mask: [B, T] bool, True where there is a word, or None.
    tokens: [B, T] int64 token ids, 0 where there is none, or None.
    """

    sentence: Tensor
    words: Tensor | None = None
    mask: Tensor | None = None
    tokens: Tensor | None = None

    def __len__(self) -> int:
        return self.sentence.shape[0]

    def _map(self, function: Callable[[Tensor], Tensor]) -> TextFeatures:
        words, mask, tokens = (None if value is None else function(value) for value in (self.words, self.mask, self.tokens))
        return TextFeatures(function(self.sentence), words, mask, tokens)

    def to(self, device: torch.device | str) -> TextFeatures:
        return self._map(lambda value: value.to(device, non_blocking=True))

    def __getitem__(self, rows: slice | Tensor) -> TextFeatures:
        return self._map(lambda value: value[rows])

    @staticmethod
    def cat(parts: Sequence[TextFeatures]) -> TextFeatures:
        """Join batches whose optional fields are alike; words must have the same length T."""

        def joined(name: str) -> Tensor | None:
            values = [getattr(part, name) for part in parts]
            return None if values[0] is None else torch.cat(values)

        return TextFeatures(torch.cat([part.sentence for part in parts]), joined("words"), joined("mask"), joined("tokens"))
