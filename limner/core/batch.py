"""What a training step gets: `Batch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limner.core.layout import Layout
from limner.core.text import TextFeatures


@dataclass(frozen=True)
class StoryText:
    """The whole stories that single frames were taken from.

    text: [B x F] features: for each row all F sentences of its story, in order.
    places: [B] int64, which frame of its story each row is, from 0; row b's own sentence is `text[b * F + places[b]]`.
    """

    text: TextFeatures
    places: NDArray[np.int64]

    @property
    def frames(self) -> int:
        """F, the frames of a story."""
        return len(self.text) // max(len(self.places), 1)

    def __getitem__(self, rows: slice) -> StoryText:
        start, stop, _ = rows.indices(len(self.places))
        return StoryText(self.text[start * self.frames : stop * self.frames], self.places[start:stop])


@dataclass
class Batch:
    """Pictures with their captions, on the training device.

    pictures: [B, 3, R, R] float32 in [-1, 1], at the phase's resolution.
    captions: B lists of the K captions drawn for each picture.
    texts: K features of those captions, each of B rows; empty while the text encoder itself is being trained.
    indices: [B] int64, the pictures' places in their split.
    samples: [B] int64, each row's number in the whole run, which decides its noise.
    classes: [B] int64 class ids, or None.
    counterfactuals: features of captions that differ from `texts[0]` in one attribute or word, as many a picture as the phase asks for.
    counterfactual_captions: B lists of K, each caption with one attribute or word changed, where the phase asks for them.
    layout: what stands where in the pictures, cropped and mirrored as they are, where the data set knows it.
    frames: pictures of one story; rows come story by story, the frames of each in order, and no story is cut.
    story: of single frames of stories (`draw("frames")`), the whole stories' text; None elsewhere.
    categories: [B, C] float32, 1 for each category that a picture shows and 0 for others, as `CaptionedPictures.category_names` counts
        them; None where the data set has none.
    draw_batch: makes another batch of a kind for the same rows, when a step asks for it (see `draw`).
    first, whole: which rows of the step's whole batch these are, where a step trains on a part at a time; None where this is all.
    """

    pictures: Tensor
    captions: list[list[str]]
    texts: tuple[TextFeatures, ...]
    indices: NDArray[np.int64]
    samples: NDArray[np.int64]
    seed: int
    classes: Tensor | None = None
    counterfactuals: tuple[TextFeatures, ...] = ()
    counterfactual_captions: list[list[str]] | None = None
    layout: Layout | None = None
    frames: int = 1
    story: StoryText | None = None
    categories: Tensor | None = None
    draw_batch: Callable[[str], Batch] | None = field(default=None, repr=False)
    first: int = 0
    whole: int | None = None
    _drawn: dict[str, Batch] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.pictures.shape[0]

    @property
    def text(self) -> TextFeatures:
        """Features of the first caption drawn for each picture."""
        return self.texts[0]

    @property
    def counterfactual(self) -> TextFeatures | None:
        """The first of the counterfactual captions drawn for each picture, None where the phase asks for none."""
        return self.counterfactuals[0] if self.counterfactuals else None

    def draw(self, kind: str) -> Batch:
        """Another batch of as many rows, made when it is first asked for.

        "mismatched": for each row another picture, of another class where classes are known, with its own captions; "unpaired": pictures
        of the whole split, with captions or not, without their captions; "pictures": captioned pictures one by one, whatever story they
        belong to; "frames": frames of stories one by one, with the text of their whole stories (`story`), where batches hold stories.
        """
        if self.draw_batch is None:
            raise RuntimeError(f"this batch was made without a source of further pictures, and cannot draw '{kind}' ones")
        if kind not in self._drawn:
            self._drawn[kind] = self.draw_batch(kind)
        return self._drawn[kind]

    @property
    def mismatched(self) -> Batch:
        """`draw("mismatched")`."""
        return self.draw("mismatched")

    @property
    def unpaired(self) -> Batch:
        """`draw("unpaired")`."""
        return self.draw("unpaired")

    def rows_of(self, share: float) -> int:
        """How many of these rows are among the first `share` (0 to 1) of the step's whole batch; they come first here, too."""
        whole = len(self) if self.whole is None else self.whole
        return min(max(round(share * whole) - self.first, 0), len(self))

    def part(self, rows: slice) -> Batch:
        """Some of the rows as a batch by itself, which knows its place in the whole; what it draws are the same rows' other pictures."""

        def drawn(kind: str) -> Batch:
            return self.draw(kind).part(rows)

        return replace(
            self,
            pictures=self.pictures[rows],
            captions=self.captions[rows],
            texts=tuple(text[rows] for text in self.texts),
            indices=self.indices[rows],
            samples=self.samples[rows],
            classes=None if self.classes is None else self.classes[rows],
            counterfactuals=tuple(text[rows] for text in self.counterfactuals),
            counterfactual_captions=None if self.counterfactual_captions is None else self.counterfactual_captions[rows],
            layout=None if self.layout is None else self.layout[rows],
            story=None if self.story is None else self.story[rows],
            categories=None if self.categories is None else self.categories[rows],
            draw_batch=drawn,
            first=self.first + rows.start,
            whole=len(self) if self.whole is None else self.whole,
            _drawn={},
        )

    def image(self, resolution: int) -> Tensor:
        """The pictures at a lower resolution, made on the device: [B, 3, resolution, resolution]."""
        if resolution == self.pictures.shape[-1]:
            return self.pictures
        return F.interpolate(self.pictures, size=(resolution, resolution), mode="bilinear", antialias=True, align_corners=False)
