"""Removes the colour of some training pictures, as in SimCLR (Chen et al., ICML 2020, arXiv:2002.05709, appendix A).

Colour is the easiest thing to learn, and a model may rely on what goes with which colour in the training pictures. In a grey picture it
must recognise everything else without colour.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""


def some_colourless(pictures: Tensor, share: float, seed: int, samples: NDArray[np.int64]) -> Tensor:
    """Pictures [B, 3, R, R], each of which loses its colour with probability `share`; picture i's draw depends on (seed, samples[i])
    alone."""
    if share <= 0:
        return pictures
    chosen = torch.from_numpy(random.uniform(seed, "colourless", samples) < share).to(pictures.device)
    weights = torch.tensor(_LUMA, device=pictures.device, dtype=pictures.dtype)[:, None, None]
    grey = (pictures * weights).sum(1, keepdim=True)
    return torch.where(chosen[:, None, None, None], grey, pictures)
