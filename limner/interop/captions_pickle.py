"""The vocabulary and captions that AttnGAN's code, and that of later methods, keeps next to its weights: `captions.pickle`."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.core.errors import CheckpointError, DataError
from limner.core.json_text import parse_json

_WANTED = "give the captions.pickle that the authors' code wrote"


@dataclass(frozen=True)
class PickledCaptions:
    """words: in the order of their ids from 1, 0 being padding. train, test: captions as lists of ids, caption i of picture k at
    k x captions a picture + i, in the order of the data set's filenames.pickle."""

    words: list[str]
    train: list[list[int]]
    test: list[list[int]]


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, strings, lists and dictionaries; a file that asks for anything else is refused before it is made."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")


def read_captions_pickle(path: Path) -> PickledCaptions:
    """What such a file holds: `[train_captions, test_captions, ixtoword, wordtoix]`, as Python 2 or 3 wrote it.

    Nothing of the file is run. Raises DataError where it cannot be read, CheckpointError where it holds something else.
    """
    content = _unpickled(path)
    if not isinstance(content, (list, tuple)) or len(content) != 4:
        raise CheckpointError(f"{path} does not hold two lists of captions and two dictionaries: {_WANTED}")
    train, test, words, ids = content
    if not all(_are_captions(captions) for captions in (train, test)) or not isinstance(words, Mapping) or not isinstance(ids, Mapping):
        raise CheckpointError(f"{path} does not hold two lists of captions and two dictionaries: {_WANTED}")
    if set(words) != set(range(len(words))) or len(words) < 2:
        raise CheckpointError(f"the words in {path} are not numbered from 0 to {len(words) - 1}: {_WANTED}")
    ordered = [words[number] for number in range(1, len(words))]
    if any(not isinstance(word, str) or ids.get(word) != number for number, word in enumerate(ordered, start=1)):
        raise CheckpointError(f"the two dictionaries in {path} contradict each other: {_WANTED}")
    return PickledCaptions(ordered, [list(caption) for caption in train], [list(caption) for caption in test])


def read_vocabulary(path: Path) -> list[str]:
    """The words of a vocabulary in the order of their ids from 1.

    The authors' captions.pickle; another pickle or a JSON file with words by id or ids by word in it, by whatever name and with whatever
    else, or with a plain list of words; or UTF-8 text with one word a line. Nothing of the file is run.
    Raises DataError where it cannot be read, CheckpointError where it holds no vocabulary, or two.
    """
    start = _start(path)
    if path.suffix.lower() == ".json":
        try:
            content = parse_json(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise DataError(
                f"cannot read words from {path} ({error}): give JSON of words by id, or UTF-8 text with one word a line"
            ) from error
    elif path.suffix.lower() in (".pickle", ".pkl") or start[:1] == b"\x80":
        content = _unpickled(path)
        if isinstance(content, (list, tuple)) and len(content) == 4 and isinstance(content[2], Mapping):
            return read_captions_pickle(path).words
    else:
        return _lines(path)
    found = {tuple(words) for words in _orders(content)}
    if not found and isinstance(content, (list, tuple)) and content and all(isinstance(word, str) for word in content):
        found = {tuple(content)}
    if len(found) != 1:
        problem = "holds no words by their ids" if not found else "holds several vocabularies that contradict each other"
        raise CheckpointError(f"{path} {problem}: {_WANTED}, or UTF-8 text with one word a line, that of id 1 first")
    return list(found.pop())


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise DataError(
            f"cannot read words from {path} ({error.strerror}): give a captions.pickle, or text with one word a line"
        ) from error


def _unpickled(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="utf-8").load()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error}): {_WANTED}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path} is cut short, no pickle, or holds more than captions ({_line(error)}): {_WANTED}") from error


def _lines(path: Path) -> list[str]:
    try:
        words = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read words from {path} ({error}): give UTF-8 text with one word a line") from error
    if not words or any(not word or word != word.strip() for word in words):
        raise DataError(f"{path} holds a line that is not a word: give one word a line, that of id 1 first")
    return words


def _orders(content: Any, depth: int = 0) -> Iterator[list[str]]:
    """Every numbering of words in a file, as the words of ids from 1; id 0 is padding."""
    if not isinstance(content, (Mapping, list, tuple)) or depth > 3:
        return
    pairs = list(content.items()) if isinstance(content, Mapping) else []
    if len(pairs) > 1 and all(isinstance(word, str) and type(number) is int for word, number in pairs):
        pairs = [(number, word) for word, number in pairs]
    elif pairs and all(isinstance(number, str) and number.isdecimal() and isinstance(word, str) for number, word in pairs):
        pairs = [(int(number), word) for number, word in pairs]  # JSON has no other keys than text
    words = {number: word for number, word in pairs if type(number) is int and isinstance(word, str)}
    if len(words) > 1 and len(words) == len(pairs) and set(words) in (set(range(len(words))), set(range(1, len(words) + 1))):
        yield [words[number] for number in sorted(words) if number]
        return
    for value in content.values() if isinstance(content, Mapping) else content[:16]:
        yield from _orders(value, depth + 1)


def _are_captions(captions: Any) -> bool:
    return isinstance(captions, list) and all(
        isinstance(caption, (list, tuple)) and all(isinstance(word, int) for word in caption) for caption in captions
    )


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
