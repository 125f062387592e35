"""Settings of a player's optimiser. All of them can leave out a step whose loss or gradient is not finite, without asking the device."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made", bound=torch.optim.Optimizer)


def _light(made: type[Made]) -> type[Made]:
    """One of PyTorch's optimisers without the wrappers that load torch._dynamo at the first call, which takes as long as to load PyTorch.

    They are for steps that `torch.compile` sees; here it sees networks alone. The steps are the same to the bit.
    """
    plain = {name: inspect.unwrap(getattr(made, name)) for name in ("add_param_group", "state_dict", "load_state_dict", "zero_grad")}
    return type(made.__name__, (made,), {**plain, "step": torch.no_grad()(inspect.unwrap(made.step))})


_Adam, _AdamW = _light(torch.optim.Adam), _light(torch.optim.AdamW)
_RMSprop, _SGD = _light(torch.optim.RMSprop), _light(torch.optim.SGD)


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """What every optimiser has."""

    learning_rate: float
    """Step size, before a player's schedule."""
    weight_decay: float = 0.0
    """Weight of the L2 term, or of the decoupled decay where an optimiser says so."""

    @abstractmethod
    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        """PyTorch's optimiser for these parameters."""


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015)."""

    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    epsilon: float = 1e-8
    decoupled: bool = False
    """Whether weights decay apart from the gradient (AdamW: Loshchilov and Hutter, ICLR 2019)."""
    decays_vectors: bool = False
    """Whether vectors and scalars, which are gains and biases, decay too where weights decay apart from the gradient."""

    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        common: dict[str, Any] = {"lr": self.learning_rate, "betas": self.betas, "eps": self.epsilon, "fused": True}
        if not self.decoupled:
            return _Adam(parameters, weight_decay=self.weight_decay, **common)
        if self.decays_vectors:
            return _AdamW(parameters, weight_decay=self.weight_decay, **common)
        groups = [
            {"params": [value for value in parameters if (value.ndim > 1) == decays], "weight_decay": self.weight_decay * decays}
            for decays in (True, False)
        ]
        return _AdamW([group for group in groups if group["params"]], **common)


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, by Nesterov's rule where asked for (Sutskever et al., ICML 2013)."""

    learning_rate: float = 1e-2
    momentum: float = 0.0
    nesterov: bool = False

    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        optimizer = _CountingSGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=True,
        )
        if self.momentum:
            for value in parameters:  # PyTorch's own first step leaves them unset where it is skipped; from 0 it comes to the same
                optimizer.state[value]["momentum_buffer"] = torch.zeros_like(value)
        if parameters:
            optimizer.state[parameters[0]]["step"] = torch.zeros((), device=parameters[0].device)
        return optimizer


class _CountingSGD(_SGD):  # type: ignore[misc, valid-type]
    """Keeps the number of its steps in the first parameter's state, as the other optimisers do in every one's."""

    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        skipped = getattr(self, "found_inf", None)
        for state in self.state.values():
            if "step" in state:
                state["step"] += 1.0 if skipped is None else 1.0 - skipped
        return result


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """RMSprop (Hinton, Coursera lecture 6, 2012), as PyTorch has it: the root is taken before `epsilon` is added."""

    learning_rate: float = 1e-2
    decay: float = 0.99
    """Decay of the mean of squared gradients."""
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        return _RMSprop(
            parameters,
            lr=self.learning_rate,
            alpha=self.decay,
            eps=self.epsilon,
            momentum=self.momentum,
            centered=self.centered,
            weight_decay=self.weight_decay,
            foreach=True,
        )
