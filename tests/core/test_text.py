"""Features of captions of different lengths stand in one batch, padded."""

from __future__ import annotations

import torch

from limner.core.text import TextFeatures


def test_joined_captions_are_padded() -> None:
    short = TextFeatures(torch.ones(1, 2), torch.ones(1, 1, 3), torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 1, dtype=torch.int64))
    long = TextFeatures(torch.zeros(2, 2), torch.ones(2, 4, 3), torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 4, dtype=torch.int64))
    joined = TextFeatures.cat([short, long])
    assert len(joined) == 3 and joined.words is not None and joined.mask is not None and joined.tokens is not None
    assert joined.words.sum((1, 2)).tolist() == [3.0, 12.0, 12.0]
    assert joined.mask.sum(1).tolist() == joined.tokens.sum(1).tolist() == [1, 4, 4]
    assert TextFeatures.cat([TextFeatures(torch.ones(1, 2)), TextFeatures(torch.zeros(1, 2))]).words is None
