"""Training pictures that lose their colour, as in SimCLR (Chen et al., ICML 2020, arXiv:2002.05709, appendix A).

Colour is the easiest thing to see, and what goes with which colour in the training pictures is easily taken for a rule. In a grey picture
all else must be told by itself.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random

_LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue count in how bright a pixel is (ITU-R BT.601)."""


def some_colourless(pictures: Tensor, share: float, seed: int, samples: NDArray[np.int64]) -> Tensor:
    """Pictures [B, 3, R, R], each with probability `share` without colour; picture i's draw depends on (seed, samples[i]) alone."""
    if share <= 0:
        return pictures
    chosen = torch.from_numpy(random.uniform(seed, "colourless", samples) < share).to(pictures.device)
    weights = torch.tensor(_LUMA, device=pictures.device, dtype=pictures.dtype)[:, None, None]
    grey = (pictures * weights).sum(1, keepdim=True)
    return torch.where(chosen[:, None, None, None], grey, pictures)
