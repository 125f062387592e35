"""How well a matching model finds captions for pictures and pictures for captions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.core.errors import DataError
from limner.core.pictures import CaptionedPictures
from limner.matching.model import MatchingModel
from limner.text.words import plain_words

WRONG = 99
"""Wrong captions against each true one in R-precision."""


@torch.no_grad()
def retrieval(model: MatchingModel, pictures: CaptionedPictures, *, count: int = 1000, pool: int = 100, seed: int = 0) -> dict[str, float]:
    """Recall at 1, 5 and 10, both ways, among pools of `pool` pictures with one drawn caption each, over at most `count` pictures.

    Keys: "caption_to_picture_1", "caption_to_picture_5", ..., "picture_to_caption_10", and "count", what was scored. A caption
    that reads like the right one counts as right; equal scores share their places; where a score is not a number, the recalls are none.
    """
    indices, captions = _drawn(pictures, count, seed)
    indices = indices[: len(indices) // max(pool, 1) * pool]
    if not len(indices):
        raise DataError(f"the {pictures.split} split of {pictures.name} has fewer than {pool} captioned pictures: choose a smaller pool")
    training = model.training
    model.eval()
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(indices), pool):
        shown = model.embed_stored(pictures, indices[start : start + pool])
        spoken = captions[start : start + pool]
        scores = model.similarity(shown, model.embed_captions(spoken)).float()  # [pool pictures, pool captions]
        texts = [plain_words(caption) for caption in spoken]
        same = torch.tensor([[one == other for other in texts] for one in texts], device=scores.device)
        for name, way in (("picture_to_caption", scores), ("caption_to_picture", scores.T)):
            for depth in (1, 5, 10):
                found.setdefault(f"{name}_{depth}", []).append(_within(way, same, depth))
    model.train(training)
    return {**{name: torch.cat(parts).mean().item() for name, parts in found.items()}, "count": float(len(indices))}


@torch.no_grad()
def r_precision(
    model: MatchingModel, pictures: CaptionedPictures, *, count: int = 1000, wrong: int = WRONG, seed: int = 0, chunk: int = 256
) -> dict[str, float]:
    """How often a real picture's caption comes before `wrong` captions of other pictures, over at most `count` pictures.

    The protocol of AttnGAN's R-precision (Xu et al., CVPR 2018), for real pictures in place of painted ones, and strict: one drawn caption
    a picture; the wrong ones are different texts, none of which reads like the true one; equal scores share the hit, and what is not a
    number loses. Keys: "r_precision"; "r_precision_other_classes", with wrong captions of other classes alone, where there are enough;
    "chance"; "wrong"; "count".
    Raises DataError where the split holds too few different captions.
    """
    indices, captions = _drawn(pictures, count, seed)
    numbers: dict[str, int] = {}
    places = np.array([numbers.setdefault(caption, len(numbers)) for caption in captions], dtype=np.int64)  # each picture's text
    texts, read_as = list(numbers), np.array([plain_words(text) for text in numbers])
    if (different := len(np.unique(read_as))) <= wrong:
        what = f"the {pictures.split} split of {pictures.name} has {different} different captions among those drawn"
        raise DataError(f"{what}, {wrong + 1} are wanted: choose a larger split")
    training = model.training
    model.eval()
    read = torch.cat([model.embed_captions(texts[start : start + chunk]) for start in range(0, len(texts), chunk)])
    shown = torch.cat([model.embed_stored(pictures, indices[start : start + chunk]) for start in range(0, len(indices), chunk)])
    scores = torch.cat([model.similarity(part, read) for part in shown.split(chunk)]).double().cpu()  # [pictures, texts]
    model.train(training)

    keys = random.uniform(seed, "wrong captions", indices[:, None], np.arange(len(texts)))
    keys[read_as[places][:, None] == read_as] = 2.0
    found = {"r_precision": _first(scores, places, keys, wrong)}
    if pictures.class_ids is not None:
        own = pictures.class_ids[indices]
        said = np.zeros((len(texts), int(own.max()) + 1), dtype=bool)  # which classes' pictures a text was drawn for
        said[places, own] = True
        apart = np.where(said[:, own].T, 2.0, keys)
        if (apart < 2.0).sum(1).min() >= wrong:
            found["r_precision_other_classes"] = _first(scores, places, apart, wrong)
    return found | {"chance": 1 / (1 + wrong), "wrong": float(wrong), "count": float(len(indices))}


def _within(scores: Tensor, right: Tensor, depth: int) -> Tensor:
    """How likely a right one is among the first `depth` of each row [P], where equal scores come in any order; NaN for a row with NaN.

    scores: [P, C]; right: [P, C] bool.
    """
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    ahead, tied = (scores > best).sum(1), (~right & (scores == best)).sum(1)
    found = ((depth - ahead) / (1 + tied)).clamp(0, 1)
    return found.masked_fill(scores.isnan().any(1), torch.nan)


def _first(scores: Tensor, places: NDArray[np.int64], keys: NDArray[np.float64], wrong: int) -> float:
    """The share of rows whose true text, at `places`, beats the `wrong` texts of the lowest keys: [P, T], [P], [P, T]."""
    chosen = torch.from_numpy(np.argsort(keys, axis=1, kind="stable")[:, :wrong])
    true, others = scores.gather(1, torch.from_numpy(places)[:, None]), scores.gather(1, chosen)
    hits = (others <= true).all(1) / (1.0 + (others == true).sum(1))
    return hits.double().mean().item()


def _drawn(pictures: CaptionedPictures, count: int, seed: int) -> tuple[NDArray[np.int64], list[str]]:
    """At most `count` captioned pictures, and one caption drawn for each."""
    indices = random.permutation(len(pictures), seed, "retrieval")
    indices = indices[pictures.caption_counts[indices] > 0][:count]
    draws = random.uniform(seed, "retrieval caption", indices)
    chosen = np.floor(draws * pictures.caption_counts[indices]).astype(np.int64)
    return indices, [pictures.captions(int(index))[place] for index, place in zip(indices, chosen, strict=True)]
