"""What a text encoder gives: `TextFeatures`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class TextFeatures:
    """A batch of encoded captions.

    sentence: [B, D], one embedding a caption.
    words: [B, T, Dw], one embedding a word, or None.
    mask: [B, T] bool, True where there is a word, or None.
    tokens: [B, T] int64 token ids, 0 where there is none, or None.
    captions: the B captions themselves, for methods that read them with tokenizers of their own, or None.

    The sentence may have no numbers at all, [B, 0], where a method reads captions alone.
    """

    sentence: Tensor
    words: Tensor | None = None
    mask: Tensor | None = None
    tokens: Tensor | None = None
    captions: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return self.sentence.shape[0]

    def _map(self, function: Callable[[Tensor], Tensor]) -> TextFeatures:
        words, mask, tokens = (None if value is None else function(value) for value in (self.words, self.mask, self.tokens))
        return TextFeatures(function(self.sentence), words, mask, tokens, self.captions)

    def to(self, device: torch.device | str) -> TextFeatures:
        """The same features on another device."""
        return self._map(lambda value: value.to(device, non_blocking=True))

    def __getitem__(self, rows: slice | Tensor) -> TextFeatures:
        found = self._map(lambda value: value[rows])
        if self.captions is None:
            return found
        chosen = self.captions[rows] if isinstance(rows, slice) else tuple(self.captions[row] for row in _places(rows))
        return replace(found, captions=chosen)

    def with_captions(self, captions: Sequence[str]) -> TextFeatures:
        """The same features, which know the captions that they are of."""
        return replace(self, captions=tuple(captions))

    @staticmethod
    def cat(parts: Sequence[TextFeatures]) -> TextFeatures:
        """Join batches whose optional fields are alike; captions are padded to the longest length T."""

        def joined(name: str) -> Tensor | None:
            values = [getattr(part, name) for part in parts]
            if values[0] is None:
                return None
            longest = max(value.shape[1] for value in values)
            return torch.cat([_padded(value, longest) for value in values])

        every = [part.captions for part in parts if part.captions is not None]
        captions = tuple(caption for own in every for caption in own) if len(every) == len(parts) else None
        return TextFeatures(torch.cat([part.sentence for part in parts]), joined("words"), joined("mask"), joined("tokens"), captions)


def _places(rows: Tensor) -> list[int]:
    """Row numbers of an index: of a mask, where it is True."""
    return (rows.nonzero().flatten() if rows.dtype == torch.bool else rows).tolist()


def _padded(value: Tensor, length: int) -> Tensor:
    """[B, T] or [B, T, D] with zeros up to T = length."""
    missing = length - value.shape[1]
    return F.pad(value, (0, 0, 0, missing) if value.ndim == 3 else (0, missing)) if missing else value
