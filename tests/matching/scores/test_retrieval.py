"""R-precision of real pictures: one true caption and 99 wrong ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limner.core.errors import DataError
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.matching.scores.retrieval import r_precision

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
