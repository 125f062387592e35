"""Captions to integers and back: by words and by characters.

Both tokenizers are plain values that JSON can hold (`config`, `from_config`), cut what is too long and refuse captions without content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core.errors import DataError, SettingsError
from limner.text.words import MAXIMUM_WORDS, UNKNOWN_WORD, Splitting, split_words


class Tokens(NamedTuple):
    """ids: [B, T] int64, 0 where there is nothing; mask: [B, T] bool, True where there is a token."""

    ids: Tensor
    mask: Tensor


class WordTokenizer:
    """Words to ids: 0 is padding, 1 an unknown word, and vocabulary word number i has the id i + 2.

    vocabulary: distinct words, as `split_words` gives them; maximum_words: longer captions are cut there; synonyms: further words, each
    read as the word of the vocabulary that it stands for ({"center": "centre"}), so that words of no training caption are understood too.
    splitting: how scripts that write no spaces are cut (`limner.text.words`).
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        maximum_words: int = MAXIMUM_WORDS,
        synonyms: Mapping[str, str] | None = None,
        splitting: Splitting = "characters",
    ) -> None:
        if maximum_words < 1:
            raise SettingsError(f"maximum_words is {maximum_words}: a caption needs room for at least one word")
        if len(set(vocabulary)) != len(vocabulary):
            twice = next(word for word, count in Counter(vocabulary).items() if count > 1)
            raise SettingsError(f"the vocabulary holds '{twice}' twice: give each word once")
        self.vocabulary = tuple(vocabulary)
        self.maximum_words, self.splitting = maximum_words, splitting
        self.synonyms = dict(synonyms or {})
        self._ids = {word: place + 2 for place, word in enumerate(self.vocabulary)}
        for word, known in self.synonyms.items():
            if known not in self.vocabulary:
                raise SettingsError(f"'{word}' stands for '{known}', which the vocabulary lacks: add that word or drop the synonym")
            self._ids.setdefault(word, self._ids[known])

    @classmethod
    def build(
        cls, captions: Iterable[str], minimum_count: int = 1, maximum_words: int = MAXIMUM_WORDS, splitting: Splitting = "characters"
    ) -> WordTokenizer:
        """A tokenizer for every word that the captions hold at least `minimum_count` times, the most frequent first."""
        counts = Counter(word for caption in captions for word in split_words(caption, splitting))
        vocabulary = sorted(
            (word for word, count in counts.items() if count >= minimum_count and UNKNOWN_WORD not in word),
            key=lambda word: (-counts[word], word),
        )
        if not vocabulary:
            raise too_few_words(minimum_count)
        return cls(vocabulary, maximum_words, splitting=splitting)

    def __len__(self) -> int:
        """How many ids there are, padding and the unknown word included."""
        return len(self.vocabulary) + 2

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids and mask [B, T] on the CPU, T being the longest caption's length."""
        unknown, longest = 1, self.maximum_words
        rows = [[self._ids.get(word, unknown) for word in self.split(caption)[:longest]] for caption in captions]
        for place, row in enumerate(rows):
            if not row:
                raise _empty(captions[place], place)
        return _padded(rows, max(map(len, rows), default=0))

    def split(self, caption: str) -> list[str]:
        """The words of a caption, as this tokenizer cuts it."""
        return split_words(caption, self.splitting)

    def decode(self, ids: Tensor) -> list[str]:
        """Captions of [B, T] ids: words joined by spaces, unknown ones as U+FFFD."""
        words = ("", UNKNOWN_WORD, *self.vocabulary)
        return [" ".join(words[place] for place in row if place) for row in ids.tolist()]

    def unknown_words(self, caption: str) -> list[str]:
        """The words of a caption that have no id of their own, in order, each once."""
        return list(dict.fromkeys(word for word in self.split(caption) if word not in self._ids))

    def was_cut(self, caption: str) -> bool:
        """Whether a caption has more words than are read."""
        return len(self.split(caption)) > self.maximum_words

    def config(self) -> dict[str, Any]:
        """What `from_config` makes the tokenizer of again, as plain JSON."""
        config = {"vocabulary": list(self.vocabulary), "maximum_words": self.maximum_words, "synonyms": self.synonyms}
        return config if self.splitting == "spaces" else {**config, "splitting": self.splitting}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WordTokenizer:
        """The tokenizer that `config` described; one that was saved without a rule of splitting keeps that of its time."""
        return cls(**{"splitting": "spaces", **config})


class CharacterTokenizer:
    """Characters to ids: 0 is padding, and character number i of the alphabet has the id i + 1.

    alphabet: the characters known; one that stands there twice has the id of its last place. length: T of every result; longer captions are
    cut. unknown: the character of the alphabet that is read in place of any other, or None to give those the id 0 (which a one-hot coding
    turns into a column of zeros). lower_case: whether captions are put in lower case first.
    """

    def __init__(self, alphabet: str, length: int, *, unknown: str | None = " ", lower_case: bool = True) -> None:
        if not alphabet:
            raise SettingsError("the alphabet is empty: give the characters that captions may hold")
        if length < 1:
            raise SettingsError(f"the length is {length}: a caption needs room for at least one character")
        if unknown is not None and (len(unknown) != 1 or unknown not in alphabet):
            raise SettingsError(f"unknown is '{unknown}': give one character of the alphabet, or None")
        self.alphabet, self.length, self.unknown, self.lower_case = alphabet, length, unknown, lower_case
        self._ids = {character: place + 1 for place, character in enumerate(alphabet)}

    def __len__(self) -> int:
        """How many ids there are, padding included."""
        return len(self.alphabet) + 1

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids and mask [B, length] on the CPU."""
        unknown = 0 if self.unknown is None else self._ids[self.unknown]
        rows = []
        for place, caption in enumerate(captions):
            if not caption.strip():
                raise _empty(caption, place)
            rows.append([self._ids.get(character, unknown) for character in self._read(caption)[: self.length]])
        return _padded(rows, self.length)

    def decode(self, ids: Tensor) -> list[str]:
        """Captions of [B, T] ids; a 0 inside a caption becomes U+FFFD, those after it are padding."""
        characters = UNKNOWN_WORD + self.alphabet
        return ["".join(characters[place] for place in np.trim_zeros(np.asarray(row), "b")) for row in ids.tolist()]

    def unknown_characters(self, caption: str) -> list[str]:
        """The characters of a caption that the alphabet lacks, in order, each once."""
        return list(dict.fromkeys(character for character in self._read(caption) if character not in self._ids))

    def was_cut(self, caption: str) -> bool:
        """Whether a caption has more characters than are read."""
        return len(self._read(caption)) > self.length

    def config(self) -> dict[str, Any]:
        """What `from_config` makes the tokenizer of again, as plain JSON."""
        return {"alphabet": self.alphabet, "length": self.length, "unknown": self.unknown, "lower_case": self.lower_case}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CharacterTokenizer:
        """The tokenizer that `config` described."""
        return cls(**config)

    def _read(self, caption: str) -> str:
        return caption.lower() if self.lower_case else caption


def too_few_words(minimum_count: int) -> DataError:
    """What is said where no word of the captions occurs `minimum_count` times."""
    if minimum_count <= 1:
        return DataError("the captions hold no word that a vocabulary could be made of: give captions with words")
    return DataError(f"no word occurs {minimum_count} times in the captions: lower minimum_count or give more captions")


def _empty(caption: str, place: int) -> DataError:
    shown = f"is '{caption.strip()[:20]}' and holds no word" if caption.strip() else "is empty"
    return DataError(f"caption number {place + 1} {shown}: write at least one word")


def _padded(rows: list[list[int]], length: int) -> Tokens:
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    mask: NDArray[np.bool_] = np.arange(length)[None] < lengths[:, None]
    ids = np.zeros((len(rows), length), dtype=np.int64)
    ids[mask] = np.fromiter((token for row in rows for token in row), dtype=np.int64, count=int(lengths.sum()))
    return Tokens(torch.from_numpy(ids), torch.from_numpy(mask))
