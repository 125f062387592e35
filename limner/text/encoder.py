"""The contract of text encoders: sentences in, `TextFeatures` out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from limner.core.text import TextFeatures
from limner.text.words import split_words


class TextEncoder(nn.Module, ABC):
    """Turns captions into features. It carries its tokenizer, so a saved encoder needs nothing else.

    sentence_width: D of `TextFeatures.sentence`; word_width: of `TextFeatures.words`, or None.
    """

    kind: ClassVar[str]
    """The name under which saved encoders are found again."""
    reads: ClassVar[bool] = True
    """Whether captions mean anything to it: `limner.text.no_text` stands where there is no text."""
    sentence_width: int
    word_width: int | None

    @abstractmethod
    def forward(self, captions: Sequence[str]) -> TextFeatures:
        """Encode captions, with gradients; on the encoder's device. A caption's features do not depend on its neighbours' lengths."""

    def words(self, caption: str) -> list[str]:
        """The parts into which this encoder cuts a caption."""
        return split_words(caption)

    def read_words(self, caption: str) -> list[str]:
        """The parts of a caption that `TextFeatures.words` has an embedding of, one each and in order: as many as its mask says."""
        return self.words(caption)

    @abstractmethod
    def unknown_words(self, caption: str) -> list[str]:
        """The parts of a caption that this encoder cannot tell from each other, because it never met them."""

    def was_cut(self, caption: str) -> bool:
        """Whether a caption is longer than this encoder reads, so that its end is not heard."""
        return False

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Plain JSON values from which `from_config` builds the same network, vocabulary included."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> TextEncoder:
        """Build a network of this kind, with fresh weights."""
