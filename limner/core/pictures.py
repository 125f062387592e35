"""What every set of captioned pictures offers, whether it is painted, prepared or streamed."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import SettingsError
from limner.core.worlds import Holds

if TYPE_CHECKING:
    from limner.core.layout import Layout


class CaptionedPictures(ABC):
    """One split of a set of captioned pictures, at rest: uint8 pictures that random access reads, and their words.

    name: the data set, as the user names it; split: "train", "val", "test" or "all".
    stored_resolution: side S of the stored pictures, at least `resolution`; what is beyond it is the margin that random crops use.
    class_ids: [N] int64, or None where there are no classes; class_count: number of classes in the whole set (all splits); class_names: a
    name for each, or None.
    may_flip: whether mirroring leaves the captions true; mirrorable: [N] bool where it does so for some pictures only, else None.
    mirrored: whether a run wants pictures mirrored where they may be (`data.flip`).
    stories: [S, F] int64, the places of each story's F pictures in this split, in order; None where there are no stories.
    category_names: names of what a picture may show several of, such as characters, in the order of `categories`; empty without them.
    label_names: names of the things that layouts place, in the order of their labels; empty without layouts.
    holds: what is known of every picture of a built-in set (`limner.core.worlds`); None of a set of anybody's own.
    fingerprint: a short string that changes with any picture or caption: part of every score's protocol.
    """

    name: str
    split: str
    resolution: int
    stored_resolution: int
    class_ids: NDArray[np.int64] | None
    class_count: int
    class_names: Sequence[str] | None = None
    may_flip: bool
    mirrorable: NDArray[np.bool_] | None = None
    mirrored: bool = True
    stories: NDArray[np.int64] | None = None
    category_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    holds: Holds | None = None
    fingerprint: str

    @abstractmethod
    def __len__(self) -> int: ...

    def __repr__(self) -> str:
        captions = f"{int(self.caption_counts.sum()):,} captions"
        classes = f", {self.class_count:,} classes" if self.class_count else ""
        return f"<{self.name}, {self.split} split: {len(self):,} pictures of {self.resolution} px, {captions}{classes}>"

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One picture with its words, as `torch.utils.data.DataLoader` takes them: "picture", its middle without the margin, [3, R, R]
        float in [-1, 1]; "caption", the first of its `captions`, or empty; "class", -1 where there is none; "key".

        Raises IndexError beyond the last picture, and SettingsError for anything but a whole number, such as a slice; `read` takes several.
        """
        import torch

        try:
            place = range(len(self))[operator.index(index)]
        except TypeError:
            raise SettingsError(f"the index of a picture is {index!r}: give a whole number; `read` takes several") from None
        start = (self.stored_resolution - self.resolution) // 2
        middle = self.read([place])[0, start : start + self.resolution, start : start + self.resolution]
        return {
            "picture": torch.from_numpy(np.ascontiguousarray(middle)).permute(2, 0, 1).float().div_(127.5).sub_(1.0),
            "caption": next(iter(self.captions(place)), ""),
            "class": -1 if self.class_ids is None else int(self.class_ids[place]),
            "key": self.key(place),
        }

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every picture with its words, in order."""
        return (self[index] for index in range(len(self)))

    @abstractmethod
    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures: [n, S, S, 3] uint8."""

    @property
    def ahead(self) -> bool:
        """Whether pictures come sooner where `expect` says before which will be read."""
        return False

    def expect(self, indices: NDArray[np.int64]) -> None:  # noqa: B027  # most sets have their pictures at hand
        """Begin to get these pictures, which will be read soon."""

    @abstractmethod
    def captions(self, index: int) -> list[str]:
        """All captions of one picture (none for an uncaptioned one). Raises IndexError beyond the last picture."""

    @property
    @abstractmethod
    def caption_counts(self) -> NDArray[np.int64]:
        """[N] int64: how many captions each picture has."""

    def wordless(self) -> list[tuple[int, str]]:
        """Captions that hold no word and are left out of `captions`: the number of the picture, and the text."""
        return []

    @abstractmethod
    def key(self, index: int) -> str:
        """The picture's name in its source."""

    def layouts(self, indices: NDArray[np.int64]) -> Layout | None:
        """What stands where in the stored pictures, margins included; None where the set does not know."""
        return None

    def categories(self, indices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which categories some pictures show: [n, C]; None where there are no `category_names`."""
        return None

    @abstractmethod
    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        """A caption that differs from caption number `caption` of the picture in one attribute or one word; `draw` chooses which."""

    def check_counterfactuals(self) -> None:  # noqa: B027  # most sets know what makes a caption false
        """Raise DataError where some caption has no `counterfactual`."""

    def counterfactuals(self, indices: NDArray[np.int64], captions: NDArray[np.int64], draws: NDArray[np.int64]) -> list[str]:
        """`counterfactual` of many captions at once."""
        return [self.counterfactual(int(i), int(k), int(d)) for i, k, d in zip(indices, captions, draws, strict=True)]
