"""The parts of conditional GANs with a matching-aware discriminator (Reed et al., ICML 2016, arXiv:1605.05396)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.families.settings import Mismatch


class MatchingAware(Protocol):
    """A discriminator that computes a picture's features once, to match them with several sentences."""

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C, 4, 4]."""
        ...

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """[B, C, 4, 4] and [B, D] -> [B] logits."""
        ...


def mismatched_logits(
    discriminator: MatchingAware,
    batch: Batch,
    features: Tensor,
    condition: Tensor,
    mismatch: Mismatch,
    counterfactual: float,
) -> Tensor:
    """Logits of real pictures with captions that do not describe them: [B].

    features: the discriminator's features of the batch's pictures, [B, C, 4, 4]; condition: their own sentences, [B, D].
    mismatch: what is exchanged; "neighbour" takes the batch's next picture, whatever it shows, whose features are known already.
    counterfactual: share of the pairs that keep the picture and have `batch.counterfactual`.
    """
    return discriminator.match(*mismatched_pairs(discriminator.look, batch, features, condition, mismatch, counterfactual))


def mismatched_pairs(
    look: Callable[[Tensor], Tensor],
    batch: Batch,
    features: Tensor,
    condition: Tensor,
    mismatch: Mismatch,
    counterfactual: float,
) -> tuple[Tensor, Tensor]:
    """The inputs of `mismatched_logits`: features of pictures, and sentences [B, D] that do not describe them.

    look: computes features of pictures. The first `counterfactual * B` rows keep their pictures.
    """
    if mismatch == "picture":
        features = look(mismatched_pictures(batch, batch.pictures.shape[-1], counterfactual))
    if mismatch == "neighbour":
        features = neighbours(features, batch, counterfactual)
    return features, mismatched_sentences(batch, condition, mismatch, counterfactual)


def neighbours(rows: Tensor, batch: Batch, counterfactual: float) -> Tensor:
    """Each row of [B, ...] exchanged for the next one, and the last for the first; the first `counterfactual * B` rows stay in place."""
    count = batch.rows_of(counterfactual)
    return torch.cat([rows[:count], rows.roll(-1, 0)[count:]])


def mismatched_sentences(batch: Batch, condition: Tensor, mismatch: Mismatch, counterfactual: float) -> Tensor:
    """The sentences of mismatched pairs: [B, D]; see `mismatched_logits`."""
    wrong = mean_sentence(batch.mismatched) if mismatch == "caption" else condition
    count = batch.rows_of(counterfactual)
    if not count:
        return wrong
    assert batch.counterfactual is not None
    return torch.cat([batch.counterfactual.sentence[:count], wrong[count:]])


def mismatched_pictures(batch: Batch, resolution: int, counterfactual: float) -> Tensor:
    """The pictures of mismatched pairs where pictures are exchanged; rows with counterfactual sentences keep theirs: [B, 3, R, R]."""
    count = batch.rows_of(counterfactual)
    others = batch.mismatched.image(resolution)
    return torch.cat([batch.image(resolution)[:count], others[count:]]) if count else others


def mean_sentence(batch: Batch) -> Tensor:
    """The mean embedding of the captions drawn for each picture: [B, D]."""
    return torch.stack([text.sentence for text in batch.texts]).mean(0)


def channels(base: int, resolution: int, method: str) -> list[int]:
    """Widths of the feature maps from half the resolution down to 4x4; at 64 px: base x (1, 2, 4, 8). `method` is for the error."""
    if resolution < 16 or resolution & (resolution - 1):
        raise SettingsError(f"{method} cannot paint at {resolution} px: choose a power of two from 16 (64 as published)")
    return [base * 2**level for level in range(int(math.log2(resolution)) - 2)]


def bce(logits: Tensor, target: float) -> Tensor:
    """Binary cross-entropy of logits [B] against one target for all."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
