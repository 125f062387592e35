"""What the words of sources tell before any picture is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limner.core.errors import DataError
from limner.data.caption_checks import with_words
from limner.data.refusals import Reject
from limner.data.remote import Source
from limner.data.sequences import StoryIndex
from limner.data.sides import is_sided
from limner.data.sources import NO_CAPTION, Sample
from limner.data.splits import Splitter
from limner.data.thing_lists import ThingList
from limner.text.number_rows import as_caption
from limner.text.words import split_words

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many samples are done, and of how many (0 while that is not known)."""
Read = Callable[[], Iterator[Sample]]
"""Reads the samples of some sources, from the first on each time."""


@dataclass
class Survey:
    """What was counted."""

    total: int = 0
    rejects: list[Reject] = field(default_factory=list)
    ignored: list[Reject] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    shared_keys: set[str] = field(default_factory=set)
    """Names that several samples have."""
    captions: int = 0
    sided: int = 0
    uncaptioned: int = 0
    classless: int = 0
    samples: int = 0
    stories: StoryIndex = field(default_factory=StoryIndex)
    numbers: tuple[int, str] | None = None
    """Of captions that are rows of numbers, how many the first has, and its name."""

    def look_at_numbers(self, sample: Sample) -> None:
        """Raise DataError for a row of attributes of another length than the first one's, where such rows are the captions."""
        values = sample.labels.attributes
        if values is None or not sample.captions or sample.captions[0] != as_caption(values):
            return
        self.numbers = self.numbers or (len(values), sample.key)
        count, first = self.numbers
        if len(values) != count:
            raise DataError(f"'{sample.key}' in {sample.source} has {len(values)} attributes, and '{first}' has {count}: give all as many")


class Once:
    """Looks that no picture comes from two sources, as from a folder and another inside it: it could come into several splits."""

    def __init__(self, sources: Sequence[Source]) -> None:
        # Files are given once each, as `check_sources` knows: only a folder may hold what is another source too.
        self._needed = len(sources) > 1 and any(isinstance(source, Path) and source.is_dir() for source in sources)
        self._folders: dict[Path, str] = {}
        self._known: dict[tuple[str, str, tuple[int, ...]], str] = {}

    def note(self, sample: Sample) -> None:
        """Take up a picture. Raises DataError where another source has it."""
        if not self._needed or sample.picture is None:
            return
        path = sample.picture.path
        if path.parent not in self._folders:
            self._folders[path.parent] = os.path.realpath(path.parent)
        name = f"{sample.source}/{sample.file}"
        other = self._known.setdefault((self._folders[path.parent], path.name, sample.picture.start), name)
        if other is not name:
            raise DataError(
                f"'{other}' and '{name}' are the same picture, given by two sources: leave out the source that is inside the other, or "
                "that the other has a link to"
            )


def look_through(
    read: Read, sources: Sequence[Source], splitter: Splitter, things: ThingList | None, uncaptioned: bool, tell: Progress
) -> Survey:
    """Read the words of all samples of some sources, once, and settle which of them a list of things means."""
    survey, once = Survey(), Once(sources)
    for sample, _ in map(with_words, read()):
        if not sample.counts:
            survey.ignored.append(Reject.of(sample, sample.problem or ""))
            continue
        survey.total += 1
        survey.stories.note(sample)
        if survey.total % 256 == 0:
            tell("reading captions", survey.total, 0)
        if reason := refusal(sample, uncaptioned):
            survey.rejects.append(Reject.of(sample, reason))
            continue
        once.note(sample)
        (survey.shared_keys if sample.key in survey.keys else survey.keys).add(sample.key)
        survey.samples += 1
        survey.captions += len(sample.captions)
        survey.uncaptioned += not sample.captions
        survey.classless += sample.labels.class_key is None
        survey.sided += sum(map(is_sided_text, sample.captions))
        splitter.count(sample)
        if things is not None:
            things.note(sample)
        survey.look_at_numbers(sample)
    survey.stories.check()
    if things is not None:
        things.settle()
    return survey


def refusal(sample: Sample, uncaptioned: bool) -> str | None:
    """Why a sample is left out, as far as its words tell."""
    return sample.problem or (None if sample.captions or uncaptioned else NO_CAPTION)


def is_sided_text(caption: str) -> bool:
    """Whether a caption speaks of left or right."""
    return is_sided(split_words(caption))
