"""The published evaluation of joint embeddings on classes never trained on (Reed et al., CVPR 2016, section 5, and the authors' code)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core.errors import DataError
from limner.core.pictures import CaptionedPictures
from limner.matching.model import MatchingModel

DEPTHS = (1, 5, 10, 50)


@torch.no_grad()
def zero_shot(model: MatchingModel, pictures: CaptionedPictures, *, depths: Sequence[int] = DEPTHS, chunk: int = 256) -> dict[str, float]:
    """How well a model recognises a split's classes by their captions alone.

    A class is represented by the mean embedding of all its captions. "top_1" is the share of pictures whose highest score is with their own
    class, averaged over classes; "top_1_pictures" the same over pictures; "ap_K" the mean over classes of the share of pictures of that
    class among the K that score highest with it; for a class of fewer than K pictures the share cannot reach 1, as published, and
    "most_ap_K" is what a perfect model would reach. "chance" and "chance_ap" are what random scores would give of "top_1" and of each
    "ap_K". Raises DataError where the split has no classes.
    """
    if pictures.class_ids is None:
        raise DataError(f"'{pictures.name}' has no classes, which zero-shot classification needs: prepare a set whose samples name theirs")
    training = model.training
    model.eval()
    try:
        classes = class_embeddings(model, pictures, chunk)
        rows = np.flatnonzero(np.isin(pictures.class_ids, list(classes)))
        shown = torch.cat([model.embed_stored(pictures, rows[start : start + chunk]) for start in range(0, len(rows), chunk)])
        scores = model.similarity(shown, torch.stack(list(classes.values())))  # [P, C]
    finally:
        model.train(training)
    numbers = {identity: place for place, identity in enumerate(classes)}
    own = np.array([numbers[int(identity)] for identity in pictures.class_ids[rows]])
    return figures(scores.cpu().double().numpy(), own, depths)


def class_embeddings(model: MatchingModel, pictures: CaptionedPictures, chunk: int = 256) -> dict[int, Tensor]:
    """The mean embedding [D] of all captions of each class of a split that has captions."""
    assert pictures.class_ids is not None
    captions: dict[int, list[str]] = {}
    for index, identity in enumerate(pictures.class_ids.tolist()):
        captions.setdefault(identity, []).extend(pictures.captions(index))
    means = {}
    for identity, own in sorted(captions.items()):
        if own:
            means[identity] = torch.cat([model.embed_captions(own[start : start + chunk]) for start in range(0, len(own), chunk)]).mean(0)
    return means


def figures(scores: NDArray[np.float64], own: NDArray[np.int64], depths: Sequence[int] = DEPTHS) -> dict[str, float]:
    """The figures of `zero_shot` from scores [P, C] of every picture with every class, and each picture's own class [P].

    Where a score is not a number, neither are the shares.
    """
    count = scores.shape[1]
    known = 1.0 if not np.isnan(scores).any() else np.nan
    right = (scores.argmax(1) == own) * known
    found = {
        "top_1": float(np.mean([right[own == place].mean() for place in np.unique(own)])),
        "top_1_pictures": float(right.mean()),
        "chance": 1 / count,
        "chance_ap": float(np.mean([(own == place).mean() for place in range(count)])),
    }
    order = np.argsort(-scores, axis=0, kind="stable")  # [P, C]: best picture first
    for depth in depths:
        found[f"ap_{depth}"] = known * float(np.mean([(own[order[:depth, place]] == place).mean() for place in range(count)]))
        found[f"most_ap_{depth}"] = float(np.mean([min((own == place).sum() / depth, 1.0) for place in range(count)]))
    return found | {"classes": float(count), "pictures": float(len(own))}
