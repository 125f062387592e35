"""Word vectors that were learned elsewhere, and how a caption is cut into the words that they know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limner.core.errors import DataError, SettingsError
from limner.text.encoder import Limit, TextEncoder
from limner.text.tokenizers import Tokens
from limner.text.words import split_words

Cutting = Literal["words", "spaces"]
"""How captions are cut: into "words" in lower case without punctuation, as Limner's own encoders do, or at "spaces" alone, so that "wings."
with its full stop is another word than "wings"."""


class WordVectors(nn.Module):
    """A table of words and their vectors; any other word has a vector of zeros.

    words: distinct, most frequent first; vectors: [V, D], one row a word, float32.
    """

    vectors: Tensor

    def __init__(self, words: Sequence[str], vectors: NDArray[np.float32] | Tensor) -> None:
        super().__init__()
        if len(words) != len(vectors):
            raise SettingsError(f"there are {len(words)} words and {len(vectors)} vectors: give one vector for each word")
        if len(set(words)) != len(words):
            twice = next(word for word, count in Counter(words).items() if count > 1)
            raise SettingsError(f"the word vectors hold '{twice}' twice: give each word once")
        self.words = tuple(words)
        rows = torch.as_tensor(vectors)
        self.width = int(rows.shape[1])
        self.register_buffer("vectors", torch.cat([rows.new_zeros(1, self.width), rows]))
        self._ids = {word: place + 1 for place, word in enumerate(self.words)}

    @classmethod
    def empty(cls, config: dict[str, Any]) -> WordVectors:
        """The table that `config` described, with vectors of zeros that are loaded next."""
        return cls(config["words"], torch.zeros(len(config["words"]), config["width"]))

    def config(self) -> dict[str, Any]:
        """Words and width, as plain JSON."""
        return {"words": list(self.words), "width": self.width}

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def ids(self, words: Sequence[str]) -> list[int]:
        """The row of each word, and 0, which is a row of zeros, for words without a vector."""
        return [self._ids.get(word, 0) for word in words]

    def padded(self, rows: Sequence[Sequence[int]]) -> Tokens:
        """Ids and mask [B, T] of ragged rows of ids, on the CPU; 0, which is a row of zeros, beyond a row's end."""
        longest = max(map(len, rows), default=0)
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], dtype=torch.int64).view(len(rows), longest)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return Tokens(ids, torch.arange(longest) < lengths[:, None])

    def forward(self, ids: Tensor) -> Tensor:
        """The vectors [B, T, D] of ids [B, T]."""
        return self.vectors[ids]


class WordVectorEncoder(TextEncoder):
    """An encoder that knows the words of a table, and reads a limited number of each caption.

    settings: a dataclass with `maximum_words`; parts of a caption are what `words` says.
    """

    table: WordVectors
    settings: Any

    def __init__(self, vectors: WordVectors, settings: Any) -> None:
        super().__init__()
        self.table, self.settings = vectors, settings
        self._maximum: int = settings.maximum_words

    def unknown_words(self, caption: str) -> list[str]:
        return list(dict.fromkeys(word for word in self.words(caption) if word not in self.table))

    def was_cut(self, caption: str) -> bool:
        return len(self.words(caption)) > self._maximum

    @property
    def limit(self) -> Limit:
        return Limit(self._maximum, "words")

    def read_at_most(self, words: int) -> None:
        self._maximum = words

    def config(self) -> dict[str, Any]:
        return {"settings": {**asdict(self.settings), "maximum_words": self._maximum}, "vectors": self.table.config()}


def cut_caption(caption: str, cutting: Cutting) -> list[str]:
    """The words of a caption, in lower case under "words" and as they stand under "spaces"; none where it holds none."""
    return split_words(caption) if cutting == "words" else caption.split()


def empty_caption(caption: str, place: int) -> DataError:
    """The error for a caption, number `place` from 0, that holds no word."""
    shown = f"is '{caption.strip()[:20]}' and holds no word" if caption.strip() else "is empty"
    return DataError(f"caption number {place + 1} {shown}: write at least one word")
