"""Captions that are rows of numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.core.errors import DataError
from limner.text.number_rows import as_caption
from limner.text.numbers import Numbers


def test_every_number_is_read_exactly() -> None:
    limits = np.finfo(np.float32)
    extremes = [0.0, -0.0, 1.0, -2.18, 0.1, limits.max, -limits.max, limits.tiny, limits.smallest_subnormal, -3 * limits.smallest_subnormal]
    drawn = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([np.array(extremes, np.float32), drawn[np.isfinite(drawn)]])
    values = values[: len(values) // 5 * 5].reshape(-1, 5)
    found = Numbers(5)([as_caption(map(float, row)) if (row != 0).all() else " ".join(map(repr, row.tolist())) for row in values]).sentence
    assert found.dtype == torch.float32 and np.array_equal(found.numpy().view(np.int32), values.view(np.int32))


@pytest.mark.parametrize(("caption", "message"), [("1 2", "has 2 numbers: this model reads 3"), ("a red bird", "is not a row of numbers")])
def test_other_captions_are_refused(caption: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Numbers(3)([caption])
