from __future__ import annotations

import numpy as np
import torch

from limner.matching.towers.colourless import some_colourless


def test_a_share_of_the_pictures_loses_its_colour_and_no_more() -> None:
    pictures = torch.rand(400, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    samples = np.arange(400)
    shown = some_colourless(pictures, 0.25, 3, samples)
    grey = (shown[:, :1] == shown).flatten(1).all(1)
    assert 70 <= int(grey.sum()) <= 130
    assert torch.equal(shown[~grey], pictures[~grey])
    luma = 0.299 * pictures[:, 0] + 0.587 * pictures[:, 1] + 0.114 * pictures[:, 2]
    torch.testing.assert_close(shown[grey][:, 0], luma[grey])
    assert torch.equal(some_colourless(pictures[50:60], 0.25, 3, samples[50:60]), shown[50:60])
    assert some_colourless(pictures, 0.0, 3, samples) is pictures
