"""What a model is asked for: captions that it can read, and seeds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from limner.core.asked import HIGHEST_SEED, whole_number
from limner.core.errors import LimnerWarning, SettingsError
from limner.text.encoder import TextEncoder
from limner.text.words import nearest_words, not_text

LONGEST_CAPTION = 2_000
"""Characters a caption may have."""
MOST_ASKED = 100_000
"""The largest number of pictures that can be asked for at once: they are all in memory before the first is written."""
_NAMED = 8
"""Unknown words that a message names."""


def seeds_of(seed: int | Sequence[int], generator: torch.Generator | None = None) -> list[int]:
    """The seeds that are asked for, each a whole number from 0 to 2^63 - 1. Raises SettingsError for anything else."""
    if generator is not None:
        if not isinstance(generator, torch.Generator):
            raise SettingsError(f"generator is {shortened(repr(generator))}: give a torch.Generator, or a seed in its place")
        return [int(torch.randint(HIGHEST_SEED, (), generator=generator, device=generator.device))]
    several = isinstance(seed, Sequence | np.ndarray) and np.ndim(seed) > 0
    found = [whole_number("a seed", value, 0, HIGHEST_SEED) for value in (seed if several else [seed])]  # type: ignore[union-attr]
    if not found:
        raise SettingsError("the list of seeds is empty: give one at least")
    return found


def captions_of(captions: Any) -> list[str]:
    """The captions that are asked for, where one text is one caption. Raises SettingsError for what is neither a text nor several."""
    if isinstance(captions, str):
        return [captions]
    if isinstance(captions, bytes) or not isinstance(captions, Iterable):
        raise _no_caption(captions)
    found = list(captions)
    for caption in found:
        if not isinstance(caption, str):
            raise _no_caption(caption)
    return found


def sample_numbers(samples: Any) -> NDArray[np.int64]:
    """Sample numbers [B]. Raises SettingsError for anything but whole numbers from 0 on."""
    found = np.asarray(samples)
    if found.ndim != 1 or (found.size and (found.dtype.kind not in "iu" or int(found.min()) < 0)):
        raise SettingsError(f"samples are {shortened(repr(samples))}: give a list of whole numbers from 0 on, one for each picture")
    return found.astype(np.int64)


def _no_caption(value: Any) -> SettingsError:
    return SettingsError(f"a caption is {shortened(repr(value))}: give a text, or a list of them")


def check_count(flag: str, count: int, least: int = 1, most: int = MOST_ASKED) -> None:
    """Raise SettingsError unless a number that was asked for by an option, or by an argument of this name, is within these bounds."""
    if not least <= count <= most:
        raise SettingsError(f"{flag} is {count:,}: give {least:,} to {most:,}")


def check_caption(encoder: TextEncoder, caption: str, suggest: bool = False, reader: str = "the model") -> None:
    """Raise SettingsError for a caption that cannot be painted, or judged, by what this encoder reads of it.

    suggest: name known words that look like the unknown ones, which takes a while where many captions are looked at. reader: whose encoder
    it is, as messages name it.
    """
    if not isinstance(caption, str):
        raise _no_caption(caption)
    if wrong := not_text(caption):
        raise SettingsError(wrong)
    shown = shortened(caption)
    if not encoder.reads:
        if caption.strip():
            raise SettingsError(f"{reader} reads no text, and cannot paint '{shown}': it makes pictures without a caption")
        return
    if not caption.strip():
        raise SettingsError("a caption is empty: say what to paint")
    if len(caption) > LONGEST_CAPTION:
        raise SettingsError(f"the caption '{shown}' has {len(caption):,} characters: shorten it to {LONGEST_CAPTION:,}")
    if not set(encoder.words(caption)) - set(encoder.unknown_words(caption)):
        found = strange_words(encoder, caption) if suggest else ""
        words = f" {found};" if "did you mean" in found else ""
        raise SettingsError(f"{reader} knows none of the words in '{shown}':{words} use words of the captions it was trained on")


def check_asked(encoder: TextEncoder, captions: Iterable[str], reader: str = "the model", stacklevel: int = 2) -> None:
    """Check captions that a user asked for, each once, and warn of what this encoder does not read of them.

    stacklevel: whose line the warning names, as `warnings.warn` counts from here. Raises SettingsError as `check_caption`.
    """
    each = list(dict.fromkeys(captions))
    for caption in each:
        check_caption(encoder, caption, suggest=True, reader=reader)
    for caption in each:
        if remark := unread(encoder, caption, reader):
            warnings.warn(remark, LimnerWarning, stacklevel=stacklevel)


def unread(encoder: TextEncoder, caption: str, reader: str = "the model") -> str:
    """What an encoder does not read of a caption, in words: what it never met, and an end that is too far. Empty where it reads all."""
    remarks = []
    if encoder.reads and (strange := strange_words(encoder, caption)):
        remarks.append(f"never met {strange}")
    if encoder.was_cut(caption):
        remarks.append(f"reads no further than {encoder.limit}")
    return f"{reader} {' and '.join(remarks)} in '{shortened(caption)}'" if remarks else ""


def strange_words(encoder: TextEncoder, caption: str) -> str:
    """The words of a caption that an encoder never met, as `Model.strange_words` gives them."""
    known, unknown = encoder.known_words(), encoder.unknown_words(caption)
    named = []
    for word in unknown[:_NAMED]:
        nearest = " or ".join(f"'{other}'" for other in nearest_words(word, known))
        named.append(f"'{shortened(word, 30)}'" + (f" (did you mean {nearest}?)" if nearest else ""))
    return ", ".join(named) + (f" and {len(unknown) - _NAMED:,} more" if len(unknown) > _NAMED else "")


def shortened(text: str, longest: int = 60) -> str:
    """The text in one line, cut where it is too long to be shown."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3] + "..."
