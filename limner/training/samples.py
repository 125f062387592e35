"""The grids in `samples/`: the same captions and noises from the first to the last."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from limner.core import random
from limner.core.errors import LimnerError, SettingsError
from limner.core.files import save_whole
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Recipe
from limner.data.catalog import open_data
from limner.data.pngwords import with_captions
from limner.data.reduced import at_resolution
from limner.data.sheet import caption_grid
from limner.data.stories import ToldSoFar, told_alone
from limner.model import Model
from limner.model.requests import check_caption
from limner.model.stories import told
from limner.text.encoder import TextEncoder
from limner.training.health import diversity, mean_distance

CAPTIONS, PICTURES = 8, 6
AT_ONCE = 8
"""Pictures that are painted at a time, so that a grid takes no more memory than a step of training."""
MOST_REFUSED = 1000
"""Pictures whose captions are looked at in vain before a split is given up."""
REAL_PICTURES = 64
"""Training pictures that say how much real ones differ."""


class SampleGrid:
    """One row for each of a few captions that are not trained on, one column for each noise.

    The captions are the val split's or, where that is trained on too, the test split's; the train split's where there is no such split,
    or none of its captions has a word that the encoder knows. They are chosen when a run begins: what cannot be painted is found out then.

    encoder: what the painter reads through; without captions, every picture has a noise of its own. frames: those of a story, where stories
    are told: then rows are frames one after another, and a column is a telling of each story.
    remark: what is to be said of the choice, or None. Raises SettingsError where no caption at all can be painted.
    """

    def __init__(self, recipe: Recipe, train: CaptionedPictures, encoder: TextEncoder, frames: int = 0) -> None:
        self.seed, self.frames = recipe.training.seed, frames
        self.remark: str | None = None
        self.captions = self._choose(recipe, train, encoder) if encoder.reads else [""] * CAPTIONS
        self.numbers = np.tile(np.arange(PICTURES), len(self.captions)) if encoder.reads else np.arange(CAPTIONS * PICTURES)

        self._train = train
        # the name decides which pictures these are: as it is, for the sake of runs that were begun
        self._real = np.sort(random.permutation(len(train), self.seed, "real pictures beside the samples")[:REAL_PICTURES])
        self._real_distances: dict[int, float] = {}

    def _choose(self, recipe: Recipe, train: CaptionedPictures, encoder: TextEncoder) -> list[str]:
        held_out = "test" if recipe.data_settings.trainval else "val"
        try:
            source = open_data(recipe.data, held_out, recipe.resolution, recipe.data_settings, length=CAPTIONS * 8)
            source = told_alone(source) if isinstance(train, ToldSoFar) else source
        except LimnerError:
            source = train
        chosen, refused = self._paintable(source, encoder)
        if not chosen and source is not train:
            chosen, _ = self._paintable(train, encoder)
            none = f"no caption of the {source.split} split"
            why = f"{none} can be painted, such as '{refused[0]}'" if refused else f"there is {none}"
            self.remark = f"sample grid: {why}: it shows training captions"
        elif refused:
            self.remark = (
                f"sample grid: left out {len(refused)} captions of the {source.split} split that cannot be painted, such as '{refused[0]}'"
            )
        if not chosen:
            raise SettingsError(f"no caption can be painted, such as '{refused[0]}'" if refused else "there are no captions")
        return chosen

    def _paintable(self, source: CaptionedPictures, encoder: TextEncoder) -> tuple[list[str], list[str]]:
        """The longest caption of each of a few pictures that the encoder can read, and those that were passed over for that.

        Where stories are told, they are those of whole stories.
        """
        pool = np.flatnonzero(source.caption_counts > 0)[:, None] if not self.frames else source.stories
        if pool is None:
            return [], []
        chosen: list[str] = []
        refused: list[str] = []
        for group in pool[random.permutation(len(pool), self.seed, "sample captions")].tolist():
            if len(chosen) + len(group) > max(CAPTIONS, len(group)) or len(refused) >= MOST_REFUSED:
                break
            captions = [sorted(source.captions(index), key=len, reverse=True) for index in group]
            readable = [next((caption for caption in own if _can_be_read(encoder, caption)), None) for own in captions]
            found = [caption for caption in readable if caption is not None]
            if len(found) == len(group):
                chosen += found
            else:
                refused += [own[0] for own, caption in zip(captions, readable, strict=True) if caption is None and own]
        return chosen, refused

    def paint(self, model: Model) -> NDArray[np.uint8]:
        """Paint the grid: [captions, noises, H, W, 3]."""
        if self.frames:
            stories = [self.captions[start : start + self.frames] for start in range(0, len(self.captions), self.frames)]
            shown = [told(model, [story] * PICTURES, range(PICTURES), self.seed).transpose(0, 1) for story in stories]  # [F, N, 3, H, W]
            return torch.cat(shown).permute(0, 1, 3, 4, 2).cpu().numpy()
        captions = [caption for caption in self.captions for _ in range(PICTURES)]
        pictures = model.pictures(captions, self.numbers, self.seed, AT_ONCE)
        return pictures.reshape(len(self.captions), PICTURES, *pictures.shape[1:])

    def save(self, pictures: NDArray[np.uint8], path: Path) -> None:
        """Write painted pictures into a PNG file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_whole(caption_grid([list(row) for row in pictures], self.captions), path, pnginfo=with_captions(self.captions))

    def diversity(self, pictures: NDArray[np.uint8]) -> dict[str, float]:
        """How much painted pictures differ, compared with real ones, for the log."""
        side = pictures.shape[-2]  # which a method that grows changes
        if side not in self._real_distances:
            self._real_distances[side] = mean_distance(at_resolution(self._train, side).read(self._real))
        return diversity(pictures, self._real_distances[side])


def _can_be_read(encoder: TextEncoder, caption: str) -> bool:
    """Whether the encoder can read a caption: it is tried, without a trace in the training."""
    training = encoder.training
    try:
        check_caption(encoder, caption)
        with torch.no_grad():
            encoder.eval()([caption])
    except Exception:  # whatever it is, it would come back with every grid
        return False
    finally:
        encoder.train(training)
    return True
