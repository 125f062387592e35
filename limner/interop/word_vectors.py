"""Files of word vectors: GloVe's text, word2vec's text and binary form, fastText's `.vec`, plain or gzipped.

A file of millions of lines is read line by line, and only the vectors that are wanted are kept. Mistakes are reported with file and line.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from limner.core.errors import DataError
from limner.interop.importer import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Format = Literal["auto", "glove", "word2vec", "word2vec-binary", "fasttext"]
"""What a file is: found by its first bytes; GloVe's text, without a header; word2vec's text, with one; its binary form; fastText's .vec,
which is word2vec's text with a space at the ends of lines."""

LONGEST_LINE = 1 << 20
BLOCK = 1 << 20
EVERY = 20_000
"""Lines between two signs of progress."""
_HEADER = re.compile(rb"\s*(\d+)[ \t]+(\d+)\s*")
_STARTS = {
    b"\xff\xfe": "is in UTF-16: save it as UTF-8",
    b"\xfe\xff": "is in UTF-16: save it as UTF-8",
    b"PK\x03\x04": "is a zip archive: unpack it, and give the file of vectors in it",
    b"\x80": "is a pickle, such as gensim's own files are: save the vectors by save_word2vec_format, and give that file",
    b"\xba\x16\x4f\x2f": "is a fastText model: give the .vec file of its word vectors",
    b"version https://git-lfs": "is a pointer of Git LFS and not the file itself: git lfs pull fetches that",
    b"<!doctype": "is a web page, such as a download that needed a confirmation leaves: download the file again",
    b"<html": "is a web page, such as a download that needed a confirmation leaves: download the file again",
}


@dataclass
class Found:
    """What was read of a file."""

    width: int
    """Numbers in a vector."""
    form: str
    """What the file is, in words."""
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """The vectors that were wanted, by the word that wants them."""
    recased: dict[str, str] = field(default_factory=dict)
    """Wanted words that the file has under other capitals alone, and how it writes them."""
    first: list[str] = field(default_factory=list)
    """The words kept only because they are among the file's first, in order."""
    lines: int = 0
    """Words in the file."""
    spaced: int = 0
    """Words that hold a space, which no word of a caption does; they are left out."""
    spaced_at: str = ""
    """The first of those, with its line."""


def read_word_vectors(
    path: Path,
    wanted: Collection[str],
    form: Format = "auto",
    *,
    any_case: bool = False,
    first: int = 0,
    keep: Callable[[str], bool] = lambda word: True,
    progress: Progress | None = None,
) -> Found:
    """The vectors of the wanted words.

    any_case: take a word that the file writes only with capitals for a wanted one in lower case. first: also keep those of the file's first
    so many words that satisfy `keep`. progress: called with bytes read, bytes of the file, and what is being read.
    Of a word that comes twice the first vector counts. Raises DataError, with file and line, for a file that is not what `form` says, is
    cut short, holds vectors of several widths, or is not UTF-8.
    """
    taking = _Taking(path, wanted, any_case, first, keep)
    try:
        with path.open("rb") as raw:
            _check_start(path, raw)
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with cast("BinaryIO", gzip.open(raw) if zipped else io.BufferedReader(raw, BLOCK)) as stream:
                found = _read(path, stream, form, taking, _Watch(progress, raw, path))
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: give a file of word vectors, such as glove.6B.100d.txt") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder: give a file of word vectors, such as glove.6B.100d.txt") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is cut short or damaged ({error}): download it again") from None
    return found


class _Taking:
    """What becomes of each word of a file."""

    def __init__(self, path: Path, wanted: Collection[str], any_case: bool, first: int, keep: Callable[[str], bool]) -> None:
        self.path, self.wanted, self.any_case, self.first, self.keep = path, set(wanted), any_case, first, keep
        self.found = Found(0, "")
        self._exact: set[str] = set()

    def name(self, word: str) -> str | None:
        """The wanted word that this word of the file gives a vector to; None where it is not wanted or already there."""
        found = self.found
        if word in self.wanted:
            return None if word in self._exact else word
        lower = word.lower() if self.any_case else word
        if lower != word and lower in self.wanted:
            return None if lower in found.vectors else lower
        if found.lines < self.first and lower not in found.vectors and self.keep(lower):
            return lower
        return None

    def take(self, name: str, word: str, vector: NDArray[np.float32]) -> None:
        found = self.found
        if name == word:
            self._exact.add(name)
            found.recased.pop(name, None)
        else:
            found.recased[name] = word
        found.vectors[name] = vector
        if name not in self.wanted:
            self.wanted.add(name)  # under its own capitals it may follow yet
            found.first.append(name)


class _Watch:
    """Tells how far a file has been read."""

    def __init__(self, progress: Progress | None, raw: BinaryIO, path: Path) -> None:
        self.progress, self.raw, self.path = progress, raw, path
        self.size = path.stat().st_size

    def __call__(self, line: int) -> None:
        if self.progress is not None and line % EVERY == 0:
            self.progress(min(self.raw.tell(), self.size), self.size, f"{self.path.name}, {line:,} words")


def _check_start(path: Path, raw: BinaryIO) -> None:
    start = raw.read(64)
    raw.seek(0)
    if not start:
        raise DataError(f"{path} is empty: download it again")
    for signature, fault in _STARTS.items():
        if start.startswith(signature) or start.lower().startswith(signature):
            raise DataError(f"{path}, line 1: the file {fault}")


def _read(path: Path, stream: BinaryIO, form: Format, taking: _Taking, watch: _Watch) -> Found:
    line = stream.readline(LONGEST_LINE).removeprefix(b"\xef\xbb\xbf")
    header = _HEADER.fullmatch(line)
    if header and form == "glove":
        shown = line.decode().strip()
        raise DataError(
            f"{path}, line 1: '{shown}' is a header, which GloVe's files have not: give --format word2vec, or leave --format out"
        )
    if not header and form not in ("auto", "glove"):
        raise DataError(f"{path}, line 1: there is no header of two numbers (words, width) as in {form}: give --format glove, or none")
    if header is None:
        return _read_text(path, line, stream, None, taking, watch)
    count, width = int(header[1]), int(header[2])
    if not 0 < width <= 1 << 16:
        raise DataError(f"{path}, line 1: the header gives vectors of {width} numbers: download the file again")
    start = b""
    if form in ("auto", "word2vec-binary"):
        start = stream.read(1 << 16)
        if form == "word2vec-binary" or not _is_text(start, width):
            return _read_binary(path, start, stream, count, width, taking, watch)
    return _read_text(path, b"", _Joined(start, stream), (count, width), taking, watch)


def _is_text(start: bytes, width: int) -> bool:
    """Whether what follows a header is a line of text with so many numbers."""
    line = start.partition(b"\n")[0].rstrip(b" \r\t")
    return all(map(_is_number, line.rsplit(b" ", width)[1:]))


class _Joined:
    """Bytes that were read already, and the stream that they were read from."""

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self._start, self._stream = io.BytesIO(start), stream

    def readline(self, limit: int) -> bytes:
        line = self._start.readline(limit)
        return line if line.endswith(b"\n") else line + self._stream.readline(limit)


def _read_text(
    path: Path, line: bytes, stream: BinaryIO | _Joined, header: tuple[int, int] | None, taking: _Taking, watch: _Watch
) -> Found:
    found = taking.found
    found.form = "GloVe text" if header is None else "word2vec or fastText text"
    number, width = (1, 0) if header is None else (2, header[1])
    line = line or stream.readline(LONGEST_LINE)
    while line:
        where = f"{path}, line {number:,}"
        whole = line.rstrip(b" \r\n\t")
        following = stream.readline(LONGEST_LINE)
        if len(line) >= LONGEST_LINE:
            raise DataError(f"{where}: it has over {LONGEST_LINE:,} bytes: this is not a text file of word vectors")
        if not whole:
            if following:
                raise DataError(f"{where}: it is empty: remove that line, or download the file again")
            break
        if not found.lines:
            _check_first(where, whole)
        if not width:
            width = _first_width(where, whole)
        if header and found.lines == header[0]:
            raise DataError(f"{where}: the header gives {header[0]:,} words, and here is one more: two files were joined; give one of them")
        spaces = whole.count(b" ")
        word, _, numbers = whole.partition(b" ")
        if spaces > width:
            word = whole.rsplit(b" ", width)[0]
            if _is_number(word.rpartition(b" ")[2]):
                raise DataError(f"{where}: {spaces} numbers, where the lines before have {width}: vectors of one file have one width")
            _decoded(where, word)
            found.spaced += 1
            found.spaced_at = found.spaced_at or f"line {number:,}, '{word.decode()}'"
        elif spaces < width:
            raise _too_few(where, whole, spaces, width, last=not following)
        elif name := taking.name(_decoded(where, word)):
            taking.take(name, word.decode(), _numbers(where, numbers))
        found.lines += 1
        number += 1
        watch(found.lines)
        line = following
    if header and found.lines < header[0]:
        raise DataError(
            f"{path}, line {number - 1:,}: the file ends after {found.lines:,} words, and its header gives {header[0]:,}: it is cut short; "
            "download it again"
        )
    found.width = width
    return found


def _check_first(where: str, line: bytes) -> None:
    """Raise DataError for the first word's line where fields or lines are separated in another way than in files of word vectors."""
    faults = {
        "fields are separated by tabs: put single spaces there (tr '\\t' ' ' < FILE > OTHER)": b" " not in line and b"\t" in line,
        "fields are separated by several spaces: put single ones there (tr -s ' ' < FILE > OTHER)": b"  " in line,
        "lines end in carriage returns: convert them (tr '\\r' '\\n' < FILE > OTHER)": b"\r" in line,
    }
    for fault, found in faults.items():
        if found:
            raise DataError(f"{where}: its {fault}")


def _first_width(where: str, line: bytes) -> int:
    """How many numbers a vector has, as the first line of a file without a header says."""
    pieces = line.split(b" ")
    _decoded(where, pieces[0])
    width = 0
    while width < len(pieces) - 1 and _is_number(pieces[-1 - width]):
        width += 1
    if not width:
        shown = line[:40].decode("utf-8", "replace")
        raise DataError(f"{where}: '{shown}' is not a word with its numbers: give a file of word vectors, such as glove.6B.100d.txt")
    return width


def _too_few(where: str, line: bytes, spaces: int, width: int, *, last: bool) -> DataError:
    if _HEADER.fullmatch(line):
        return DataError(f"{where}: '{line.decode()}' is a header, and no line of a word: two files were joined; give one of them")
    if last:
        return DataError(f"{where}: the file ends after {spaces} of {width} numbers: it is cut short; download it again")
    return DataError(f"{where}: {spaces} numbers, where the lines before have {width}: vectors of one file have one width")


def _decoded(where: str, word: bytes) -> str:
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = f"0x{word[error.start]:02x}"
        raise DataError(f"{where}: byte {bad} is not UTF-8: convert the file (iconv -f LATIN1 -t UTF-8 FILE > OTHER)") from None


def _is_number(piece: bytes) -> bool:
    try:
        float(piece)
    except ValueError:
        return False
    return True


def _numbers(where: str, text: bytes) -> NDArray[np.float32]:
    import numpy as np

    pieces = text.split(b" ")
    bad = next((piece for piece in pieces if not _is_number(piece)), None)
    if bad is not None:
        raise DataError(f"{where}: '{bad.decode('utf-8', 'replace')[:20]}' is not a number: download the file again")
    return _finite(where, np.array([float(piece) for piece in pieces], dtype=np.float32))


def _finite(where: str, vector: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    if not np.isfinite(vector).all():
        raise DataError(f"{where}: a number is not finite: the file is damaged; download it again")
    return vector


def _read_binary(path: Path, start: bytes, stream: BinaryIO, count: int, width: int, taking: _Taking, watch: _Watch) -> Found:
    import numpy as np

    found = taking.found
    found.width, found.form = width, "word2vec binary"
    for number, (word, numbers) in enumerate(_records(path, start, stream, count, width), start=1):
        where = f"{path}, word {number:,}"
        text = word.decode("utf-8", "replace")  # Google's file has words cut inside a character, which no caption holds
        if name := taking.name(text):
            taking.take(name, text, _finite(where, np.frombuffer(numbers, dtype="<f4").astype(np.float32)))
        found.lines = number
        watch(number)
    return found


def _records(path: Path, buffer: bytes, stream: BinaryIO, count: int, width: int) -> Iterator[tuple[bytes, bytes]]:
    """Words and the bytes of their vectors, in blocks."""
    place, size = 0, 4 * width
    for number in range(1, count + 1):
        while (end := buffer.find(b" ", place)) < 0 or len(buffer) <= end + size:
            if end < 0 and len(buffer) - place > BLOCK:
                raise DataError(
                    f"{path}, word {number:,}: no end of the word within {BLOCK:,} bytes: the file is damaged, or no word2vec binary"
                )
            more = stream.read(BLOCK)
            if not more:
                raise DataError(
                    f"{path}, word {number:,}: the file ends after {number - 1:,} words, and its header gives {count:,}: it is cut short; "
                    "download it again"
                )
            buffer, place = buffer[place:] + more, 0
        yield buffer[place:end].lstrip(b"\n"), buffer[end + 1 : end + 1 + size]
        place = end + 1 + size
    rest = (buffer[place:] + stream.read(16)).strip(b"\n")
    if rest:
        raise DataError(f"{path}: bytes follow the {count:,} words that its header gives: the file is damaged, or no word2vec binary")
