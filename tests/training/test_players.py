"""One player's turn: what clipping leaves of a gradient, and what the optimiser makes of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from limner.core.optimizers import Adam
from limner.core.trainable import Player, Progress
from limner.training.players import AllReduce, PlayerTraining, Statistics

PROGRESS = Progress(phase="gan", step=0, steps=10, images=0, epoch=0.0)
SLOPES = (3.0, 4.0, 12.0)
"""The gradient of `slope`, in two parameters; its norm is 13."""


class Line(nn.Module):
    """Two parameters whose gradient is known."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
        self.stepped = torch.zeros(3)
        """The gradient by which the optimiser has stepped, which is freed after it."""

    def slope(self, factor: float = 1.0) -> Tensor:
        return factor * (self.first @ torch.tensor(SLOPES[:2]) + self.second @ torch.tensor(SLOPES[2:]))

    def note(self, *_: object) -> None:
        self.stepped = torch.cat([value.grad for value in self.parameters()])  # type: ignore[misc]


def take(clip: float | None, factor: float = 1.0, all_reduce: AllReduce | None = None) -> tuple[PlayerTraining, Line]:
    line = Line()
    # Gradients that are tiny beside epsilon: Adam's first step is then the learning rate times gradient / epsilon, clipped or not.
    player = Player(module=line, optimizer=Adam(learning_rate=1.0, epsilon=2.0**20), gradient_clip=clip)
    turn = PlayerTraining(player, Statistics(line), all_reduce=all_reduce)
    turn.optimizer.register_step_pre_hook(line.note)
    assert float(turn.take(line.slope(factor), PROGRESS, 1)) == 0.0
    assert line.first.grad is None and line.second.grad is None  # other players need the memory
    return turn, line


@pytest.mark.parametrize("clip", [1.0, 6.5, 12.99])
def test_a_large_gradient_is_cut_to_the_largest_norm_and_keeps_its_direction(clip: float) -> None:
    turn, line = take(clip)
    gradient = line.stepped
    torch.testing.assert_close(gradient.norm(), torch.tensor(clip))
    torch.testing.assert_close(gradient / clip, torch.tensor(SLOPES) / 13.0)
    torch.testing.assert_close(turn.gradient_norm, torch.tensor(13.0))  # told as it was before


@pytest.mark.parametrize(("clip", "factor"), [(None, 1.0), (None, 1e3), (13.0, 1.0), (14.0, 1.0), (1.0, 2.0**-4), (1.0, 0.0)])
def test_a_gradient_within_the_norm_stays_as_it_is(clip: float | None, factor: float) -> None:
    turn, line = take(clip, factor)
    assert torch.equal(line.stepped, factor * torch.tensor(SLOPES))
    torch.testing.assert_close(turn.gradient_norm, torch.tensor(13.0 * factor))


@pytest.mark.parametrize("clip", [1.0, 6.5])
def test_the_optimiser_steps_by_the_clipped_gradient(clip: float) -> None:
    moved, free = (torch.cat([value.detach() for value in take(limit)[1].parameters()]) for limit in (clip, None))
    assert free.abs().min() > 0
    torch.testing.assert_close(moved, free * clip / 13.0, rtol=1e-4, atol=0.0)


def test_several_processes_clip_what_they_have_together() -> None:
    """The mean over processes is clipped, not each one's own part: two parts that are large and nearly cancel stay whole."""
    other = torch.tensor([-2.9375, -3.9375, -11.9375, 0.0])  # the last: whether that process's loss was finite
    _, line = take(1.0, all_reduce=lambda flat: (flat + other) / 2)
    assert torch.equal(line.stepped, torch.full((3,), 0.03125))
