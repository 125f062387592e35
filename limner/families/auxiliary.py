"""The parts of discriminators with an auxiliary classifier (AC-GAN: Odena et al., ICML 2017, arXiv:1610.09585).

Class ids are those of the whole data set. Where its splits have different classes, the classifier has outputs for the classes of the other
splits too; they are never the right answer.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import DataError
from limner.core.trainable import Conditions

ClassLoss = Literal["softmax", "sigmoid"]


class Verdict(NamedTuple):
    """A discriminator's logits of pictures."""

    source: Tensor
    """[B] logits: is it real?"""
    classes: Tensor
    """[B, K] logits: what is it? [B, 0] where the discriminator has no classifier."""


class VerdictHeads(nn.Module):
    """Two linear maps of the same flat features [B, W]: to the source and to `class_count` classes, of which there may be 0."""

    def __init__(self, width: int, class_count: int) -> None:
        super().__init__()
        self.source = nn.Linear(width, 1)
        self.classes = nn.Linear(width, class_count) if class_count else None

    def forward(self, features: Tensor) -> Verdict:
        classes = features.new_zeros(len(features), 0) if self.classes is None else self.classes(features)
        return Verdict(self.source(features).flatten(), classes)


def require_classes(conditions: Conditions, method: str, fix: str) -> None:
    """Raise DataError where the training pictures have no classes. fix: another way out, which ends the message."""
    if conditions.class_count < 1:
        raise DataError(f"{method} learns from classes, and the training pictures have none: name a class for every picture, or {fix}")


def classes_of(batch: Batch) -> Tensor:
    """The class ids [B] of a batch, which must have them."""
    assert batch.classes is not None, "the method was built for pictures with classes"
    return batch.classes


def class_loss(logits: Tensor, classes: Tensor, kind: ClassLoss) -> Tensor:
    """Cross-entropy of class logits [B, K] against class ids [B], a scalar.

    softmax: - log P(C = c), the mean over the batch. sigmoid: a binary cross-entropy for each class, the mean over batch *and* classes;
    with more classes the term weighs less (TAC-GAN's code).
    """
    if kind == "softmax":
        return F.cross_entropy(logits, classes)
    return F.binary_cross_entropy_with_logits(logits, F.one_hot(classes, logits.shape[1]).to(logits.dtype))


def class_accuracy(logits: Tensor, classes: Tensor) -> Tensor:
    """The share of rows whose highest logit is the right class, on the device and without a gradient."""
    return (logits.detach().argmax(1) == classes).float().mean()


@torch.no_grad()
def add_sentences(sums: Tensor, counts: Tensor, sentence: Tensor, classes: Tensor) -> None:
    """Add a batch to each class's sum of sentences [K, D] and number of captions [K], in place.

    This is a product of matrices in float32: on a GPU, the result of adding row by row would depend on the order.
    """
    with torch.autocast(sentence.device.type, enabled=False):
        members = F.one_hot(classes, len(counts)).to(sums.dtype)  # [B, K]
        sums += members.T @ sentence.to(sums.dtype)
        counts += members.sum(0)


def nearest_class(sentence: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """The class whose mean sentence has the smallest angle to each sentence: [B, D] -> [B] ids, of classes that have captions.

    Angles are measured at the mean of all captions, because what all sentences have in common does not tell classes apart.
    """
    centre = sums.sum(0) / counts.sum().clamp_min(1.0)
    means = sums / counts.clamp_min(1.0)[:, None] - centre
    likeness = F.normalize(sentence - centre, dim=1) @ F.normalize(means, dim=1).T  # [B, K]
    return likeness.masked_fill(counts == 0, -torch.inf).argmax(1)


def sentence_logits(answers: Tensor, sentence: Tensor, changed: Tensor | None = None) -> Tensor:
    """Captions as classes: how well answers [B, D] fit each of the batch's sentences [B, D] and a changed one: logits [B, B + 1].

    Class b is right for row b. The last class is the row's own sentence with one attribute or word changed. changed: these sentences [C,
    D], for the first C rows; the logit of the others is minus infinity. The batch's mean is subtracted from sentences first, because what
    they have in common does not tell them apart.
    """
    centre = sentence.mean(0)
    logits = answers @ (sentence - centre).T  # [B, B]
    last = logits.new_full((len(answers),), -torch.inf)
    if changed is not None:
        count = len(changed)
        last = torch.cat([(answers[:count] * (changed - centre)).sum(1), last[count:]])
    return torch.cat([logits, last[:, None]], dim=1)
