"""How a caption is cut into words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limner.core import random

UNKNOWN_WORD = "\ufffd"
"""Stands for a word that is not known: Unicode's replacement character. It counts as a word, and no vocabulary holds it."""

_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_SPACED_WORD = re.compile(r"[^\s']+(?:'[^\s']+)*")


def split_words(text: str) -> list[str]:
    """The words of a text, in lower case: runs of letters and digits of any alphabet, with the apostrophes inside them.

    "A heart-shaped flower, isn't it?" -> ["a", "heart", "shaped", "flower", "isn't", "it"]. Hyphens split, so that "five-petalled" and
    "five petalled" are the same words. Scripts that write no spaces come out as long words; a character tokenizer serves them better.
    """
    text = text.lower()
    if text.isascii():
        return _ASCII_WORD.findall(text)
    # Compatibility forms first: full-width letters and composed accents become one spelling. Case may change again under them.
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    return _SPACED_WORD.findall("".join(character if _is_word_character(character) else " " for character in text))


def _is_word_character(character: str) -> bool:
    # Marks are the vowel signs of Indic scripts and accents without a composed form: part of the word they stand in.
    return character.isalnum() or character in ("'", UNKNOWN_WORD) or unicodedata.category(character).startswith("M")


def drop_words(captions: Sequence[str], rate: float, seed: int, samples: NDArray[np.int64], stream: str = "word dropout") -> list[str]:
    """Captions in which each word is unknown with probability `rate`; caption i's draws depend on (seed, stream, samples[i]) alone."""
    if rate <= 0:
        return list(captions)
    rows = [split_words(caption) for caption in captions]
    draws = random.uniform(seed, stream, np.asarray(samples)[:, None], np.arange(max(map(len, rows), default=0)))
    return [
        " ".join(UNKNOWN_WORD if draw < rate else word for word, draw in zip(words, row, strict=False)) or caption
        for caption, words, row in zip(captions, rows, draws.tolist(), strict=True)
    ]
