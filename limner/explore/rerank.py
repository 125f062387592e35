"""Reranking: paint many candidates of a caption, let a judge score each, and keep the best (Ramesh et al., ICML 2021, section 2.6).

The published judge is CLIP (Radford et al., ICML 2021), over 512 candidates; here it is any matching model, or any other score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from limner.core.errors import SettingsError
from limner.data.sheet import caption_grid
from limner.explore.worst import Progress, Scorer
from limner.features.network import to_float
from limner.metrics.judge import to_tensor
from limner.metrics.scoring.matching import MatchingJudge, Placed
from limner.model.requests import check_count

if TYPE_CHECKING:
    from limner.model import Model


@dataclass(frozen=True)
class Ranked:
    """The best pictures of one caption, best first."""

    caption: str
    pictures: NDArray[np.uint8]
    """[N, H, W, 3]."""
    scores: NDArray[np.float64]
    """[N], falling; equal scores stand in the order of their numbers."""
    numbers: NDArray[np.int64]
    """[N] sample numbers, from 0: `model.pictures([caption], [number], seed)` paints the picture again."""
    candidates: int
    """How many were painted."""


class Similarity:
    """Scores pictures by a matching model: its own similarity of each picture with its caption, as the model defines it.

    Scores of one caption can be compared. Those of two captions cannot, as some captions fit every picture better than others do.
    """

    def __init__(self, judge: MatchingJudge) -> None:
        self.judge = judge
        self._embedded: tuple[str, Tensor] | None = None

    def check(self, caption: str) -> None:
        """Raise SettingsError for a caption that the judge cannot read."""
        if isinstance(self.judge, Placed):
            self.judge.check(caption)

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str], pictures: Tensor) -> Tensor:
        """(B captions, uint8 [B, 3, H, W]) -> [B]."""
        shown = self.judge.embed_pictures(to_float(pictures))
        texts = list(dict.fromkeys(captions))
        similar = self.judge.similarity(shown, torch.cat([self._text(text) for text in texts]))  # [B, C]
        own = torch.tensor([texts.index(caption) for caption in captions], device=similar.device)
        return similar.gather(1, own[:, None]).squeeze(1)

    def _text(self, caption: str) -> Tensor:
        """The embedding [1, D] of a caption, which is read alone: its digits do not depend on what else is ranked."""
        if self._embedded is None or self._embedded[0] != caption:
            self._embedded = caption, self.judge.embed_captions([caption])
        return self._embedded[1]


def check_counts(count: int, candidates: int) -> None:
    """Raise SettingsError where so many pictures cannot be kept of so many candidates."""
    check_count("-n", count)
    check_count("--of", candidates)
    if candidates < count:
        raise SettingsError(f"--of is {candidates} and -n is {count}: paint at least as many candidates as are kept")


def rerank(
    model: Model,
    captions: Sequence[str],
    score: Scorer,
    *,
    count: int = 1,
    candidates: int = 32,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> list[Ranked]:
    """Paint `candidates` pictures of each caption, those of `model.generate(caption, candidates, seed)`, and keep the best `count`.

    score: `Similarity(judge)` for a matching model, or any other; higher is better. batch_size: candidates that are painted and scored at
    a time; none is held longer but the best so far. Raises SettingsError, before the first picture, for a model that reads no text, counts
    that do not go together and captions that cannot be read, and for a score that is not a number.
    """
    check_counts(count, candidates)
    if not model.reads_text:
        raise SettingsError("the model reads no text, so its pictures have no captions to be ranked by")
    if model.method.rows > 1:
        raise SettingsError(f"the model paints {model.method.rows} pictures that belong together, and a judge would rank single ones")
    for caption in dict.fromkeys(captions):
        model.check(caption)
        if isinstance(score, Similarity):
            score.check(caption)
    found = [_Best(count) for _ in captions]
    for rows, numbers in _batches(len(captions), candidates, batch_size):
        texts = [captions[row] for row in rows.tolist()]
        painted = model.pictures(texts, numbers, seed, batch_size)
        with torch.inference_mode():
            scores = score(texts, to_tensor(painted)).double().cpu().numpy()
        if scores.shape != (len(texts),) or not np.isfinite(scores).all():
            raise SettingsError(f"the judge gave {scores.shape} scores, or some that are not numbers, for {len(texts)} pictures")
        for row in np.unique(rows).tolist():
            found[row].add(painted[rows == row], scores[rows == row], numbers[rows == row])
        if progress is not None:
            progress(int(rows[-1]) * candidates + int(numbers[-1]) + 1, len(captions) * candidates, "candidates")
    return [best.ranked(caption, candidates) for best, caption in zip(found, captions, strict=True)]


def _batches(captions: int, candidates: int, size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The places of captions and sample numbers of each batch, caption by caption: as `Model.generate` cuts them."""
    total = captions * candidates
    for start in range(0, total, size):
        places = np.arange(start, min(start + size, total), dtype=np.int64)
        yield places // candidates, places % candidates


class _Best:
    """The best pictures so far of one caption."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pictures: NDArray[np.uint8] | None = None
        self.scores, self.numbers = np.empty(0), np.empty(0, np.int64)

    def add(self, pictures: NDArray[np.uint8], scores: NDArray[np.float64], numbers: NDArray[np.int64]) -> None:
        """Take in candidates whose numbers are above all earlier ones."""
        every = pictures if self.pictures is None else np.concatenate([self.pictures, pictures])
        scores, numbers = np.concatenate([self.scores, scores]), np.concatenate([self.numbers, numbers])
        best = np.lexsort((numbers, -scores))[: self.count]
        self.pictures, self.scores, self.numbers = every[best], scores[best], numbers[best]

    def ranked(self, caption: str, candidates: int) -> Ranked:
        assert self.pictures is not None
        return Ranked(caption, self.pictures, self.scores, self.numbers, candidates)


def strip(found: Sequence[Ranked]) -> Image.Image:
    """A row for each caption, best first: under each picture its score, and which candidate it is, counted from 1."""
    labels = [[f"{score:.4f}, no. {number + 1}" for score, number in zip(each.scores, each.numbers)] for each in found]
    notes = [f"the best {len(each.scores)} of {each.candidates} candidates" for each in found]
    return caption_grid([list(each.pictures) for each in found], [each.caption for each in found], notes=notes, labels=labels)
