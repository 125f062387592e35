"""The contract of text encoders: sentences in, `TextFeatures` out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.core.text import TextFeatures
from limner.text.tokenizers import Tokens
from limner.text.words import split_words


class Limit(NamedTuple):
    """How much of a caption an encoder reads: 48 words, 201 characters, 75 byte pairs."""

    number: int
    unit: str

    def __str__(self) -> str:
        return f"{self.number:,} {self.unit}"


class TextEncoder(nn.Module, ABC):
    """Turns captions into features. It carries its tokenizer, so a saved encoder needs nothing else.

    sentence_width: D of `TextFeatures.sentence`; word_width: of `TextFeatures.words`, or None.
    """

    kind: ClassVar[str]
    """The name under which saved encoders are found again."""
    reads: ClassVar[bool] = True
    """Whether captions mean anything to it: `limner.text.no_text` stands where there is no text."""
    standardize: ClassVar[bool] = False
    """Whether runs shift and scale its sentences as `text.standardize` does: they are far from what networks want."""
    sentence_width: int
    word_width: int | None

    def forward(self, captions: Sequence[str]) -> TextFeatures:
        """Encode captions, with gradients; on the encoder's device. A caption's features do not depend on its neighbours' lengths."""
        return self.read(*self.tokenize(captions))

    @abstractmethod
    def tokenize(self, captions: Sequence[str]) -> Tokens:
        """Ids and mask [B, T] on the CPU. Raises DataError for a caption without any word."""

    @abstractmethod
    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        """Features, on the encoder's device, of ids [B, T] and their mask [B, T] on the CPU, whose rows begin with True. Tensors alone go
        in and come out, so that it can be exported."""

    def words(self, caption: str) -> list[str]:
        """The parts into which this encoder cuts a caption."""
        return split_words(caption)

    def read_words(self, caption: str) -> list[str]:
        """The parts of a caption that `TextFeatures.words` has an embedding of, one each and in order: as many as its mask says."""
        return self.words(caption)

    @abstractmethod
    def unknown_words(self, caption: str) -> list[str]:
        """The parts of a caption that this encoder cannot tell from each other, because it never met them."""

    def known_words(self) -> Sequence[str]:
        """The words that it can tell from others, most frequent first; none where it reads something smaller than words."""
        return ()

    def was_cut(self, caption: str) -> bool:
        """Whether a caption is longer than this encoder reads, so that its end is not heard."""
        return False

    @property
    def limit(self) -> Limit | None:
        """How much of a caption is read, or None where there is no end."""
        return None

    def read_at_most(self, words: int) -> None:
        """Read so many words of a caption from now on. Raises SettingsError where weights or settings fix what is read."""
        reads = "no text" if not self.reads else f"{self.limit} of a caption, whatever their words" if self.limit else "all of a caption"
        raise SettingsError(f"text.maximum-words cannot be set: the text encoder ({self.kind}) reads {reads}: leave it out")

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Plain JSON values from which `from_config` builds the same network, vocabulary included."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> TextEncoder:
        """Build a network of this kind, with fresh weights."""
