"""What a word is, and how a caption is cut into words: the one place that says so, for preparing, training and painting."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from limner.core import random
from limner.text.number_rows import as_caption, numbers_of

UNKNOWN_WORD = "\ufffd"
"""Stands for a word that is not known: Unicode's replacement character. It counts as a word, and no vocabulary holds it."""

Splitting = Literal["spaces", "characters"]
"""How scripts that write no spaces are cut: into "characters", or only at "spaces" and punctuation, as tokenizers once did."""

MAXIMUM_WORDS = 48
"""Words of a caption that encoders read unless a setting says otherwise."""

WITHOUT_WORD = "caption without a word"
"""What is wrong with a caption such as "...": the reason for which it is left out."""

_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_SPACED_WORD = re.compile(r"[^\s']+(?:'[^\s']+)*")
# Blocks of the scripts that write no spaces between words: Thai, Lao, Myanmar, Khmer, Tai Le to Khmer symbols, Tai Tham, Balinese, kana and
# Bopomofo, Han with its extensions, Yi, Javanese, Myanmar's extensions, Tai Viet, Han's compatibility forms, and the planes of rare Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\u3005-\u3007\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\ua4cf\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff\U0001aff0-\U0001b16f\U00020000-\U0003ffff]"
)
_SELECTORS = re.compile("[\u20e3\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def split_words(text: str, splitting: Splitting = "characters") -> list[str]:
    """The words of a text, in lower case: runs of letters and digits of any alphabet, with the apostrophes inside them.

    "A heart-shaped flower, isn't it?" -> ["a", "heart", "shaped", "flower", "isn't", "it"]. Hyphens split, so that "five-petalled" and
    "five petalled" are the same words. Of scripts that write no spaces (Chinese, Japanese, Thai, ...) each character with its marks is a
    word: "一朵红花" -> ["一", "朵", "红", "花"]. Punctuation, emoji and marks that belong to no letter are not words.

    splitting: "spaces" is the rule of tokenizers that were saved before there was another: such scripts come out as long words, and a mark
    by itself, such as an emoji's variation selector, as a word.
    """
    text = text.lower()
    if text.isascii():
        return _ASCII_WORD.findall(text)
    # Compatibility forms first: full-width letters and composed accents become one spelling. Case may change again under them.
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    if splitting == "spaces":
        return _SPACED_WORD.findall("".join(character if _is_word_character(character) else " " for character in text))
    return [word for word in _SPACED_WORD.findall(_spaced(text)) if UNKNOWN_WORD in word or _is_spoken(word)]


def has_word(text: str) -> bool:
    """Whether a text says anything in words: whether one of `split_words` holds a letter or a digit."""
    if text.isascii():
        return _ASCII_WORD.search(text.lower()) is not None
    return any(map(_is_spoken, split_words(text)))


def plain_words(caption: str) -> str:
    """A caption as its words with one blank between them: captions that read the same give the same text, whatever their capitals, blanks
    and punctuation. A row of numbers becomes the numbers in one spelling, a caption without words itself without spare blanks."""
    values = numbers_of(caption)
    return as_caption(values) if values else " ".join(split_words(caption) or caption.split())


def not_text(caption: str) -> str | None:
    """What is wrong with a caption that holds half of a surrogate pair, as JSON can and text cannot; None of any other."""
    try:
        caption.encode()
    except UnicodeEncodeError:
        return f"the caption {ascii(caption)[:60]} is not UTF-8 text: write it anew, without what begins with \\ud"
    return None


def _is_spoken(word: str) -> bool:
    return any(map(str.isalnum, word))


def splitting_of(vocabulary: Iterable[str]) -> Splitting:
    """How captions were cut for a vocabulary that comes from elsewhere: at "spaces" where one of its words holds several characters of
    a script that writes none."""
    return "spaces" if any(_UNSPACED.search(word) and len(split_words(word)) > 1 for word in vocabulary) else "characters"


def _spaced(text: str) -> str:
    """The text with a space for all that belongs to no word, and around each character of a script that writes none."""
    pieces: list[str] = []
    before = ""  # what stands to the left: "", a letter of a "spaced" or an "unspaced" script
    for character in _SELECTORS.sub("", text):
        if not _is_word_character(character):
            pieces.append(" ")
            before = ""
        elif _is_mark(character):
            pieces.append(character)
        else:
            kind = "unspaced" if _UNSPACED.match(character) else "spaced"
            pieces.append(f" {character}" if "unspaced" in (kind, before) else character)
            before = kind
    return "".join(pieces)


def _is_word_character(character: str) -> bool:
    # Marks are the vowel signs of Indic scripts and accents without a composed form: part of the word they stand in.
    return character.isalnum() or character in ("'", UNKNOWN_WORD) or _is_mark(character)


@lru_cache(maxsize=1 << 12)
def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def without_accents(word: str) -> str:
    """The word in plain letters, as far as it has accents: "pokémon" -> "pokemon"."""
    if word.isascii():
        return word
    return "".join(character for character in unicodedata.normalize("NFD", word) if not _is_mark(character))


def nearest_words(word: str, known: Iterable[str], count: int = 2) -> list[str]:
    """The known words that a mistyped word is likely to mean, likeliest first: at most `count`, perhaps none.

    Words that differ in accents alone come first; others begin or end alike, for so do most slips.
    """
    plain, known = without_accents(word), list(known)
    same = [other for other in known if without_accents(other) == plain and other != word]
    alike = [other for other in known if abs(len(other) - len(word)) <= 2 and (other[:1] == word[:1] or other[-1:] == word[-1:])]
    return list(dict.fromkeys([*same, *difflib.get_close_matches(word, alike, n=count, cutoff=0.65)]))[:count]


def drop_words(
    captions: Sequence[str],
    rate: float,
    seed: int,
    samples: NDArray[np.int64],
    stream: str = "word dropout",
    split: Callable[[str], list[str]] = split_words,
) -> list[str]:
    """Captions in which each word is unknown with probability `rate`; caption i's draws depend on (seed, stream, samples[i]) alone."""
    if rate <= 0:
        return list(captions)
    rows = [split(caption) for caption in captions]
    draws = random.uniform(seed, stream, np.asarray(samples)[:, None], np.arange(max(map(len, rows), default=0)))
    return [
        " ".join(UNKNOWN_WORD if draw < rate else word for word, draw in zip(words, row, strict=False)) or caption
        for caption, words, row in zip(captions, rows, draws.tolist(), strict=True)
    ]
