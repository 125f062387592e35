"""The Inception Score (Salimans et al., NeurIPS 2016, arXiv:1606.03498): are pictures of clear classes, and of many of them?

It never looks at a real picture, and rises where the network that it looks through had a part in training: report it, never rank by it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torchmetrics
from torch import Tensor

from limner.core import random
from limner.metrics.scoring.metric import Figure, Found, Metric

SPLITS = 10


def inception_score(logits: Tensor, splits: int) -> tuple[float, float]:
    """exp(mean KL(p(y|x) || p(y))) of logits [N, C]: mean and (population) deviation over splits, from row i N / splits on.

    torchmetrics shuffles the rows and takes splits of the size of the first, so its class cannot give the original's contiguous splits.
    """
    log_probabilities = logits.double().log_softmax(1)
    count = len(logits)
    scores = []
    for i in range(splits):
        part = log_probabilities[i * count // splits : (i + 1) * count // splits]
        marginal = part.exp().mean(0, keepdim=True)
        divergence = (part.exp() * (part - marginal.clamp_min(1e-300).log())).sum(1).mean()
        scores.append(divergence.exp())
    values = torch.stack(scores)
    return float(values.mean()), float(values.std(unbiased=False))


class InceptionScoreMetric(Metric):
    """Inception Score (Salimans et al., NeurIPS 2016): mean and deviation over splits."""

    name: ClassVar[str] = "is"
    needs = frozenset({"features", "classes"})
    keeps = frozenset({"logits"})

    def figures(self, found: Found) -> list[Figure]:
        logits = found.generated.tensor("logits")
        splits = min(SPLITS, len(logits))
        contiguous = "contiguous splits as Salimans et al."
        if not self.task.painted:  # a folder's names may put the pictures of a class into one split
            logits = logits[torch.from_numpy(random.permutation(len(logits), self.task.seed, "inception score"))]
            contiguous = "splits as Salimans et al., in an order that the seed draws"
        mean, deviation = inception_score(logits, splits)
        most, classes = -(-len(logits) // splits), logits.shape[1]
        notes: tuple[str, ...] = ()
        if most < classes and mean > most / 2:
            notes = (f"a split of {most:,} pictures scores at most {most:,}, and this is near it: raise --count",)
        return [
            Figure(
                name=self.name,
                value=mean,
                error=deviation,
                higher_is_better=True,
                implementation=f"torchmetrics {torchmetrics.__version__} InceptionScore's logits, float64, {contiguous}",
                network="features",
                settings={"splits": splits},
                notes=notes,
            )
        ]
