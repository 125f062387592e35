"""The words of the built-in garden, for the text encoder that comes with Limner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from limner.data.garden.captions import FORMS
from limner.data.garden.phrases import (
    FLOWERS,
    MIDDLES,
    MORE_COLOURS,
    MORE_COUNTS,
    MORE_SHAPES,
    MORE_SIZES,
    PHRASES,
    Words,
)
from limner.text.tokenizers import WordTokenizer
from limner.text.words import split_words

_SPELLINGS: Mapping[str, str] = {
    "center": "centre",
    "centered": "centred",
    "petaled": "petalled",
    "petal": "petals",
    "flowers": "flower",
    "blooms": "bloom",
    "blossoms": "blossom",
    "eyes": "eye",
}


def garden_tokenizer(maximum_words: int = 48) -> WordTokenizer:
    """A tokenizer for every word that the garden's captions can hold, with the single words that people use in their place as synonyms."""
    vocabulary = list(dict.fromkeys(word for text in _grammar() for word in split_words(text)))
    synonyms = dict(_SPELLINGS)
    for more in (MORE_COLOURS, MORE_COUNTS, MORE_SHAPES, MORE_SIZES):
        synonyms.update(_single_words(more))
    return WordTokenizer(vocabulary, maximum_words, {word: known for word, known in synonyms.items() if word not in vocabulary})


def _grammar() -> Iterator[str]:
    yield "an"
    for form in dict.fromkeys(FORMS):
        yield form.format_map(_Blanks())
    yield from (*FLOWERS, *MIDDLES)
    for values in PHRASES.values():
        for phrases in values.values():
            yield from phrases


def _single_words(more: Words) -> dict[str, str]:
    spoken = {value: phrases[0] for values in PHRASES.values() for value, phrases in values.items()}
    pairs = [(phrase, spoken[value]) for value, phrases in more.items() for phrase in phrases]
    return {phrase: word for phrase, word in pairs if split_words(f"{phrase} {word}") == [phrase, word]}


class _Blanks(dict[str, str]):
    def __missing__(self, slot: str) -> str:
        return " "
