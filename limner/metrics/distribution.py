"""FID, KID and the Inception Score over any feature network, accumulated by torchmetrics in float64.

FID (Heusel et al., NeurIPS 2017, arXiv:1706.08500) and KID (Binkowski et al., ICLR 2018, arXiv:1801.01401) compare two sets of features;
the Inception Score (Salimans et al., NeurIPS 2016, arXiv:1606.03498) looks at the class probabilities of one. Pictures are seen once and
forgotten; what grows with their number is a row of features for KID and a row of logits for IS.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torchmetrics
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd
from torchmetrics.utilities import dim_zero_cat

from limner.core import random
from limner.core.errors import SettingsError

METRICS = ("fid", "kid", "is")
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
IS_SPLITS = 10
_TORCHMETRICS = f"torchmetrics {torchmetrics.__version__}"
IMPLEMENTATIONS = {
    "fid": f"{_TORCHMETRICS} FrechetInceptionDistance, float64",
    "kid": f"{_TORCHMETRICS} poly_mmd (unbiased, cubic kernel), float64, subsets by limner",
    "is": f"{_TORCHMETRICS} InceptionScore's logits, float64, contiguous splits as Salimans et al.",
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A metric's result before it has a protocol."""

    value: float
    error: float | None = None
    settings: dict[str, int | float | str]
    notes: tuple[str, ...] = ()


class _Given(nn.Module):
    """Hands features through, so that one run of a feature network serves every metric."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


class Distribution:
    """Accumulates the features of real and of generated pictures, and compares the two."""

    def __init__(self, metrics: Iterable[str], width: int, logit_count: int | None = None, seed: int = 0) -> None:
        """Prepare for some of `METRICS` over features [B, width]; raises SettingsError for "is" over a network without classes."""
        self.metrics = tuple(metrics)
        self.width = width
        self.seed = seed
        if "is" in self.metrics and logit_count is None:
            raise SettingsError("the Inception Score needs a feature network with classes, and this one has none: leave 'is' out")
        given = _Given(width)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that features are kept, which the module's text says
            self.fid = FrechetInceptionDistance(feature=given) if "fid" in self.metrics else None
            self.kid = KernelInceptionDistance(feature=given, subset_size=1) if "kid" in self.metrics else None
            self.inception = InceptionScore(feature=given) if "is" in self.metrics else None

    def add(self, features: Tensor, logits: Tensor | None = None, *, real: bool) -> None:
        """Take in a batch: features [B, width], and for IS the logits [B, classes] of generated pictures."""
        features = features.detach().double().cpu()
        for metric in (self.fid, self.kid):
            if metric is not None:
                metric.update(features, real=real)
        if self.inception is not None and logits is not None and not real:
            self.inception.update(logits.detach().double().cpu())

    def results(self) -> dict[str, Figure]:
        """Every metric asked for, by name."""
        found = {}
        if self.fid is not None:
            found["fid"] = self._fid(self.fid)
        if self.kid is not None:
            found["kid"] = self._kid(self.kid)
        if self.inception is not None:
            logits = dim_zero_cat(self.inception.features)
            splits = min(IS_SPLITS, len(logits))
            mean, deviation = inception_score(logits, splits)
            found["is"] = Figure(value=mean, error=deviation, settings={"splits": splits})
        return found

    def _fid(self, metric: FrechetInceptionDistance) -> Figure:
        smallest = min(int(metric.fake_features_num_samples), int(metric.real_features_num_samples))
        notes: tuple[str, ...] = ()
        if smallest <= self.width:
            fix = f"take more than {self.width}, or trust KID instead"
            notes = (f"{smallest} pictures cannot fill a covariance of {self.width} features: {fix}",)
        return Figure(value=float(metric.compute()), settings={}, notes=notes)

    def _kid(self, metric: KernelInceptionDistance) -> Figure:
        real, generated = dim_zero_cat(metric.real_features), dim_zero_cat(metric.fake_features)
        size = max(2, min(KID_SUBSET_SIZE, min(len(real), len(generated)) // 2))
        pairs = [(self._subset("real", k, len(real), size), self._subset("generated", k, len(generated), size)) for k in range(KID_SUBSETS)]
        mean, deviation = kernel_distance(real, generated, pairs)
        return Figure(value=mean, error=deviation, settings={"subsets": KID_SUBSETS, "subset size": size})

    def _subset(self, side: str, number: int, count: int, size: int) -> NDArray[np.int64]:
        return random.permutation(count, self.seed, "kid subset", side, number)[:size]


def kernel_distance(real: Tensor, generated: Tensor, subsets: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> tuple[float, float]:
    """KID: mean and (population) deviation over subsets of the unbiased squared MMD; each subset is a pair of equally many row numbers.

    Features are [N, D] and [M, D]. The estimate is unbiased, so that equal distributions give values around 0, negative ones among them.
    """
    real, generated = real.double(), generated.double()
    values = torch.stack([poly_mmd(real[torch.from_numpy(mine)], generated[torch.from_numpy(theirs)]) for mine, theirs in subsets])
    return float(values.mean()), float(values.std(unbiased=False))


def inception_score(logits: Tensor, splits: int) -> tuple[float, float]:
    """exp(mean KL(p(y|x) || p(y))) of logits [N, C]: mean and (population) deviation over splits, from row i N / splits on."""
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
