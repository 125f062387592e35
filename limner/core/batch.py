"""What a training step gets: `Batch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limner.core.text import TextFeatures


@dataclass
class Batch:
    """Pictures with their captions, on the training device.

    pictures: [B, 3, R, R] float32 in [-1, 1], at the phase's resolution.
    captions: B lists of the K captions drawn for each picture.
    texts: K features of those captions, each of B rows; empty while the text encoder itself is being trained.
    indices: [B] int64, the pictures' places in their split.
    samples: [B] int64, each row's number in the whole run, which decides its noise.
    classes: [B] int64 class ids, or None.
    counterfactual: features of captions that differ from `texts[0]` in one attribute or word, where the phase asks for them.
    counterfactual_captions: B lists of K, each caption with one attribute or word changed, where the phase asks for them.
    """

    pictures: Tensor
    captions: list[list[str]]
    texts: tuple[TextFeatures, ...]
    indices: NDArray[np.int64]
    samples: NDArray[np.int64]
    seed: int
    classes: Tensor | None = None
    counterfactual: TextFeatures | None = None
    counterfactual_captions: list[list[str]] | None = None
    make_mismatched: Callable[[], Batch] | None = field(default=None, repr=False)
    make_unpaired: Callable[[], Batch] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return self.pictures.shape[0]

    @property
    def text(self) -> TextFeatures:
        """Features of the first caption drawn for each picture."""
        return self.texts[0]

    @cached_property
    def mismatched(self) -> Batch:
        """Another batch: for each row another picture, of another class where classes are known, with its own captions."""
        if self.make_mismatched is None:
            raise RuntimeError("this batch was made without a source of mismatched pictures")
        return self.make_mismatched()

    @cached_property
    def unpaired(self) -> Batch:
        """Another batch: pictures drawn from the whole split, with captions or not, without their captions."""
        if self.make_unpaired is None:
            raise RuntimeError("this batch was made without a source of unpaired pictures")
        return self.make_unpaired()

    def image(self, resolution: int) -> Tensor:
        """The pictures at a lower resolution, made on the device: [B, 3, resolution, resolution]."""
        if resolution == self.pictures.shape[-1]:
            return self.pictures
        return F.interpolate(self.pictures, size=(resolution, resolution), mode="bilinear", antialias=True, align_corners=False)
