"""InferSent: word vectors read by one bidirectional LSTM, pooled over time.

Conneau, Kiela, Schwenk, Barrault and Bordes, "Supervised Learning of Universal Sentence Representations from Natural Language Inference
Data", EMNLP 2017, arXiv:1705.02364, and github.com/facebookresearch/InferSent, commit 31eede6. Version 1 goes with GloVe and puts captions
between <s> and </s>, version 2 goes with fastText and puts them between <p> and </p>. A word without a vector is a vector of zeros that
keeps its place.

**Padding.** The released version 1 lets the zeros that fill up shorter captions of a batch take part in the maximum over time, so that an
embedding depends on the captions that it is encoded with: any number of a caption's embedding below 0 becomes 0 next to a longer caption.
Version 2 leaves them out, and so does this encoder by default, under either version: the same as the released version 1 gives for one
caption at a time. `padding: in the maximum` is the released form, for parity; then features change with the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.core.settings import at_least
from limner.core.text import TextFeatures
from limner.nn.packed import read_rows
from limner.text.tokenizers import Tokens
from limner.text.word_vectors import Cutting, WordVectorEncoder, WordVectors, cut_caption, empty_caption

MARKS = {1: ("<s>", "</s>"), 2: ("<p>", "</p>")}
"""What stands before and after a caption, by version."""


@dataclass(frozen=True, kw_only=True)
class InferSentSettings:
    """Sizes and ways of reading; the defaults are those of the released version 1 but for `padding` and `cutting`."""

    version: Literal[1, 2] = 1
    """The released version: which marks stand around a caption."""
    hidden: int = 2048
    """States of the LSTM in each direction; a sentence has twice as many numbers."""
    pooling: Literal["max", "mean"] = "max"
    """How a sentence is made of the states of its words and marks."""
    padding: Literal["left out", "in the maximum"] = "left out"
    """Whether the zeros after shorter captions take part in the maximum, as in the released version 1, where neighbours change a caption's
    features; versions differ in nothing else."""
    cutting: Cutting = "words"
    """How captions are cut: into words in lower case without punctuation, or at spaces with case and punctuation kept, as T2F has it."""
    maximum_words: int = 100
    """Words of a caption that are read; the released code has no limit."""

    def __post_init__(self) -> None:
        at_least(self, "infersent", 1, "hidden", "maximum_words")
        choices = {
            "version": (1, 2),
            "pooling": ("max", "mean"),
            "padding": ("left out", "in the maximum"),
            "cutting": ("words", "spaces"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise SettingsError(f"infersent.{name} is '{getattr(self, name)}': choose {' or '.join(map(str, known))}")


class InferSent(WordVectorEncoder):
    """sentence [B, 2 H]: maximum or mean over time of the LSTM's states; words [B, T, 2 H]: its states at the caption's own words."""

    kind: ClassVar[str] = "infersent"

    def __init__(self, vectors: WordVectors, settings: InferSentSettings = InferSentSettings()) -> None:
        super().__init__(vectors, settings)
        self.sentence_width = 2 * settings.hidden
        self.word_width: int = 2 * settings.hidden
        self.reader = nn.LSTM(vectors.width, settings.hidden, batch_first=True, bidirectional=True)

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        begin, end = MARKS[self.settings.version]
        spoken = [self.read_words(caption) for caption in captions]
        for place, caption in enumerate(captions):
            if not spoken[place]:
                raise empty_caption(caption, place)
        return self.table.padded([self.table.ids([begin, *words, end]) for words in spoken])  # [B, T + 2]

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        lengths = mask.sum(1).cpu()
        ids, mask = (value.to(self.table.vectors.device) for value in (ids, mask))
        states, _ = read_rows(self.reader, self.table(ids), lengths)  # [B, T + 2, 2 H], zero in the padding
        inner = mask[:, 2:]  # one place fewer at either end: where the words themselves stand
        return TextFeatures(self._pooled(states, mask), states[:, 1:-1] * inner[..., None], inner, ids[:, 1:-1] * inner)

    def _pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """[B, T, 2 H] and [B, T] -> [B, 2 H]."""
        if self.settings.pooling == "mean":
            return states.sum(1) / mask.sum(1, keepdim=True).to(states.dtype)
        if self.settings.padding == "left out":
            states = states.masked_fill(~mask[..., None], -torch.inf)
        return states.amax(1)

    def words(self, caption: str) -> list[str]:
        return cut_caption(caption, self.settings.cutting)

    def read_words(self, caption: str) -> list[str]:
        return self.words(caption)[: self._maximum]

    def known_words(self) -> Sequence[str]:
        marks = MARKS[self.settings.version]
        return [word for word in self.table.words if word not in marks]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InferSent:
        return cls(WordVectors.empty(config["vectors"]), InferSentSettings(**config["settings"]))
