"""Byte pairs: words cut into the pieces that training captions hold most often, as CLIP reads them (Sennrich et al., ACL 2016; Radford et
al., ICML 2021).

A word is spelled in UTF-8 bytes, so that no caption holds anything unknown; then pairs of neighbouring pieces are joined, in the order in
which they were learned. Files such as `bpe_simple_vocab_16e6.txt.gz`, which CLIP comes with, hold those pairs, one a line.
"""

from __future__ import annotations

import gzip
import heapq
import html
import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.core.errors import DataError, SettingsError
from limner.text.tokenizers import Tokens
from limner.text.words import not_text

Pair = tuple[str, str]

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
_SPECIAL = re.compile("|".join(map(re.escape, (START, END))))
_CONTRACTION = re.compile("'(?:s|t|re|ve|m|ll|d)", re.IGNORECASE)
_PIECE = re.compile(r"a+|0|\.+")
_STRAIGHT_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"'})


def _byte_symbols() -> list[tuple[int, str]]:
    """Every byte with the character that stands for it, in the order of the published ids: printable ones first, as themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [(byte, chr(byte)) for byte in printable] + [(byte, chr(256 + place)) for place, byte in enumerate(others)]


_SYMBOLS = dict(_byte_symbols())
_BYTES = {symbol: byte for byte, symbol in _SYMBOLS.items()}
FEWEST = 2 * len(_SYMBOLS) + 2
"""Ids of a tokenizer that has learned no pair: each byte inside a word, each at its end, and the two marks of start and end."""
_REMEMBERED = 1 << 16


class BytePairTokenizer:
    """Captions to ids: bytes, bytes that end a word, joined pairs in the order learned, then the marks of start and end.

    merges: the pairs, most useful first; context_length: ids of a caption that are read, start and end included.
    The id 0 is a token like others; what is padding, the mask alone says.
    """

    def __init__(self, merges: Sequence[Pair], context_length: int = 77) -> None:
        if context_length < 3:
            raise SettingsError(f"context_length is {context_length}: a caption needs room for its start, its end and a token")
        self.merges = tuple(merges)
        self.context_length = context_length
        symbols = list(_SYMBOLS.values())
        self.vocabulary = (*symbols, *(symbol + WORD_END for symbol in symbols), *map("".join, self.merges), START, END)
        self._ids = {token: place for place, token in enumerate(self.vocabulary)}
        self._ranks = {pair: place for place, pair in enumerate(self.merges)}
        self._known: dict[str, tuple[str, ...]] = {}

    @classmethod
    def train(cls, captions: Iterable[str], merges: int = 48_894, context_length: int = 77, minimum_count: int = 2) -> BytePairTokenizer:
        """A tokenizer whose pairs are learned from captions: at most `merges`, each found `minimum_count` times when it is joined."""
        counts = Counter(word for caption in captions for word in split(clean(caption)) if not _SPECIAL.fullmatch(word))
        if not counts:
            raise DataError("the captions hold no word from which byte pairs could be learned: give captions")
        return cls(_learn(counts, merges, minimum_count), context_length)

    @classmethod
    def from_file(cls, path: Path, size: int | None = None, context_length: int = 77) -> BytePairTokenizer:
        """The tokenizer of a published file of pairs (text or gzip), of `size` ids: what the file holds beyond is not used, as published.

        Raises DataError for a file that cannot be read or holds too few pairs.
        """
        try:
            content = path.read_bytes()
            text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8")
        except FileNotFoundError:
            raise DataError(f"there is no vocabulary file {path}: give bpe_simple_vocab_16e6.txt.gz of github.com/openai/CLIP") from None
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise DataError(f"cannot read the vocabulary file {path} ({error}): give bpe_simple_vocab_16e6.txt.gz whole") from None
        lines = [line.split() for line in text.split("\n")[1:]]  # the first line names the version
        if size is not None:
            lines = lines[: max(size - FEWEST, 0)]
        if strange := next((line for line in lines if len(line) not in (0, 2)), None):
            shown = " ".join(strange)[:40]
            raise DataError(
                f"{path} is not a file of byte pairs ('{shown}' is none): give bpe_simple_vocab_16e6.txt.gz of github.com/openai/CLIP"
            )
        pairs = [(line[0], line[1]) for line in lines if len(line) == 2]
        if size is not None and FEWEST + len(pairs) != size:
            raise DataError(f"{path} gives {FEWEST + len(pairs):,} ids, not {size:,}: give the vocabulary that the model was trained with")
        return cls(pairs, context_length)

    def __len__(self) -> int:
        """How many ids there are."""
        return len(self.vocabulary)

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids and mask [B, T] on the CPU, T being the longest caption's length; a caption that is too long keeps its end mark."""
        start, end = self._ids[START], self._ids[END]
        rows = []
        for caption in captions:
            read = [start, *self.encode(caption), end][: self.context_length]
            rows.append([*read[:-1], end])
        longest = max(map(len, rows), default=0)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.int64).view(len(rows), longest)
        return Tokens(ids, torch.arange(longest) < lengths[:, None])

    def encode(self, caption: str) -> list[int]:
        """The ids of a caption, all of it, without the marks of start and end."""
        return [self._ids[token] for token in self.tokens(caption)]

    def tokens(self, caption: str) -> list[str]:
        """The pieces of a caption, as the vocabulary spells them."""
        return [token for word in split(clean(caption)) for token in self._cut(word)]

    def decode(self, ids: Tensor) -> list[str]:
        """Captions of [B, T] ids, up to the mark of their end."""
        return [self._text(row) for row in ids.tolist()]

    def was_cut(self, caption: str) -> bool:
        """Whether a caption has more tokens than are read."""
        return len(self.encode(caption)) + 2 > self.context_length

    def config(self) -> dict[str, Any]:
        """What `from_config` makes the tokenizer of again, as plain JSON."""
        return {"merges": [" ".join(pair) for pair in self.merges], "context_length": self.context_length}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BytePairTokenizer:
        """The tokenizer that `config` described."""
        pairs = [pair.split(" ") for pair in config["merges"]]
        return cls([(first, second) for first, second in pairs], config["context_length"])

    def _cut(self, word: str) -> tuple[str, ...]:
        """The pieces of a word, remembered: captions say the same words again and again."""
        if word not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[word] = (word,) if word in (START, END) else self._cut_new(word)
        return self._known[word]

    def _cut_new(self, word: str) -> tuple[str, ...]:
        symbols = spelled(word)
        while len(symbols) > 1:
            pair = min(zip(symbols, symbols[1:]), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if pair not in self._ranks:
                break
            symbols = joined(symbols, pair)
        return symbols

    def _text(self, ids: Sequence[int]) -> str:
        end = self._ids[END]
        tokens = [self.vocabulary[place] for place in (ids[: ids.index(end)] if end in ids else ids)]
        text = "".join(token for token in tokens if token != START)
        # A mark at the end of words, spelled in symbols of its own bytes, is text like any other until the bytes are read.
        return bytes(_BYTES[symbol] for symbol in text).decode("utf-8", errors="replace").replace(WORD_END, " ").strip()


def clean(text: str) -> str:
    """A caption as CLIP reads it: repaired, HTML entities resolved (twice), white space collapsed, in lower case.

    The authors repair text with ftfy; here the repairs that captions are known to need: composed accents, straight quotes, and UTF-8 that
    was read as Windows-1252.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", _reread(text).translate(_STRAIGHT_QUOTES))
    return " ".join(html.unescape(html.unescape(text)).split()).lower()


def _reread(text: str) -> str:
    try:
        return text.encode("cp1252").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def split(text: str) -> list[str]:
    """The words of a clean text: runs of letters, single digits, runs of other signs; 's, 't and their like; the two marks.

    Raises DataError for what cannot be spelled in bytes.
    """
    kinds = "".join(map(_kind, text))
    if wrong := not_text(text):
        raise DataError(wrong)
    words, place = [], 0
    while place < len(text):
        found = _SPECIAL.match(text, place) or _CONTRACTION.match(text, place) or _PIECE.match(kinds, place)
        if found is None:  # a space
            place += 1
            continue
        words.append(text[place : found.end()])
        place = found.end()
    return words


@lru_cache(maxsize=1 << 12)
def _kind(character: str) -> str:
    if character.isspace():
        return " "
    return {"L": "a", "N": "0"}.get(unicodedata.category(character)[0], ".")


def spelled(word: str) -> tuple[str, ...]:
    """A word in the symbols of its bytes, the last with the mark of the word's end."""
    *inner, last = (_SYMBOLS[byte] for byte in word.encode("utf-8"))
    return (*inner, last + WORD_END)


def joined(symbols: Sequence[str], pair: Pair) -> tuple[str, ...]:
    """The symbols with each occurrence of the pair, from the left, joined into one."""
    result: list[str] = []
    place = 0
    while place < len(symbols):
        both = tuple(symbols[place : place + 2]) == pair
        result.append("".join(pair) if both else symbols[place])
        place += 2 if both else 1
    return tuple(result)


def _learn(counts: Counter[str], limit: int, minimum_count: int) -> list[Pair]:
    """The most frequent pairs, one after the other; of equally frequent ones the first in the order of characters."""
    words = [(spelled(word), count) for word, count in counts.items()]
    frequency: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, (symbols, count) in enumerate(words):
        for pair in zip(symbols, symbols[1:]):
            frequency[pair] += count
            holders[pair].add(number)
    queue = [(-count, pair) for pair, count in frequency.items()]
    heapq.heapify(queue)
    learned: list[Pair] = []
    while queue and len(learned) < limit:
        negative, pair = heapq.heappop(queue)
        if -negative != frequency[pair]:  # has changed since it was queued, and is queued anew
            continue
        if frequency[pair] < minimum_count:
            break
        learned.append(pair)
        changed: set[Pair] = set()
        for number in sorted(holders.pop(pair)):
            symbols, count = words[number]
            fewer, more = Counter(zip(symbols, symbols[1:])), Counter[Pair]()
            words[number] = joined(symbols, pair), count
            more.update(zip(words[number][0], words[number][0][1:]))
            for other in fewer.keys() | more.keys():
                frequency[other] += count * (more[other] - fewer[other])
                if more[other]:
                    holders[other].add(number)
                changed.add(other)
        for other in changed:
            heapq.heappush(queue, (-frequency[other], other))
    return learned
