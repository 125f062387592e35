"""AttnGAN's text encoder: a bidirectional LSTM over words (Xu et al., CVPR 2018, arXiv:1711.10485, section 3.2).

A word's feature is the two directions' states at it; the sentence is the two last states. Numbers are those of the authors' RNN_ENCODER.
There is no unknown word: one that the vocabulary lacks is left out, as if it had not been said.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import DataError, SettingsError
from limner.core.text import TextFeatures
from limner.nn.packed import read_rows
from limner.text.encoder import Limit, TextEncoder
from limner.text.tokenizers import Tokens
from limner.text.words import UNKNOWN_WORD, Splitting, split_words


@dataclass(frozen=True, kw_only=True)
class LSTMSettings:
    """Widths of an `LSTMEncoder`; the defaults are the published ones."""

    word_embedding: int = 300
    """Width of the embedding of each word before it is read in context."""
    width: int = 256
    """Width of words and sentence: half of it in each direction."""
    dropout: float = 0.5
    """Share of the embeddings' entries that training leaves out."""

    def __post_init__(self) -> None:
        if self.width < 2 or self.width % 2 or self.word_embedding < 1:
            raise SettingsError(
                f"an LSTM encoder cannot be {self.width} wide, {self.word_embedding} a word: choose an even width from 2 on"
            )
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"dropout is {self.dropout}: choose from 0 to below 1")


class Vocabulary:
    """Words to ids as AttnGAN numbers them: 0 is padding, and word number i of the list has the id i + 1.

    maximum_words: longer captions are cut there, after words that the list lacks are left out. A caption of which nothing is left is read
    as the one id 0. splitting: how scripts that write no spaces are cut (`limner.text.words`).
    """

    def __init__(self, words: Sequence[str], maximum_words: int = 18, splitting: Splitting = "characters") -> None:
        if maximum_words < 1:
            raise SettingsError(f"maximum_words is {maximum_words}: a caption needs room for at least one word")
        if len(set(words)) != len(words):
            twice = next(word for word, count in Counter(words).items() if count > 1)
            raise SettingsError(f"the vocabulary holds '{twice}' twice: give each word once")
        self.words, self.maximum_words, self.splitting = tuple(words), maximum_words, splitting
        self._ids = {word: place + 1 for place, word in enumerate(self.words)}

    @classmethod
    def build(cls, captions: Iterable[str], maximum_words: int = 18, splitting: Splitting = "characters") -> Vocabulary:
        """A vocabulary of every word of the captions, the most frequent first."""
        counts = Counter(word for caption in captions for word in split_words(caption, splitting) if UNKNOWN_WORD not in word)
        if not counts:
            raise DataError("the captions hold no word: give captions that do")
        return cls(sorted(counts, key=lambda word: (-counts[word], word)), maximum_words, splitting)

    def __len__(self) -> int:
        """How many ids there are, that of padding included."""
        return len(self.words) + 1

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids and mask [B, T] on the CPU, T being the longest caption's length. Raises DataError for a caption without any word."""
        rows = []
        for place, caption in enumerate(captions):
            if not (spoken := self.split(caption)):
                shown = f"is '{caption.strip()[:20]}' and holds no word" if caption.strip() else "is empty"
                raise DataError(f"caption number {place + 1} {shown}: write at least one word")
            rows.append([self._ids[word] for word in spoken if word in self._ids][: self.maximum_words] or [0])
        longest = max(map(len, rows), default=0)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.int64).view(len(rows), longest)
        mask = torch.arange(longest)[None] < torch.tensor([len(row) for row in rows])[:, None]
        return Tokens(ids, mask)

    def split(self, caption: str) -> list[str]:
        """The words of a caption, known or not."""
        return split_words(caption, self.splitting)

    def known(self, caption: str) -> list[str]:
        """The words of a caption that have an id, in order, before any cut."""
        return [word for word in self.split(caption) if word in self._ids]

    def unknown_words(self, caption: str) -> list[str]:
        """The words of a caption that have no id, in order, each once."""
        return list(dict.fromkeys(word for word in self.split(caption) if word not in self._ids))


class LSTMEncoder(TextEncoder):
    """words [B, T, width], zero where there is none, and sentence [B, width]: the last state forward, then the last one backward."""

    kind: ClassVar[str] = "attngan"

    def __init__(self, vocabulary: Vocabulary, settings: LSTMSettings = LSTMSettings()) -> None:
        super().__init__()
        self.vocabulary, self.settings = vocabulary, settings
        self.sentence_width = settings.width
        self.word_width: int = settings.width
        self.embedding = nn.Embedding(len(vocabulary), settings.word_embedding)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.reader = nn.LSTM(settings.word_embedding, settings.width // 2, batch_first=True, bidirectional=True)

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        return self.vocabulary(captions)

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        """Features of ids [B, T], of any order of lengths; mask [B, T] bool on the CPU, True where there is a word, one at least."""
        device = self.embedding.weight.device
        ids, lengths = ids.to(device), mask.sum(1)
        embedded = F.dropout(self.embedding(ids), self.settings.dropout, self.training)
        words, last = read_rows(self.reader, embedded, lengths)
        return TextFeatures(last, words, mask.to(device), ids)

    def words(self, caption: str) -> list[str]:
        return self.vocabulary.split(caption)

    def known_words(self) -> Sequence[str]:
        return self.vocabulary.words

    def unknown_words(self, caption: str) -> list[str]:
        return self.vocabulary.unknown_words(caption)

    def read_words(self, caption: str) -> list[str]:
        return self.vocabulary.known(caption)[: self.vocabulary.maximum_words] or [UNKNOWN_WORD]

    def was_cut(self, caption: str) -> bool:
        return len(self.vocabulary.known(caption)) > self.vocabulary.maximum_words

    @property
    def limit(self) -> Limit:
        return Limit(self.vocabulary.maximum_words, "words")

    def read_at_most(self, words: int) -> None:
        self.vocabulary.maximum_words = words

    def config(self) -> dict[str, Any]:
        words: dict[str, Any] = {"words": list(self.vocabulary.words), "maximum_words": self.vocabulary.maximum_words}
        if self.vocabulary.splitting != "spaces":
            words["splitting"] = self.vocabulary.splitting
        return {"settings": dataclasses.asdict(self.settings), "vocabulary": words}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LSTMEncoder:
        vocabulary = {"splitting": "spaces", **config["vocabulary"]}  # the rule of those that were saved without one
        return cls(Vocabulary(**vocabulary), LSTMSettings(**config["settings"]))
