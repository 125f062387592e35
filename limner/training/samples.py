"""The grids in `samples/`: the same captions and noises from the first to the last."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limner.core import random
from limner.core.errors import LimnerError
from limner.core.settings import Recipe
from limner.data.catalog import open_data
from limner.data.pictures import CaptionedPictures
from limner.data.pngwords import with_captions
from limner.data.reduced import at_resolution
from limner.data.sheet import caption_grid
from limner.model import Model
from limner.training.health import diversity, mean_distance

CAPTIONS, PICTURES = 8, 6
REAL_PICTURES = 64
"""Training pictures that say how much real ones differ."""


class SampleGrid:
    """One row for each of a few captions that are not trained on, one column for each noise.

    The captions are the val split's or, where that is trained on too, the test split's; the train split's where there is no such split.

    captioned: whether the painter reads captions; else every picture has a noise of its own.
    """

    def __init__(self, recipe: Recipe, train: CaptionedPictures, *, captioned: bool = True) -> None:
        self.seed = recipe.training.seed
        self.captions = self._choose(recipe, train) if captioned else [""] * CAPTIONS
        self.numbers = np.tile(np.arange(PICTURES), len(self.captions)) if captioned else np.arange(CAPTIONS * PICTURES)

        self._train = train
        self._real = np.sort(random.permutation(len(train), self.seed, "real pictures beside the samples")[:REAL_PICTURES])
        self._real_distances: dict[int, float] = {}

    def _choose(self, recipe: Recipe, train: CaptionedPictures) -> list[str]:
        held_out = "test" if recipe.data_settings.trainval else "val"
        try:
            source = open_data(recipe.data, held_out, recipe.resolution, recipe.data_settings, length=CAPTIONS * 8)
        except LimnerError:
            source = train
        pool = np.flatnonzero(source.caption_counts > 0)
        chosen = pool[random.permutation(len(pool), self.seed, "sample captions")[:CAPTIONS]]
        return [max(source.captions(int(index)), key=len) for index in chosen]

    def paint(self, model: Model) -> NDArray[np.uint8]:
        """Paint the grid: [captions, noises, H, W, 3]."""
        captions = [caption for caption in self.captions for _ in range(PICTURES)]
        pictures = model.pictures(captions, self.numbers, self.seed)
        return pictures.reshape(len(self.captions), PICTURES, *pictures.shape[1:])

    def save(self, pictures: NDArray[np.uint8], path: Path) -> None:
        """Write painted pictures into a PNG file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        caption_grid([list(row) for row in pictures], self.captions).save(path, pnginfo=with_captions(self.captions))

    def diversity(self, pictures: NDArray[np.uint8]) -> dict[str, float]:
        """How much painted pictures differ, beside real ones, for the log."""
        side = pictures.shape[-2]  # which a method that grows changes
        if side not in self._real_distances:
            self._real_distances[side] = mean_distance(at_resolution(self._train, side).read(self._real))
        return diversity(pictures, self._real_distances[side])
