"""Vendi score (Friedman and Dieng, TMLR 2023, arXiv:2210.02410): how many different pictures there are among those of one caption.

It needs no attributes, so that it measures diversity where the garden's judge cannot read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limner.metrics.scoring.metric import NOISES, Figure, Found, Group, Metric


def vendi_score(features: Tensor) -> float:
    """The effective number of different rows of [n, D]: 1 where all point the same way, n where all are at right angles.

    It is the exponential of the entropy of the eigenvalues of K / n, with K the cosines of all pairs.
    """
    rows = F.normalize(features.double(), dim=1)
    # K has as many positive eigenvalues as the rows' products over columns have; the smaller of the two matrices is enough.
    products = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    shares = np.linalg.eigvalsh(products.cpu().numpy() / len(rows))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


class Vendi(Metric):
    """The mean number of different pictures among those of one caption, and among as many real ones of its class."""

    name: ClassVar[str] = "vendi"
    needs = frozenset({"features", "varied"})

    def varied(self, group: Group) -> Mapping[str, NDArray[Any]]:
        assert group.features is not None
        columns = {"vendi": np.array([vendi_score(group.features)])}
        if group.real_features is not None and len(group.real_features) == len(group.features):  # fewer would be fewer different ones
            columns["vendi real"] = np.array([vendi_score(group.real_features)])
        return columns

    def figures(self, found: Found) -> list[Figure]:
        values = np.asarray(found.varied["vendi"])
        return [
            Figure(
                name=self.name,
                value=float(values.mean()),
                error=float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None,
                real=float(found.varied["vendi real"].mean()) if "vendi real" in found.varied else None,
                higher_is_better=True,
                implementation="limner: exp of the entropy of the eigenvalues of the cosines / n, float64",
                network="features",
                settings={"varied captions": len(values), "noises": NOISES},
            )
        ]
