"""T2F's text encoder: an LSTM over words whose last output is the sentence (akanimax, github.com/akanimax/T2F, 2018).

The authors pad every caption to one length and take the output at the last position, padding and all, so that the LSTM reads padding for
most of its steps. `packed` takes the output at the caption's own last word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.core.text import TextFeatures
from limner.text.tokenizers import WordTokenizer, too_few_words
from limner.text.word_encoder import WordEncoder
from limner.text.words import MAXIMUM_WORDS, Splitting

_NOT_A_LETTER = re.compile(r"([^a-z])")


@dataclass(frozen=True, kw_only=True)
class SummarySettings:
    """Sizes of a `SummaryLSTM`; the defaults are those of T2F's first configuration."""

    word_embedding: int = 128
    """Width of the embedding of each word."""
    width: int = 512
    """Width of every layer's state, and of the sentence."""
    layers: int = 3
    """LSTM layers, one upon the other."""
    packed: bool = False
    """Whether the sentence is the output at the last word; without it, the output after all padding, as published."""

    def __post_init__(self) -> None:
        if min(self.word_embedding, self.width, self.layers) < 1:
            raise SettingsError(
                f"an LSTM cannot be {self.width} wide, with {self.layers} layers and {self.word_embedding} numbers a word: choose 1 or more"
            )


class LetterTokenizer(WordTokenizer):
    """Captions cut as T2F cuts them: in lower case, with every character that is no letter from a to z a token of its own."""

    @classmethod
    def build(
        cls, captions: Iterable[str], minimum_count: int = 1, maximum_words: int = MAXIMUM_WORDS, splitting: Splitting = "characters"
    ) -> LetterTokenizer:
        """A tokenizer for every token that the captions hold at least `minimum_count` times, the most frequent first."""
        counts = Counter(token for caption in captions for token in _tokens(caption))
        vocabulary = sorted((token for token, count in counts.items() if count >= minimum_count), key=lambda token: (-counts[token], token))
        if not vocabulary:
            raise too_few_words(minimum_count)
        return cls(vocabulary, maximum_words, splitting=splitting)

    def split(self, caption: str) -> list[str]:
        return _tokens(caption)


def _tokens(caption: str) -> list[str]:
    return _NOT_A_LETTER.sub(r" \1 ", caption.lower()).split()


class SummaryLSTM(WordEncoder):
    """sentence [B, width]; no words. It has one direction."""

    kind: ClassVar[str] = "summary-lstm"
    word_width = None

    def __init__(self, tokenizer: WordTokenizer, settings: SummarySettings = SummarySettings()) -> None:
        super().__init__()
        self.tokenizer, self.settings = tokenizer, settings
        self.sentence_width = settings.width
        self.embedding = nn.Embedding(len(tokenizer), settings.word_embedding, padding_idx=0)
        self.reader = nn.LSTM(settings.word_embedding, settings.width, settings.layers, batch_first=True)

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        """Features of ids [B, T], 0 where there is no word; mask: [B, T] bool, True where there is one."""
        device = self.embedding.weight.device
        ids, last = ids.to(device), mask.sum(1).to(device) - 1
        if not self.settings.packed:
            ids = F.pad(ids, (0, self.tokenizer.maximum_words - ids.shape[1]))  # whatever the other captions' lengths are
            last = torch.full_like(last, ids.shape[1] - 1)
        states, _ = self.reader(self.embedding(ids))  # [B, T, width]: in one direction, padding after a word changes nothing at it
        return TextFeatures(states[torch.arange(ids.shape[0], device=device), last])

    def config(self) -> dict[str, Any]:
        plain = super().config()
        return plain | {"tokenizer": plain["tokenizer"] | {"letters": isinstance(self.tokenizer, LetterTokenizer)}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SummaryLSTM:
        values = dict(config["tokenizer"])
        kind = LetterTokenizer if values.pop("letters") else WordTokenizer
        return cls(kind.from_config(values), SummarySettings(**config["settings"]))
