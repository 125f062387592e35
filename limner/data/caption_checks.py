"""What a caption must hold to be of use: checked when a set is prepared, and again when one is opened, since it may be older."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from limner.data.sources import Sample, decode_captions
from limner.text.number_rows import vector_width
from limner.text.words import MAXIMUM_WORDS, WITHOUT_WORD, has_word, split_words, without_accents

_LETTERS = np.zeros(256, dtype=bool)
"""Bytes of UTF-8 with which a letter or digit begins, whatever follows: those of ASCII, Cyrillic, most Han and Hangul."""
_LETTERS[[byte for byte in range(128) if chr(byte).isalnum()]] = True
_LETTERS[[0xD0, 0xD1, *range(0xE5, 0xEA), 0xEB, 0xEC]] = True


@dataclass(frozen=True)
class WordlessCaption:
    """A caption without a word."""

    key: str
    """The name of its picture."""
    source: str
    text: str
    where: str
    """Where it stands, with its beginning: its line in the picture's text file, or else its number among the picture's captions."""
    alone: bool
    """Whether its picture has no other caption, and is left out with it."""


def with_words(sample: Sample) -> tuple[Sample, list[WordlessCaption]]:
    """The sample without its captions that hold no word, and those; where none is left, `problem` says so."""
    kept = tuple(filter(has_word, sample.captions))
    if len(kept) == len(sample.captions):
        return sample, []
    found = [
        WordlessCaption(sample.key, sample.source, caption, f"{sample.where or _place(sample, number)}: '{caption[:20]}'", not kept)
        for number, caption in enumerate(sample.captions)
        if not has_word(caption)
    ]
    if kept:
        return dataclasses.replace(sample, captions=kept), found
    return dataclasses.replace(sample, captions=(), problem=sample.problem or WITHOUT_WORD, where=found[0].where), found


def _place(sample: Sample, number: int) -> str:
    """Where caption `number` of the sample stands."""
    if sample.picture is not None:
        path = sample.picture.path
        for text in (path.with_suffix(".txt"), path.with_name(f"{path.name}.txt")):
            lines = text.read_bytes().splitlines() if text.is_file() else []
            places = [place for place, line in enumerate(lines, 1) if decode_captions(line)[0]]
            if len(places) == len(sample.captions) and decode_captions(lines[places[number] - 1])[0] == (sample.captions[number],):
                return f"line {places[number]}"
    return f"caption {number + 1} of {len(sample.captions)}"


@dataclass
class CaptionTally:
    """What is worth knowing of the captions of a set, counted as they go by."""

    words: Counter[str] = field(default_factory=Counter)
    """The words of the training captions."""
    long: int = 0
    """Captions of more words than encoders read unless told otherwise."""
    longest: int = 0
    """Words of the longest caption."""
    longest_key: str = ""
    """The picture that the longest caption belongs to."""

    def add(self, key: str, captions: Sequence[str], training: bool) -> None:
        """Count a picture's captions; training: whether their words are the vocabulary's. Rows of numbers have no words to count."""
        for caption in captions:
            if vector_width([caption]) is not None:
                continue
            words = split_words(caption)
            if training:
                self.words.update(words)
            self.long += len(words) > MAXIMUM_WORDS
            if len(words) > self.longest:
                self.longest, self.longest_key = len(words), key

    def remarks(self, captions: int) -> Iterator[str]:
        """What a user should know, line by line; captions: how many there are."""
        if self.long:
            yield (
                f"long captions: {self.long:,} of {captions:,} have more than {MAXIMUM_WORDS} words (the longest: {self.longest:,}, of "
                f"'{self.longest_key}'); text encoders read the first {MAXIMUM_WORDS}, or more with --text.maximum-words in training"
            )
        spellings = self._spellings()
        if spellings:
            shown = ", ".join(f"'{word}' ({self.words[word]:,}) and '{plain}' ({self.words[plain]:,})" for word, plain in spellings[:3])
            yield f"spellings: {shown} are different words to a model: write them alike where they mean the same"

    def _spellings(self) -> list[tuple[str, str]]:
        """Words that stand in the captions with accents and without, most frequent first."""
        pairs = [(word, without_accents(word)) for word in self.words if not word.isascii()]
        both = [(word, plain) for word, plain in pairs if plain != word and plain in self.words]
        return sorted(both, key=lambda pair: (-self.words[pair[0]], pair))


def wordless_captions(captions: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of the captions that hold no word. captions: UTF-8, one after the other; offsets: [C + 1] where each begins and ends.

    What is not UTF-8 is left to whoever reads the caption.
    """
    starts, lengths = offsets[:-1], np.diff(offsets)
    speaks = np.zeros(len(lengths), dtype=bool)
    speaks[lengths > 0] = _LETTERS[captions[starts[lengths > 0]]]  # most captions begin with a word, and need no second look
    doubtful = np.flatnonzero(~speaks).tolist()
    found = [row for row in doubtful if not _speaks(captions[offsets[row] : offsets[row + 1]].tobytes())]
    return np.array(found, dtype=np.int64)


def _speaks(caption: bytes) -> bool:
    try:
        return has_word(caption.decode())
    except UnicodeDecodeError:
        return True
