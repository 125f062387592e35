"""How often a matching model ranks a picture's true caption above captions that are certainly false.

In retrieval a wrong caption may well be true of the picture. In the garden, the attributes of every picture and of every
caption are known: here every caption that a picture's true one must beat contradicts the picture in at least one attribute that it names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from limner.core import random
from limner.core.errors import DataError
from limner.data.catalog import GardenPictures
from limner.data.garden.attributes import ATTRIBUTES, NAMES
from limner.data.garden.captions import Caption
from limner.matching.model import MatchingModel

DISTRACTORS = 99
POOL = 2000
"""Captions from which distractors are drawn."""


@torch.no_grad()
def distractor_retrieval(
    model: MatchingModel, pictures: GardenPictures, *, count: int = 1000, distractors: int = DISTRACTORS, seed: int = 0, chunk: int = 256
) -> dict[str, float]:
    """The share of pictures whose own caption scores higher than each of `distractors` false ones, over at most `count` pictures.

    Every picture has one caption drawn from its own, and distractors drawn from those of other pictures of the split: different texts, each
    naming an attribute that the picture does not have. A tie counts as lost, and so does a score that is not a
    number. Keys: "right_first"; "right_first_of_N", over the pictures
    whose true caption names N attributes; "mean_rank", from 1; "chance"; "distractors"; "count".
    """
    indices = random.permutation(len(pictures), seed, "distractor pictures")[:count]
    true = _drawn(pictures, indices, seed, "true caption")
    others = _distinct(_drawn(pictures, random.permutation(len(pictures), seed, "distractor sources")[:POOL], seed, "distractor caption"))
    chosen = draw_distractors(pictures.garden.attribute_codes(indices), others, distractors, indices, seed)
    training = model.training
    model.eval()
    shown = torch.cat([model.embed_stored(pictures, indices[start : start + chunk]) for start in range(0, len(indices), chunk)])
    texts = [caption.text for caption in (*true, *others)]
    read = torch.cat([model.embed_captions(texts[start : start + chunk]) for start in range(0, len(texts), chunk)])
    ahead = []
    for row in range(len(indices)):  # a picture at a time, because scores of words and regions are slow
        candidates = torch.from_numpy(np.concatenate(([row], chosen[row] + len(true)))).to(read.device)
        scores = model.similarity(shown[row : row + 1], read[candidates])[0]  # [1 + distractors], the true one first
        ahead.append((~(scores[1:] < scores[0])).sum())  # so what is not a number counts as lost, too
    model.train(training)
    ranks = 1 + torch.stack(ahead).cpu().numpy()
    named = np.array([len(caption.named) for caption in true])
    found = {"right_first": float((ranks == 1).mean())}
    found |= {f"right_first_of_{number}": float((ranks[named == number] == 1).mean()) for number in np.unique(named).tolist()}
    return found | {
        "mean_rank": float(ranks.mean()),
        "chance": 1 / (1 + distractors),
        "distractors": float(distractors),
        "count": float(len(indices)),
    }


def draw_distractors(
    codes: NDArray[np.int64], captions: Sequence[Caption], distractors: int, indices: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """For pictures of these attribute codes [n, 6], places of captions that contradict them: [n, distractors], all different in a row.

    indices: [n] int64, the pictures' numbers, which decide their draws. Raises DataError where too few captions contradict a picture.
    """
    false = contradicts(codes, captions)  # [n, C]
    if len(false) and false.sum(1).min() < distractors:
        raise DataError(
            f"only {false.sum(1).min()} of the {len(captions)} captions contradict some picture, {distractors} are wanted: "
            "take a longer split or fewer distractors"
        )
    keys = random.uniform(seed, "distractors", indices[:, None], np.arange(len(captions)))
    return np.argsort(np.where(false, keys, 2.0), axis=1, kind="stable")[:, :distractors]


def contradicts(codes: NDArray[np.int64], captions: Sequence[Caption]) -> NDArray[np.bool_]:
    """Which captions contradict the pictures of these codes [n, 6] in an attribute: [n, C] bool."""
    spoken = np.array([[_code(caption, name) for name in NAMES] for caption in captions], dtype=np.int64)  # [C, 6], -1 where not named
    different: NDArray[np.bool_] = ((spoken >= 0) & (spoken != codes[:, None])).any(2)
    return different


def _code(caption: Caption, name: str) -> int:
    return ATTRIBUTES[name].index(caption.named[name]) if name in caption.named else -1


def _drawn(pictures: GardenPictures, indices: NDArray[np.int64], seed: int, stream: str) -> list[Caption]:
    """One caption of each picture, out of those that the split has."""
    return pictures.garden.captions(indices, random.integers(pictures.garden.captions_per_picture, seed, stream, indices))


def _distinct(captions: Sequence[Caption]) -> list[Caption]:
    return list({caption.text: caption for caption in captions}.values())
