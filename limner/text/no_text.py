"""The text encoder of models that read nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.core.text import TextFeatures
from limner.text.encoder import TextEncoder
from limner.text.tokenizers import Tokens


class NoText(TextEncoder):
    """Sentences of no numbers, [B, 0], whatever they say. It has no weights and is never trained."""

    kind: ClassVar[str] = "none"
    reads: ClassVar[bool] = False
    sentence_width = 0
    word_width = None

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        """No ids, [B, 0], whatever captions say."""
        return Tokens(torch.zeros(len(captions), 0, dtype=torch.int64), torch.zeros(len(captions), 0, dtype=torch.bool))

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        return TextFeatures(torch.zeros(len(ids), 0))

    def unknown_words(self, caption: str) -> list[str]:
        return self.words(caption)

    def config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> NoText:
        return cls()
