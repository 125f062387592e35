"""What an evaluation remembers of pictures that it has seen and forgotten: a few numbers a picture, and sums.

Both kinds merge: processes that have each seen a part of the pictures hand over their states, and what comes out does not depend on who saw
what, because rows are put in the order of the pictures' numbers and sums are of float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

State = Mapping[str, NDArray[Any]]


class Rows:
    """Named columns of numbers, a row a picture; a column may know some of the pictures only."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[NDArray[np.int64], NDArray[Any]]]] = {}

    def add(self, name: str, numbers: NDArray[np.int64], values: Tensor | NDArray[Any]) -> None:
        """Take in a column's values [B, ...] for the pictures of these numbers [B]; float tensors are kept as float32."""
        if isinstance(values, Tensor):
            values = values.detach().float().cpu().numpy()
        if len(numbers) != len(values):
            raise ValueError(f"column '{name}' got {len(values)} values for {len(numbers)} pictures")
        self._parts.setdefault(name, []).append((np.asarray(numbers, dtype=np.int64), values))

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column [N, ...] in the order of the pictures' numbers."""
        order = np.argsort(self.numbers(name, ordered=False), kind="stable")
        values: NDArray[Any] = np.concatenate([part for _, part in self._parts[name]])
        return values if (order == np.arange(len(order))).all() else values[order]

    def numbers(self, name: str, ordered: bool = True) -> NDArray[np.int64]:
        """The numbers [N] of the pictures that a column knows."""
        numbers = np.concatenate([part for part, _ in self._parts[name]])
        return np.sort(numbers, kind="stable") if ordered else numbers

    def tensor(self, name: str) -> Tensor:
        """A column as a tensor."""
        return torch.from_numpy(self[name])

    def state(self) -> State:
        """Everything, as arrays by name."""
        found: dict[str, NDArray[Any]] = {}
        for name in self._parts:
            found[f"{name}/numbers"], found[f"{name}/values"] = self.numbers(name), self[name]
        return found

    @classmethod
    def merged(cls, states: Sequence[State]) -> Rows:
        """The rows of several processes together."""
        rows = cls()
        for state in states:
            for key in state:
                name, _, kind = key.rpartition("/")
                if kind == "numbers":
                    rows.add(name, state[key], state[f"{name}/values"])
        return rows


class Moments:
    """Count, sum and sum of outer products of features [B, D], in float64: what FID needs, whatever the number of pictures."""

    def __init__(self) -> None:
        self.count = 0
        self.total = torch.zeros(0, dtype=torch.float64)
        self.outer = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Take in a batch [B, D]."""
        features = features.detach().double().cpu()
        self._add(len(features), features.sum(0), features.T @ features)

    def _add(self, count: int, total: Tensor, outer: Tensor) -> None:
        self.count += count
        self.total = self.total + total if len(self.total) else total
        self.outer = self.outer + outer if len(self.outer) else outer

    @property
    def mean(self) -> Tensor:
        """[D]."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """[D, D], with one degree of freedom less."""
        return (self.outer - torch.outer(self.total, self.mean)) / (self.count - 1)

    def state(self) -> State:
        """Everything, as arrays by name."""
        return {"count": np.asarray(self.count), "total": self.total.numpy(), "outer": self.outer.numpy()}

    @classmethod
    def merged(cls, states: Sequence[State]) -> Moments:
        """The moments of several processes together."""
        moments = cls()
        for state in states:
            if int(state["count"]):
                moments._add(int(state["count"]), torch.from_numpy(state["total"]), torch.from_numpy(state["outer"]))
        return moments
