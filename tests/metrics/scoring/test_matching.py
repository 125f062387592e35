"""A trained matching model under the face that metrics ask for."""

from __future__ import annotations

import torch
from torch import nn

from limner.metrics.alignment import paired
from limner.metrics.scoring.matching import MatchingJudge, Placed


class Small(nn.Module):
    """Wants pictures of 8 px; is in training mode until it is placed."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 8 * 8, 4)
        self.dropout = nn.Dropout(0.5)

    def embed_pictures(self, pictures):
        return self.dropout(self.linear(pictures.flatten(1)))

    def embed_captions(self, captions):
        return torch.tensor([[len(caption), 1.0, 0.0, 0.0] for caption in captions])

    def similarity(self, pictures, captions):
        return pictures @ captions.T


def test_pictures_of_any_size_are_taken():
    placed = Placed(Small(), "small of mine", 8, "abc")
    assert isinstance(placed, MatchingJudge) and "8x8" in placed.resize
    flat = torch.full((3, 3, 32, 32), 0.25)
    found = placed.embed_pictures(flat)
    torch.testing.assert_close(found, placed.embed_pictures(flat[:, :, :8, :8]))
    assert not found.requires_grad and found.shape == (3, 4)
    captions = placed.embed_captions(["a", "ab", "abc"])
    assert placed.similarity(found, captions).shape == (3, 3)
    expected = [float(row @ caption) for row, caption in zip(found, captions, strict=True)]
    torch.testing.assert_close(torch.from_numpy(paired(placed, found, captions)).float(), torch.tensor(expected))
