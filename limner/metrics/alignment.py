"""How well a picture and its own caption fit, by a matching model's similarity: VS similarity and CLIPScore.

VS similarity (Zhang et al., HDGAN, CVPR 2018, arXiv:1802.09178) is the mean similarity of pictures and their captions; where the matching
model is that paper's, the cosine of its two projections. CLIPScore (Hessel et al., EMNLP 2021, arXiv:2104.08718) is 2.5 max(cosine, 0).
Both say little without `shuffled`, what the same pictures score with each other's captions, and `real`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limner.metrics.retrieval import compare
from limner.metrics.scoring.matching import MatchingJudge
from limner.metrics.scoring.metric import Figure, Found, Metric
from limner.metrics.scoring.protocol import Part

CLIP_WEIGHT = 2.5
_BLOCK = 64


class _Alignment(Metric):
    needs = frozenset({"matching", "captions"})
    keeps = frozenset({"embeddings", "captions"})

    @abstractmethod
    def fit(self, pictures: Tensor, captions: Tensor) -> NDArray[np.float64]:
        """Embeddings [N, D] of pictures and of a caption for each: [N]."""

    def fits(self, found: Found) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
        """[N] with their own captions, [N] with those of other pictures, [M] of real pictures with theirs, where these are the same."""
        pictures, captions = found.generated.tensor("embeddings"), found.generated.tensor("captions")
        real = found.real.tensor("embeddings")[: len(captions)] if self.task.painted else None
        others = captions[of_other_pictures(self.task.indices[: len(captions)])]
        fit_of_real = self.fit(real, captions[: len(real)]) if real is not None else None
        return self.fit(pictures, captions), self.fit(pictures, others), fit_of_real


def of_other_pictures(indices: NDArray[np.int64]) -> Tensor:
    """For each number of an evaluation another one, half of all away or a little more, whose caption describes another picture: [N] int64.

    indices: [N] the reference picture of each caption, -1 where it is unknown. With more captions than reference pictures, these repeat.
    """
    numbers = np.arange(len(indices))
    others = (numbers - len(indices) // 2) % len(indices)
    for _ in numbers:
        same = (indices[others] == indices) & (indices >= 0)
        if not same.any():
            break
        others[same] = (others[same] + 1) % len(indices)
    return torch.from_numpy(others)


def paired(matching: MatchingJudge, pictures: Tensor, captions: Tensor) -> NDArray[np.float64]:
    """The matching model's similarity of each picture and its own caption: embeddings [N, D] twice -> [N]."""
    blocks = zip(pictures.split(_BLOCK), captions.split(_BLOCK), strict=True)
    found: NDArray[np.float64] = torch.cat([compare(matching, *block).diagonal() for block in blocks]).double().numpy()
    return found


class VisualSemanticSimilarity(_Alignment):
    """How well pictures fit their captions by a visual-semantic model (HDGAN's score): the mean similarity."""

    name: ClassVar[str] = "vs"

    def fit(self, pictures: Tensor, captions: Tensor) -> NDArray[np.float64]:
        assert self.task.matching is not None
        return paired(self.task.matching, pictures, captions)

    def figures(self, found: Found) -> list[Figure]:
        own, others, real = self.fits(found)
        return [
            Figure(
                name=self.name,
                value=float(own.mean()),
                error=float(own.std() / len(own) ** 0.5),
                shuffled=float(others.mean()),
                real=None if real is None else float(real.mean()),
                parts={
                    "deviation over pairs": Part(value=float(own.std()), real=None if real is None else float(real.std()), count=len(own))
                },
                higher_is_better=True,
                implementation="limner: mean of the matching model's similarity of a picture and its caption",
                network="matching",
            )
        ]


class ClipScore(_Alignment):
    """CLIPScore (Hessel et al., EMNLP 2021): the cosine of picture and caption under a CLIP."""

    name: ClassVar[str] = "clip-score"

    def fit(self, pictures: Tensor, captions: Tensor) -> NDArray[np.float64]:
        return F.cosine_similarity(pictures.double(), captions.double(), dim=1).numpy()

    def figures(self, found: Found) -> list[Figure]:
        cosines = self.fits(found)
        own, others, real = (None if values is None else CLIP_WEIGHT * np.maximum(values, 0.0) for values in cosines)
        means = [None if values is None else float(values.mean()) for values in cosines]
        assert own is not None and others is not None and means[0] is not None
        return [
            Figure(
                name=self.name,
                value=float(own.mean()),
                error=float(own.std() / len(own) ** 0.5),
                shuffled=float(others.mean()),
                real=None if real is None else float(real.mean()),
                parts={"cosine": Part(value=means[0], shuffled=means[1], real=means[2], count=len(own))},
                higher_is_better=True,
                implementation=f"limner: {CLIP_WEIGHT} max(cosine, 0) after Hessel et al., the caption as it stands, without a prompt",
                network="matching",
            )
        ]
