"""How well a matching model finds captions for pictures and pictures for captions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from limner.core import random
from limner.core.errors import DataError
from limner.data.pictures import CaptionedPictures
from limner.matching.model import MatchingModel


@torch.no_grad()
def retrieval(model: MatchingModel, pictures: CaptionedPictures, *, count: int = 1000, pool: int = 100, seed: int = 0) -> dict[str, float]:
    """Recall at 1, 5 and 10, both ways, among pools of `pool` pictures with one drawn caption each, over at most `count` pictures.

    Keys: "caption_to_picture_1", "caption_to_picture_5", ..., "picture_to_caption_10", and "count", what was scored. A caption
    that reads like the right one counts as right.
    """
    indices = random.permutation(len(pictures), seed, "retrieval")
    indices = indices[pictures.caption_counts[indices] > 0][:count]
    indices = indices[: len(indices) // max(pool, 1) * pool]
    if not len(indices):
        raise DataError(f"the {pictures.split} split of {pictures.name} has fewer than {pool} captioned pictures: choose a smaller pool")
    draws = random.uniform(seed, "retrieval caption", indices)
    chosen = np.floor(draws * pictures.caption_counts[indices]).astype(np.int64)
    captions = [pictures.captions(int(index))[place] for index, place in zip(indices, chosen, strict=True)]
    training = model.training
    model.eval()
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(indices), pool):
        shown = model.embed_stored(pictures, indices[start : start + pool])
        spoken = captions[start : start + pool]
        scores = model.similarity(shown, model.embed_captions(spoken))  # [pool pictures, pool captions]
        same = torch.tensor([[one == other for other in spoken] for one in spoken], device=scores.device)
        for name, way in (("picture_to_caption", scores), ("caption_to_picture", scores.T)):
            right = way.masked_fill(~same, -torch.inf).amax(1, keepdim=True)
            rank = (way > right).sum(1)  # how many wrong ones come before the first right one
            for depth in (1, 5, 10):
                found.setdefault(f"{name}_{depth}", []).append((rank < depth).float())
    model.train(training)
    return {**{name: torch.cat(parts).mean().item() for name, parts in found.items()}, "count": float(len(indices))}
