"""The vocabulary and captions that AttnGAN's code, and that of its heirs, keeps beside its weights: `captions.pickle`."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.core.errors import CheckpointError, DataError

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
    try:
        with path.open("rb") as file:
            content = _PlainUnpickler(file, encoding="utf-8").load()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error}): {_WANTED}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path} is cut short, no pickle, or holds more than captions ({_line(error)}): {_WANTED}") from error
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


def _are_captions(captions: Any) -> bool:
    return isinstance(captions, list) and all(
        isinstance(caption, (list, tuple)) and all(isinstance(word, int) for word in caption) for caption in captions
    )


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
