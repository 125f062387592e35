"""Encoded captions of a split: each text once, and the features that the encoder gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import limner
from limner.data.captions import CaptionFeatures
from limner.text.saving import named_encoder


@pytest.mark.parametrize("listed", [1_000_000, 0])  # with the table, and caption by caption
def test_features_are_those_of_the_captions_that_they_name(monkeypatch: pytest.MonkeyPatch, listed: int) -> None:
    monkeypatch.setattr("limner.data.captions.LISTED", listed)
    pictures, encoder = limner.open_data("garden", "train", resolution=16, length=6), named_encoder("garden")
    features = CaptionFeatures(encoder, pictures, counterfactuals=8)
    rows, numbers, draws = np.array([5, 0, 3, 3]), np.array([1, 0, 4, 2]), np.array([7, 0, 3, 3])
    wanted = [pictures.captions(row)[number] for row, number in zip(rows, numbers, strict=True)]
    several = np.stack([draws, (draws + 1) % 8, (draws + 2) % 8])
    changed = [pictures.counterfactuals(rows, numbers, row) for row in several]
    found = [features.of(rows, numbers), *features.changed(rows, numbers, several)]
    for part, captions in zip(found, [wanted, *changed], strict=True):
        assert part.captions == tuple(captions)
        torch.testing.assert_close(part.sentence, encoder(captions).sentence, rtol=1e-4, atol=1e-5)
    assert (features.table is None) == (listed == 0)
    if features.table is not None:
        every = [text for row in range(6) for text in pictures.captions(row)]
        forms = pictures.counterfactuals(np.arange(6).repeat(40), np.tile(np.arange(5).repeat(8), 6), np.tile(np.arange(8), 30))
        assert len(features.table) == len({*every, *forms}) < len(every) + len(forms)
