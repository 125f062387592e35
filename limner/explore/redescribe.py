"""What a model reads in its own pictures: the caption, the picture, and what its captioner says of it (MirrorGAN, CVPR 2019)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from limner.core.abilities import Describes
from limner.data.sheet import contact_sheet
from limner.explore.lacking import lacking
from limner.features.network import to_float
from limner.model.requests import check_asked, check_count
from limner.text.words import split_words

if TYPE_CHECKING:
    from limner.model import Model


@dataclass(frozen=True)
class Redescribed:
    """A picture [H, W, 3] uint8 between two captions: the one it was painted from, and the one that was read in it."""

    caption: str
    picture: NDArray[np.uint8]
    said: str

    @property
    def words(self) -> float:
        """Share of the caption's words that were said again, 0 to 1: `overlap` of single words."""
        return overlap(self.caption, self.said, 1)

    @property
    def pairs(self) -> float:
        """Share of the caption's pairs of neighbouring words that were said again."""
        return overlap(self.caption, self.said, 2)


def overlap(caption: str, said: str, length: int) -> float:
    """Share of a caption's runs of `length` words that another sentence has, each as often as it has it: recall, as in ROUGE-N.

    BLEU's precision is the same with the two exchanged. 0 where the caption has no such run.
    """
    wanted, found = (_runs(text, length) for text in (caption, said))
    return (wanted & found).total() / max(wanted.total(), 1)


def _runs(text: str, length: int) -> Counter[tuple[str, ...]]:
    words = split_words(text)
    return Counter(tuple(words[start : start + length]) for start in range(len(words) - length + 1))


@torch.inference_mode()
def redescribe(model: Model, captions: Sequence[str], *, count: int = 1, seed: int = 0, reader: Model | None = None) -> list[Redescribed]:
    """Paint each caption `count` times and read the pictures back, caption by caption.

    reader: the model whose captioner reads, by default the one that paints. Raises SettingsError for a caption that the model cannot
    read, a count below 1, and a reader without a captioner.
    """
    check_count("--count", count)
    check_asked(model.encoder, captions)
    asked = [caption for caption in captions for _ in range(count)]
    pictures = model.pictures(asked, np.tile(np.arange(count), len(captions)), seed)
    return [
        Redescribed(caption, picture, said) for caption, picture, said in zip(asked, pictures, read(reader or model, pictures), strict=True)
    ]


def read(model: Model, pictures: NDArray[np.uint8], batch_size: int = 64) -> list[str]:
    """What a model's captioner says of pictures [B, H, W, 3]. Raises SettingsError where it has none."""
    method = model.method
    if not isinstance(method, Describes):
        fix = "give one of a method that describes (limner methods says which), such as mirrorgan, here or as --reader"
        raise lacking(model, f"this model has no captioner that describes pictures: {fix}")
    said: list[str] = []
    for start in range(0, len(pictures), batch_size):
        batch = torch.from_numpy(pictures[start : start + batch_size]).permute(0, 3, 1, 2)
        said += method.describe(to_float(batch.to(model.device)))
    return said


def redescribed_page(found: Sequence[Redescribed], columns: int = 4) -> Image.Image:
    """The pictures, each with both sentences under it and how far they agree."""
    return contact_sheet(
        [one.picture for one in found],
        [one.caption for one in found],
        columns,
        tile=240,
        notes=[[f"read: {one.said or '(nothing)'}", agreement(one)] for one in found],
    )


def agreement(one: Redescribed) -> str:
    """Both shares, in words."""
    return f"{one.words:.0%} of words, {one.pairs:.0%} of pairs"
