"""Vectors of attributes as text: a caption is a row of numbers, and its sentence embedding is these numbers, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from limner.core.errors import DataError, SettingsError
from limner.core.text import TextFeatures
from limner.text.encoder import Limit, TextEncoder
from limner.text.number_rows import numbers_of
from limner.text.tokenizers import Tokens


class Numbers(TextEncoder):
    """sentence [B, W]: the W numbers of each caption, such as "1 0 0 2.18 -0.35". It has no weights and is never trained."""

    kind: ClassVar[str] = "numbers"
    word_width = None

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 1:
            raise SettingsError(f"a vector of {width} numbers says nothing: give a width of at least 1")
        self.sentence_width = width

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        """The bits of each number as a whole one, [B, W]: ids that `read` turns back. Raises DataError for another text or width."""
        rows = np.empty((len(captions), self.sentence_width), np.float32)
        for row, caption in zip(rows, captions, strict=True):
            values = numbers_of(caption)
            if values is None or len(values) != self.sentence_width:
                found = "is not a row of numbers" if values is None else f"has {len(values)} numbers"
                raise DataError(f"the caption '{caption[:40]}' {found}: this model reads {self.sentence_width} numbers with blanks between")
            row[:] = values
        ids = torch.from_numpy(rows.view(np.int32).astype(np.int64))
        return Tokens(ids, torch.ones_like(ids, dtype=torch.bool))

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        # By arithmetic, because exported files cannot take the bits of one type for another. Doubles make it exact.
        bits = torch.where(ids < 0, ids + (1 << 31), ids)  # without the sign
        exponent = torch.div(bits, 1 << 23, rounding_mode="trunc")
        fraction = bits - exponent * (1 << 23)
        digits = torch.where(exponent > 0, fraction + (1 << 23), 2 * fraction).double()  # the smallest numbers have no leading one
        size = digits * torch.exp2((exponent - 150).double())
        return TextFeatures(torch.where(ids < 0, -size, size).float())

    def words(self, caption: str) -> list[str]:
        return caption.split()

    def unknown_words(self, caption: str) -> list[str]:
        return [word for word in caption.split() if numbers_of(word) is None]

    @property
    def limit(self) -> Limit:
        return Limit(self.sentence_width, "numbers")

    def config(self) -> dict[str, Any]:
        return {"width": self.sentence_width}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Numbers:
        return cls(**config)
