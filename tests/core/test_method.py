"""Frozen networks that a method's losses look through are no part of it, but go where it goes."""

from __future__ import annotations

import torch
from torch import nn

from limner.core.method import Method
from limner.core.trainable import Conditions


class Guided(Method):
    players = phases = training_step = None  # type: ignore[assignment]


Guided.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


def test_a_guide_is_frozen_moves_along_and_is_not_stored() -> None:
    method = Guided(None, Conditions(resolution=16, sentence_width=2))
    method.own = nn.Linear(2, 2)
    guide = method.guide("judge", nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    method.train().double()
    assert method.guides["judge"] is guide and not guide.training and guide[0].weight.dtype == torch.float64
    assert set(method.state_dict()) == {"own.weight", "own.bias"} and len(list(method.parameters())) == 2
    assert not any(value.requires_grad for value in guide.parameters())
