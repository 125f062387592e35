"""Optimisers: a step that is left out leaves weights and state as they were, bit for bit, the very first one too."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.core.optimizers import SGD, Adam, Optimizer, RMSprop
from limner.core.trainable import Player, Progress
from limner.training.players import PlayerTraining, Statistics

ALL = [
    Adam(learning_rate=0.1, weight_decay=0.1),
    Adam(learning_rate=0.1, decoupled=True, weight_decay=0.1),
    SGD(learning_rate=0.1),
    SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.1),
    SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
    RMSprop(learning_rate=0.1),
    RMSprop(learning_rate=0.1, momentum=0.9, weight_decay=0.1),
    RMSprop(learning_rate=0.1, momentum=0.9, centered=True),
]


class Trained:
    """A small network and its player."""

    def __init__(self, optimizer: Optimizer, **player: Any) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(3, 2)
        self.player = PlayerTraining(Player(module=self.network, optimizer=optimizer, **player), Statistics(self.network))
        self.taken = 0

    def step(self, trouble: float = 1.0) -> None:
        """Each good step is another one; a bad one computes the same and spoils it. trouble: what the loss is multiplied by."""
        x = torch.linspace(-1, 1, 12).view(4, 3) * (self.taken + 1)
        progress = Progress(phase="gan", step=self.taken, steps=10, images=0, epoch=0.0)
        self.player.take(self.network(x).square().mean() * trouble, progress, 4)
        self.taken += trouble == 1.0

    def state(self) -> list[Tensor]:
        kept = self.player.optimizer.state
        values = [value for parameter in self.network.parameters() for _, value in sorted(kept.get(parameter, {}).items())]
        return [value.detach().clone() for value in (*self.network.parameters(), *values)]


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_a_step_left_out_changes_nothing_that_was_or_will_be(optimizer: Optimizer) -> None:
    straight, troubled = Trained(optimizer), Trained(optimizer)
    for step in range(4):
        straight.step()
        if step in (0, 2, 3):  # before the very first step, and between others
            before = troubled.state()
            for trouble in (torch.nan, torch.inf):
                troubled.step(trouble)
            # What has no state yet gets some with the first step: zeros, as a fresh one begins.
            after = troubled.state()
            fresh = after[len(before) :]
            assert all(map(torch.equal, before, after)) and all(not value.any() for value in fresh)
        troubled.step()
        assert all(map(torch.equal, straight.state(), troubled.state())) and len(straight.state()) == len(troubled.state())


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_it_steps_as_pytorchs_own(optimizer: Optimizer) -> None:
    ours = Trained(optimizer)
    theirs = copy.deepcopy(ours.network)
    names = {"learning_rate": "lr", "weight_decay": "weight_decay", "betas": "betas", "momentum": "momentum", "nesterov": "nesterov"}
    names |= {"epsilon": "eps", "decay": "alpha", "centered": "centered"}
    values = {names[name]: value for name, value in vars(optimizer).items() if name in names}
    kind: Any = torch.optim.AdamW if getattr(optimizer, "decoupled", False) else getattr(torch.optim, type(optimizer).__name__)
    groups = [{"params": [theirs.weight]}, {"params": [theirs.bias]}]
    if kind is torch.optim.AdamW:
        groups[1]["weight_decay"] = 0.0  # type: ignore[assignment]
    reference = kind(groups, **values)
    for step in range(3):
        x = torch.linspace(-1, 1, 12).view(4, 3) * (step + 1)
        reference.zero_grad()
        theirs(x).square().mean().backward()
        reference.step()
        ours.step()
        for mine, other in zip(ours.network.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(mine, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", [SGD(learning_rate=0.1), RMSprop(learning_rate=0.1), Adam(learning_rate=0.1)], ids=str)
def test_schedules_hold_for_all(optimizer: Optimizer) -> None:
    still = Trained(optimizer, learning_rate_factor=lambda progress: 0.0 if progress.step == 1 else 1.0)
    still.step()
    before = [value.clone() for value in still.network.parameters()]
    still.step()
    assert all(map(torch.equal, before, still.network.parameters()))
    still.step()
    assert not any(map(torch.equal, before, still.network.parameters()))


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_state_survives_a_checkpoint(optimizer: Optimizer) -> None:
    straight, resumed = Trained(optimizer), Trained(optimizer)
    straight.step()
    resumed.network.load_state_dict(straight.network.state_dict())
    resumed.player.load_state_dict(copy.deepcopy(straight.player.state_dict()))
    resumed.taken = 1
    for one in (straight, resumed):
        one.step()
    assert all(map(torch.equal, straight.state(), resumed.state()))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Adam(learning_rate=0.1, weight_decay=0.1), lambda weights: torch.optim.Adam(weights, 0.1, (0.5, 0.999), 1e-8, 0.1, fused=True)),
        (SGD(learning_rate=0.1, momentum=0.9), lambda weights: torch.optim.SGD(weights, 0.1, 0.9, fused=True)),
        (RMSprop(learning_rate=0.1), lambda weights: torch.optim.RMSprop(weights, 0.1, 0.99, 1e-8, foreach=True)),
    ],
    ids=["adam", "sgd", "rmsprop"],
)
def test_steps_are_those_of_pytorch_s_own_optimisers(ours: Optimizer, theirs: Any) -> None:
    """The light ones leave out wrappers alone, also after their state has gone through a checkpoint."""
    torch.manual_seed(0)
    weights = [torch.randn(5, 3).requires_grad_()]
    other = [weights[0].detach().clone().requires_grad_()]
    light, plain = ours.build(weights), theirs(other)
    for step in range(4):
        for values in (weights, other):
            values[0].grad = torch.sin(torch.arange(15.0).view(5, 3) * (step + 1))
        light.step()
        plain.step()
        assert torch.equal(weights[0], other[0])
        if step == 1:
            state, light = light.state_dict(), ours.build(weights)
            light.load_state_dict(state)
    assert weights[0].requires_grad and torch.is_grad_enabled()
