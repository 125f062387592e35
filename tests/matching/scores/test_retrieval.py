"""R-precision of real pictures: one true caption and 99 wrong ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from shared.pictures import Captioned
from torch import Tensor, nn

from limner.core.errors import DataError
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.matching.scores.retrieval import r_precision, retrieval

PICTURES = GardenPictures(Garden("test", length=400, resolution=8))


class Told(nn.Module):
    """Knows which captions are each picture's (or their class's) own, and likes them by `sign`."""

    def __init__(self, sign: float, by_class: bool = False) -> None:
        super().__init__()
        self.sign, self.by_class = sign, by_class
        self.owners: dict[str, set[int]] = {}
        for index in range(len(PICTURES)):
            for caption in PICTURES.captions(index):
                self.owners.setdefault(caption, set()).add(self.number(index))

    def number(self, index: int) -> int:
        assert PICTURES.class_ids is not None
        return int(PICTURES.class_ids[index]) if self.by_class else index

    def embed_stored(self, pictures: GardenPictures, indices: NDArray[np.int64]) -> Tensor:
        return nn.functional.one_hot(torch.tensor([self.number(int(index)) for index in indices]), len(PICTURES)).float()

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        rows = torch.zeros(len(captions), len(PICTURES))
        for row, caption in enumerate(captions):
            rows[row, list(self.owners[caption])] = 1.0
        return rows

    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        return self.sign * pictures @ captions.T


def test_one_who_knows_finds_all_one_who_errs_none_and_one_who_cannot_tell_as_many_as_chance() -> None:
    found = r_precision(Told(1.0), PICTURES)  # type: ignore[arg-type]
    assert found["r_precision"] > 0.9 and found["r_precision_other_classes"] > 0.9  # "a small flower" is many a picture's own
    assert (found["count"], found["wrong"], found["chance"]) == (400, 99, 0.01)
    assert r_precision(Told(-1.0), PICTURES)["r_precision"] == 0.0  # type: ignore[arg-type]
    assert r_precision(Told(0.0), PICTURES)["r_precision"] == pytest.approx(0.01)  # type: ignore[arg-type]


def test_one_who_knows_the_class_alone_finds_it_among_other_classes_and_not_among_all() -> None:
    found = r_precision(Told(1.0, by_class=True), PICTURES)  # type: ignore[arg-type]
    assert found["r_precision"] < 0.2 and found["r_precision_other_classes"] > 5 * found["r_precision"]


def test_too_few_captions_are_refused() -> None:
    with pytest.raises(DataError, match="different captions among those drawn, 100 are wanted"):
        r_precision(Told(1.0), PICTURES, count=50)  # type: ignore[arg-type]


class Constant(Told):
    """Gives every pair the same score."""

    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        return torch.full((len(pictures), len(captions)), self.sign)


def test_retrieval_gives_equal_scores_what_chance_gives_and_no_figure_where_a_score_is_no_number() -> None:
    found = retrieval(Constant(0.5), PICTURES, pool=100)  # type: ignore[arg-type]
    assert found["count"] == 400
    for way in ("picture_to_caption", "caption_to_picture"):
        for depth in (1, 5, 10):
            assert found[f"{way}_{depth}"] == pytest.approx(depth / 100, rel=0.1)  # a caption that a pool holds twice counts once
    lost = retrieval(Constant(math.nan), PICTURES, pool=100)  # type: ignore[arg-type]
    assert all(math.isnan(value) for name, value in lost.items() if name != "count")
    assert r_precision(Constant(math.nan), PICTURES)["r_precision"] == 0.0  # type: ignore[arg-type]


def test_captions_that_read_the_same_are_right_in_retrieval_and_never_wrong_in_r_precision() -> None:
    captions = ["A red bird.", "a  red bird", *(f"bird number {number}" for number in range(6))]
    shown = torch.eye(8)
    shown[:2] = shown[:2].flip(0)  # the first two pictures find each other's caption
    pictures = Captioned(captions)
    model = SimpleNamespace(
        training=False,
        eval=lambda: None,
        train=lambda mode: None,
        embed_captions=lambda texts: torch.stack([torch.eye(8)[captions.index(text)] for text in texts]),
        embed_stored=lambda pictures, indices: shown[torch.from_numpy(indices)],
        similarity=lambda pictures, texts: pictures @ texts.T,
    )
    found = retrieval(model, pictures, pool=8)  # type: ignore[arg-type]
    assert found["picture_to_caption_1"] == found["caption_to_picture_1"] == 1.0
    assert r_precision(model, pictures, wrong=6)["r_precision"] == pytest.approx((6 + 2 / 7) / 8)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has 7 different captions among those drawn, 8 are wanted"):
        r_precision(model, pictures, wrong=7)  # type: ignore[arg-type]
