"""Generators of garden pictures whose right scores are known, and a matching model that needs no training, to see what an evaluation tells.

`docs/scores.md` has the table of what they score, `tests/metrics/scoring/test_known.py` what theory demands of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.core.pictures import CaptionedPictures
from limner.data.garden import Garden, Scenes, paint
from limner.features.garden_judge import AttributeJudge, load_judge
from limner.metrics.faithfulness import NAMES, UNNAMED, fitting_scenes, named_codes
from limner.metrics.judge import to_tensor
from limner.metrics.scoring.sources import Painter
from limner.metrics.scoring.survey import stored


class Reader:
    """A matching model of garden pictures without any training: a picture is what the judge reads in it, and a caption fits it but for the
    attributes that it names and the picture does not have. similarity: 6, less the number of such attributes.
    """

    name, resize = "reader", AttributeJudge.resize

    def __init__(self) -> None:
        self.judge = load_judge()
        self.content_hash = self.judge.content_hash

    @torch.no_grad()
    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] -> [B, D]: the probability of every value of every attribute, and a one."""
        logits = self.judge.read(pictures).logits
        return torch.cat([*(logits[name].softmax(1) for name in NAMES), torch.ones(len(pictures), 1)], dim=1)

    def embed_captions(self, captions: list[str]) -> Tensor:
        """B captions -> [B, D]: a one for every value that is named, and the number of attributes that are not."""
        named = torch.from_numpy(named_codes(captions))
        widths = [len(self.judge.attributes[name]) for name in NAMES]
        columns = [F.one_hot(codes.clamp_min(0), width) * (codes != UNNAMED)[:, None] for codes, width in zip(named.T, widths, strict=True)]
        return torch.cat([*columns, (named == UNNAMED).sum(1, keepdim=True)], dim=1).float()

    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """[P, D] and [C, D] -> [P, C]."""
        return pictures @ captions.T


@dataclass(frozen=True)
class Known:
    """Painters of a split of the garden at one resolution."""

    split: str
    resolution: int
    training: CaptionedPictures

    def perfect(self, captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        """What the captions say, with everything else as the garden has it."""
        rows = zip(named_codes(captions), samples.tolist(), strict=True)
        scenes = [next(iter(fitting_scenes(row, self.split, 1, seed + 1000, sample))) for row, sample in rows]
        return to_tensor(paint(scenes, self.resolution))

    def shuffled_captions(self, captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        """Each picture is that of the next caption in its batch."""
        return self.perfect([*captions[1:], *captions[:1]], samples, seed)

    def caption_ignored(self, captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        """Good pictures of the split, whatever the captions say."""
        garden = Garden(self.split, seed=seed + 9, length=int(samples.max()) + 1, resolution=self.resolution)
        return to_tensor(garden.pictures(samples))

    def one_picture_a_caption(self, captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        """What the captions say, always in the same way."""
        keys = [zlib.crc32(caption.encode()) % 100_000 for caption in captions]
        return self.perfect(captions, np.array(keys, dtype=np.int64), seed)

    def one_picture(self, captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        """One picture for everybody: collapse."""
        scene = Scenes(np.array([[0, 2, 1, 0, 1, 1]]), np.array([5], dtype=np.uint64))
        return to_tensor(paint(scene, self.resolution)).repeat(len(captions), 1, 1, 1)

    def training_pictures(self, captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        """Pictures of the training set, whatever the captions say: memorisation."""
        return stored(self.training, random.integers(len(self.training), seed, "known", samples))

    def noise(self, captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        """Coloured noise."""
        pixels = random.normal((3, self.resolution, self.resolution), seed, "known noise", samples) * 60 + 128
        return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))

    def painters(self) -> Iterator[tuple[str, Painter]]:
        """All of them by name."""
        painters: Mapping[str, Painter] = {
            "perfect": self.perfect,
            "shuffled captions": self.shuffled_captions,
            "caption ignored": self.caption_ignored,
            "one picture a caption": self.one_picture_a_caption,
            "one picture": self.one_picture,
            "training pictures": self.training_pictures,
            "noise": self.noise,
        }
        yield from painters.items()
