"""The codes of the training pictures, computed once: a transformer that learns to write them needs no picture then."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.core.pictures import CaptionedPictures
from limner.data.loader import Views, to_network
from limner.families.codes.dvae import DVAE

CHUNK = 64
"""Pictures that are encoded at a time: always the same ones together, so that their codes are the same whenever a run begins or goes on."""


class CodeBank:
    """codes: [N, views, W * W] int16 or int32, on the CPU."""

    def __init__(self, codes: Tensor) -> None:
        self.codes = codes

    @classmethod
    @torch.no_grad()
    def of(cls, dvae: DVAE, pictures: CaptionedPictures, resolution: int, views: int) -> CodeBank:
        """Encode so many views of each picture (`planned_views`)."""
        device = next(dvae.parameters()).device
        dtype = torch.int16 if dvae.codes <= 1 << 15 else torch.int32
        found = torch.zeros(len(pictures), distinct_views(pictures, views), (resolution >> dvae.halvings) ** 2, dtype=dtype)
        for start in range(0, len(pictures), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(pictures)))
            stored = pictures.read(rows)
            for view in range(found.shape[1]):
                shown = to_network(planned_views(pictures, rows, view).of_pictures(stored), resolution, device)
                with torch.autocast(device.type, enabled=False):
                    found[start : start + len(rows), view] = dvae.encode(shown).flatten(1).to("cpu", dtype)
        return cls(found)

    def draw(self, indices: NDArray[np.int64], samples: NDArray[np.int64], seed: int) -> Tensor:
        """The codes of one view of each of these pictures, which its sample number decides: [B, W * W] int64."""
        views = random.integers(self.codes.shape[1], seed, "view of the picture", samples)
        return self.codes[torch.from_numpy(indices), torch.from_numpy(views)].long()

    def used(self, codes: int) -> Tensor:
        """How often each of so many codes occurs: [V]."""
        return torch.bincount(self.codes.flatten().long(), minlength=codes)


def distinct_views(pictures: CaptionedPictures, views: int) -> int:
    """How many different views there can be: without a margin to crop from, a picture and its mirror image."""
    most = 1 + (pictures.may_flip and pictures.mirrored) if pictures.stored_resolution == pictures.resolution else views
    return min(views, most)


def planned_views(pictures: CaptionedPictures, rows: NDArray[np.int64], view: int) -> Views:
    """A view of these pictures: the first is the centre as it is; others are crops at places of their own, and every other one is mirrored
    where that leaves the captions true. Which they are follows from the pictures' numbers alone."""
    margin = pictures.stored_resolution - pictures.resolution
    tops = lefts = np.full(len(rows), margin // 2)
    if view and margin:
        tops, lefts = (random.integers(margin + 1, axis, view, rows) for axis in ("top of a view", "left of a view"))
    mirrored = np.full(len(rows), pictures.may_flip and pictures.mirrored and view % 2 == 1)
    if pictures.mirrorable is not None:
        mirrored &= pictures.mirrorable[rows]
    return Views(pictures.stored_resolution, pictures.resolution, tops, lefts, mirrored)
