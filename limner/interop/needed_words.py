"""Which words of a file of word vectors are worth keeping: those of captions, of a list, and the file's first; and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from limner.core.errors import DataError, SettingsError
from limner.interop.importer import Progress
from limner.interop.word_vectors import Format, Found, read_word_vectors

if TYPE_CHECKING:
    from limner.text.word_vectors import WordVectors

SHOWN = 12
"""Missing words that are named in a line; the card names all of them."""


@dataclass
class Needed:
    """Words of captions with how often they occur, words of a list, and words that an encoder must have itself."""

    counts: Counter[str] = field(default_factory=Counter)
    listed: list[str] = field(default_factory=list)
    rare: int = 0
    """Words of captions that occur too seldom to be kept."""
    captions: list[tuple[str, str, frozenset[str]]] = field(default_factory=list)
    """Each caption once: the key of a picture that has it, its text, its words."""

    def words(self) -> list[str]:
        """All of them, those of captions first and the most frequent of these first."""
        by_count = sorted(self.counts, key=lambda word: (-self.counts[word], word))
        return list(dict.fromkeys([*by_count, *self.listed]))


def needed_words(cut: Callable[[str], list[str]], data: str | None, vocabulary: Path | None, minimum_count: int = 1) -> Needed:
    """The words of all captions of a data set, and those of a text file, cut as the encoder cuts them.

    Raises DataError or SettingsError where there is no such data set or file, or no word in it.
    """
    from limner.data.catalog import BUILT_IN, open_data

    needed = Needed()
    if data is not None:
        pictures = open_data(data, "all", 64 if data in BUILT_IN else 8)
        seen: set[str] = set()
        for index in range(len(pictures)):
            for caption in pictures.captions(index):
                words = [word for word in cut(caption) if word]
                needed.counts.update(words)
                if caption not in seen:
                    seen.add(caption)
                    needed.captions.append((pictures.key(index), caption, frozenset(words)))
        if not needed.counts:
            raise DataError(f"'{data}' has no captions, so that no word is needed: give data with captions, or --vocabulary FILE")
        kept = {word: count for word, count in needed.counts.items() if count >= minimum_count}
        needed.rare, needed.counts = len(needed.counts) - len(kept), Counter(kept)
    if vocabulary is not None:
        needed.listed = [word for line in _lines(vocabulary) for word in cut(line) if word]
        if not needed.listed:
            raise DataError(f"{vocabulary} holds no word: give a text file with a word in each line")
    return needed


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: give --vocabulary a text file with a word in each line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} ({error}): give --vocabulary a text file in UTF-8 with a word in each line") from None


@dataclass(frozen=True)
class Kept:
    """A table of word vectors, and what there is to say of it."""

    table: WordVectors
    found: Found
    lines: list[str]
    """Sentences on what was kept and what is missing."""
    missing: list[str]
    """The words of captions and of the list that have no vector."""


def keep_words(
    path: Path,
    form: Format,
    needed: Needed,
    *,
    cutting: str,
    first: int = 0,
    marks: Sequence[str] = (),
    progress: Progress | None = None,
) -> Kept:
    """The needed words' vectors. first: the file's first so many words are kept, too; marks: words that the encoder itself puts in.

    Under the cutting "words", a word that the file has with capitals alone gives its vector to the word in lower case.
    Raises DataError where the file cannot be read, and SettingsError where not one needed word is in it.
    """
    import numpy as np

    from limner.text.word_vectors import WordVectors
    from limner.text.words import split_words

    words = [*dict.fromkeys([*needed.words(), *marks])]
    if not words and not first:
        raise SettingsError("no word is needed: give --data DIR, --vocabulary FILE or --first N")
    reachable = (lambda word: split_words(word) == [word]) if cutting == "words" else (lambda word: not word.isspace())
    found = read_word_vectors(path, words, form, any_case=cutting == "words", first=first, keep=reachable, progress=progress)
    kept = [word for word in [*words, *found.first] if word in found.vectors]
    if not set(kept) - set(marks):
        raise SettingsError(
            f"{path} has a vector for none of the {len(words):,} words that are needed: give vectors of the captions' language"
        )
    table = WordVectors(kept, np.stack([found.vectors[word] for word in kept]))
    missing = [word for word in needed.words() if word not in found.vectors]
    return Kept(table, found, list(_said(path, needed, found, kept, missing, marks)), missing)


def _said(path: Path, needed: Needed, found: Found, kept: Collection[str], missing: list[str], marks: Sequence[str]) -> list[str]:
    said = [f"{len(kept):,} of the {found.lines:,} words of {path.name} ({found.form}, {found.width} numbers a word) are kept"]
    if needed.rare:
        said.append(f"{needed.rare:,} words of the captions occur too seldom (--minimum-count) and are left out")
    if found.recased:
        shown = ", ".join(f"'{theirs}' for '{ours}'" for ours, theirs in list(found.recased.items())[:3])
        said.append(f"{len(found.recased):,} words are in the file with capitals alone, whose vectors are taken ({shown})")
    if found.spaced:
        said.append(
            f"{found.spaced:,} words of the file hold spaces and are left out, for no caption's word does (first {found.spaced_at})"
        )
    if missing:
        total = sum(needed.counts.values())
        share = f" ({sum(needed.counts[word] for word in missing) / total:.1%} of all words spoken)" if total else ""
        said.append(f"{len(missing):,} of {len(needed.words()):,} words have no vector{share}: {_listed(missing)}")
    for mark in marks:
        if mark not in found.vectors:
            said.append(f"the file has no vector for the mark '{mark}', which is read as zeros")
    if silent := [(key, caption) for key, caption, words in needed.captions if not words & found.vectors.keys()]:
        key, caption = silent[0]
        said.append(
            f"warning: {len(silent):,} of {len(needed.captions):,} captions hold no word with a vector, and say nothing to the encoder, "
            f"such as '{caption[:40]}' of '{key}': correct them, or give vectors that know their words"
        )
    return said


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN:,} more (all of them are in the card, README.md)" if len(words) > SHOWN else ""
    return ", ".join(f"'{word}'" for word in words[:SHOWN]) + more


def card(title: str, kept: Kept, path: Path, reads: str) -> str:
    """The card of an encoder made of word vectors: what it is, where it comes from, how it reads, which words it lacks."""
    lines = "\n".join(f"- {line}" for line in kept.lines)
    missing = f"\n## Words without a vector\n\n{', '.join(kept.missing)}\n" if kept.missing else ""
    return f"""# {title}

{reads}

Imported by Limner from `{path.name}`:

{lines}

The vectors belong to whoever trained them, under their terms.
{missing}"""
