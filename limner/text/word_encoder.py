"""What encoders share whose captions are cut into words by a `WordTokenizer`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from limner.text.encoder import Limit, TextEncoder
from limner.text.tokenizers import Tokens, WordTokenizer


class WordEncoder(TextEncoder):
    """An encoder of words. Those that derive from it set `tokenizer` and `settings`, a dataclass."""

    tokenizer: WordTokenizer
    settings: Any

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        return self.tokenizer(captions)

    def words(self, caption: str) -> list[str]:
        return self.tokenizer.split(caption)

    def known_words(self) -> Sequence[str]:
        return (*self.tokenizer.vocabulary, *self.tokenizer.synonyms)

    def unknown_words(self, caption: str) -> list[str]:
        return self.tokenizer.unknown_words(caption)

    def read_words(self, caption: str) -> list[str]:
        return self.words(caption)[: self.tokenizer.maximum_words]

    def was_cut(self, caption: str) -> bool:
        return self.tokenizer.was_cut(caption)

    @property
    def limit(self) -> Limit:
        return Limit(self.tokenizer.maximum_words, "words")

    def read_at_most(self, words: int) -> None:
        self.tokenizer.maximum_words = words

    def config(self) -> dict[str, Any]:
        return {"settings": dataclasses.asdict(self.settings), "tokenizer": self.tokenizer.config()}
