"""The grids in `samples/`: the same captions and noises from the first to the last."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from limner.core import random
from limner.core.errors import LimnerError
from limner.core.settings import Recipe
from limner.data.catalog import open_data
from limner.data.pictures import CaptionedPictures
from limner.data.sheet import caption_grid
from limner.model import Model

CAPTIONS, PICTURES = 8, 6


class SampleGrid:
    """One row for each of a few captions that are not trained on (the val split's, where there is one), one column for each noise."""

    def __init__(self, recipe: Recipe, train: CaptionedPictures) -> None:
        self.seed = recipe.training.seed
        try:
            source = open_data(recipe.data, "val", recipe.resolution, recipe.data_settings, length=CAPTIONS * 8)
        except LimnerError:
            source = train
        pool = np.flatnonzero(source.caption_counts > 0)
        chosen = pool[random.permutation(len(pool), self.seed, "sample captions")[:CAPTIONS]]
        self.captions = [max(source.captions(int(index)), key=len) for index in chosen]

    def paint(self, model: Model, path: Path) -> None:
        """Paint the grid into a PNG file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        captions = [caption for caption in self.captions for _ in range(PICTURES)]
        pictures = model.pictures(captions, np.tile(np.arange(PICTURES), len(self.captions)), self.seed)
        rows = [list(pictures[start : start + PICTURES]) for start in range(0, len(pictures), PICTURES)]
        caption_grid(rows, self.captions).save(path)
