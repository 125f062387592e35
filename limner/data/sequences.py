"""Which frames make which story, while a set is prepared; and captions that are made of a frame's attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import DataError
from limner.data import clevr
from limner.data.refusals import Reject
from limner.data.sources import Sample
from limner.text.number_rows import as_caption

CaptionsFrom = Literal["text", "attributes", "clevr"]
"""Where captions come from: what is written, a sample's attributes as a row of numbers, or CLEVR-SV's attributes as sentences."""


def described(sample: Sample, captions_from: CaptionsFrom) -> Sample:
    """A sample whose captions are made of its attributes; what is wrong with these is its problem."""
    if captions_from == "text" or not sample.counts or sample.problem:
        return sample
    values = sample.labels.attributes
    is_clevr = values is not None and clevr.is_clevr(values)
    if values is None or (captions_from == "clevr" and not is_clevr):
        wanted = (
            "attributes of CLEVR-SV (75 numbers, as its objects have them)" if captions_from == "clevr" else "attributes that are numbers"
        )
        return replace(sample, captions=(), problem=f"sample without {wanted}")
    categories = sample.labels.categories
    if categories is None and is_clevr:
        categories = clevr.categories(values)
    captions = clevr.sentences(values) if captions_from == "clevr" else (as_caption(values),)
    return replace(sample, captions=captions, labels=replace(sample.labels, categories=categories))


@dataclass
class StoryIndex:
    """Notes every frame of every story (`note`), looks whether stories are alike (`check`), and where their frames are kept (`put`)."""

    known: dict[str, dict[int, tuple[str, str]]] = field(default_factory=dict)
    """For each story its frames, with the names and the sources of their pictures."""
    first: int = 0
    frames: int = 0
    """Frames of a story, once `check` has seen all; 0 without stories."""
    _put: dict[str, dict[int, tuple[str, int]]] = field(default_factory=dict)

    def note(self, sample: Sample) -> None:
        """Take up a sample, whether it can be used or not. Raises DataError for a frame that is there already."""
        story, frame = sample.labels.story, sample.labels.frame
        if story is None or frame is None:
            return
        frames = self.known.setdefault(story, {})
        if frame in frames:
            other, source = frames[frame]
            if source != sample.source:
                raise DataError(
                    f"story '{story}' is in {source} and in {sample.source}, both with a frame {frame}: give the stories of each source "
                    "other names, or prepare the sources apart"
                )
            raise DataError(f"story '{story}' has its frame {frame} twice, '{other}' and '{sample.key}': give one another number")
        frames[frame] = sample.key, sample.source

    def check(self) -> None:
        """Raise DataError where stories are not of one length."""
        if not self.known:
            return
        self.first = min(min(frames) for frames in self.known.values())
        lengths = {story: max(frames) - self.first + 1 for story, frames in self.known.items()}
        self.frames = max(lengths.values())
        shortest = min(lengths, key=lengths.__getitem__)
        longest = max(lengths, key=lengths.__getitem__)
        if lengths[shortest] != self.frames:
            last = max(self.known[longest])
            key, source = self.known[longest][last]
            raise DataError(
                f"stories have unequal lengths: '{longest}' has a frame {last} ('{key}' in {source}), and the last frame of '{shortest}' "
                f"is {max(self.known[shortest])}: make all alike, prepare them apart, or rename the fields story and frame if they mean "
                "something else"
            )
        if self.frames < 2:
            raise DataError(f"every story has one frame, such as '{longest}': number the frames of a story, or leave story and frame out")

    def put(self, sample: Sample, split: str, row: int) -> None:
        """Say where a frame is kept. Raises DataError where its story is in another split."""
        story, frame = sample.labels.story, sample.labels.frame
        if story is None or frame is None:
            return
        own = self._put.setdefault(story, {})
        other = next((theirs for theirs, _ in own.values() if theirs != split), None)
        if other is not None:
            raise DataError(f"story '{story}' has frames in the splits {other} and {split}: put all of a story into one")
        own[frame] = split, row

    def table(self, lengths: Mapping[str, int]) -> NDArray[np.int64]:
        """The places of whole stories' frames among all pictures, [S, F], where splits of these lengths lie one after the other."""
        starts, start = {}, 0
        for split, length in lengths.items():
            starts[split], start = start, start + length
        wanted = range(self.first, self.first + self.frames)
        whole = [own for own in self._put.values() if len(own) == self.frames]  # none without stories
        rows = [[starts[own[frame][0]] + own[frame][1] for frame in wanted] for own in whole]
        return np.array(sorted(rows), dtype=np.int64).reshape(len(rows) if self.frames else 0, self.frames)

    def rejects(self) -> list[Reject]:
        """A line for each story that lacks frames."""
        return [
            Reject(f"story {story}", "", f"story without its frame{'s' * (len(frames) > 1)} {', '.join(map(str, frames))}")
            for story, frames in self.missing()
        ]

    def missing(self) -> list[tuple[str, list[int]]]:
        """Stories that lack frames, and which."""
        wanted = range(self.first, self.first + self.frames)
        lacks = [(story, [frame for frame in wanted if frame not in self._put.get(story, {})]) for story in self.known]
        return [(story, frames) for story, frames in lacks if frames]
