"""A compact word-level recurrent text encoder.

Words are embedded, read in both directions by a GRU (Cho et al., EMNLP 2014, arXiv:1406.1078), as in the bidirectional encoder of AttnGAN's
DAMSM (arXiv:1711.10485), and pooled into one sentence embedding by their mean and maximum, so that a word counts wherever it stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.text import TextFeatures
from limner.nn.packed import read_rows
from limner.text.tokenizers import WordTokenizer
from limner.text.word_encoder import WordEncoder


@dataclass(frozen=True, kw_only=True)
class RecurrentSettings:
    """Widths of a `RecurrentEncoder`."""

    word_embedding: int = 64
    """Width of the embedding of each word before it is read in context."""
    hidden: int = 64
    """Width of the recurrent state in each direction; a word's features are twice as wide."""
    sentence_width: int = 128
    """Width of the sentence embedding."""


class RecurrentEncoder(WordEncoder):
    """words [B, T, 2 * hidden] and sentence [B, sentence_width] of length sqrt(sentence_width), so that its entries are about 1."""

    kind: ClassVar[str] = "recurrent"

    def __init__(self, tokenizer: WordTokenizer, settings: RecurrentSettings = RecurrentSettings()) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.settings = settings
        self.sentence_width = settings.sentence_width
        self.word_width: int = 2 * settings.hidden
        self.embedding = nn.Embedding(len(tokenizer), settings.word_embedding, padding_idx=0)
        self.reader = nn.GRU(settings.word_embedding, settings.hidden, batch_first=True, bidirectional=True)
        self.to_sentence = nn.Linear(2 * self.word_width, settings.sentence_width)

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        lengths = mask.sum(1)  # stays on the CPU, where packing wants it
        ids, mask = (value.to(self.embedding.weight.device) for value in (ids, mask))
        words, _ = read_rows(self.reader, self.embedding(ids), lengths)  # [B, T, 2H], zero where there is no word
        mean = words.sum(1) / mask.sum(1, keepdim=True)
        highest = words.masked_fill(~mask[..., None], -torch.inf).amax(1)
        sentence = F.normalize(self.to_sentence(torch.cat((mean, highest), dim=1)), dim=1) * math.sqrt(self.sentence_width)
        return TextFeatures(sentence=sentence, words=words, mask=mask, tokens=ids)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RecurrentEncoder:
        return cls(WordTokenizer.from_config(config["tokenizer"]), RecurrentSettings(**config["settings"]))
