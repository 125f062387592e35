"""Sums of word vectors: GloVe (Pennington et al., EMNLP 2014), word2vec (Mikolov et al., 2013), fastText (Bojanowski et al., TACL 2017).

Nothing is trained here: the vectors come from a file of one of those projects (`limner import glove`). chen0040's Keras DCGAN paints from
the sum; a mean is the same direction at a length that does not grow with the caption. Word order is not heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from limner.core.errors import SettingsError
from limner.core.settings import at_least
from limner.core.text import TextFeatures
from limner.text.tokenizers import Tokens
from limner.text.word_vectors import Cutting, WordVectorEncoder, WordVectors, cut_caption, empty_caption
from limner.text.words import UNKNOWN_WORD


@dataclass(frozen=True, kw_only=True)
class GloveSettings:
    """How captions are read and their vectors put together."""

    pooling: Literal["sum", "mean"] = "sum"
    """Whether a sentence is the sum of its words' vectors, as published for the Keras DCGAN, or their mean."""
    cutting: Cutting = "words"
    """How captions are cut: into words in lower case without punctuation, or at single spaces in lower case with punctuation kept, as
    published for the Keras DCGAN, which then has no vector for "wings."."""
    maximum_words: int = 100
    """Words of a caption that are read, those without a vector counted too; 100 in the training of the Keras DCGAN."""

    def __post_init__(self) -> None:
        at_least(self, "glove", 1, "maximum_words")
        for name, known in (("pooling", ("sum", "mean")), ("cutting", ("words", "spaces"))):
            if getattr(self, name) not in known:
                raise SettingsError(f"glove.{name} is '{getattr(self, name)}': choose {' or '.join(known)}")


class Glove(WordVectorEncoder):
    """sentence [B, D]: sum or mean of the vectors of a caption's known words; words [B, T, D]: those vectors, one a known word.

    Words without a vector are left out, as if they had not been said. A caption none of whose words has a vector is a sentence of zeros
    with one word of zeros.
    """

    kind: ClassVar[str] = "glove"

    def __init__(self, vectors: WordVectors, settings: GloveSettings = GloveSettings()) -> None:
        super().__init__(vectors, settings)
        self.sentence_width = vectors.width
        self.word_width: int = vectors.width

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        spoken = [self._cut(caption)[: self._maximum] for caption in captions]
        for place, caption in enumerate(captions):
            if not any(spoken[place]):
                raise empty_caption(caption, place)
        return self.table.padded([[one for one in self.table.ids(row) if one] or [0] for row in spoken])

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        ids, mask = (value.to(self.table.vectors.device) for value in (ids, mask))
        words = self.table(ids)
        sentence = words.sum(1)
        if self.settings.pooling == "mean":
            sentence = sentence / (ids > 0).sum(1, keepdim=True).clamp_min(1).to(sentence.dtype)
        return TextFeatures(sentence, words, mask, ids)

    def _cut(self, caption: str) -> list[str]:
        """The words of a caption; between two spaces there is an empty one, as published, which counts towards the limit."""
        return cut_caption(caption, "words") if self.settings.cutting == "words" else caption.lower().split(" ")

    def words(self, caption: str) -> list[str]:
        return [word for word in self._cut(caption) if word]

    def read_words(self, caption: str) -> list[str]:
        return [word for word in self._cut(caption)[: self._maximum] if word in self.table] or [UNKNOWN_WORD]

    def known_words(self) -> Sequence[str]:
        return self.table.words

    def was_cut(self, caption: str) -> bool:
        return len(self._cut(caption)) > self._maximum

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Glove:
        return cls(WordVectors.empty(config["vectors"]), GloveSettings(**config["settings"]))
