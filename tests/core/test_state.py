"""State that is not a statistic: in the average as it is, kept by a skipped step, saved, and out of the way of an export."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from limner.core.optimizers import SGD
from limner.core.state import Stateful
from limner.core.trainable import Player, Progress
from limner.training.players import PlayerTraining, Statistics, painting

PROGRESS = Progress(phase="gan", step=0, steps=10, images=0, epoch=0.0)


class Fading(Stateful):
    """A network that grows: how deep it is, how far the newest depth has faded in, and whether it is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_state("alpha", 0.0)
        self.register_state("depth", 1)
        self.register_state("frozen", False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x)) * self.alpha + (x if self.depth > 1 else 0.0)


@pytest.fixture
def network() -> Iterator[Fading]:
    torch.manual_seed(0)
    yield Fading()


def test_state_is_saved_with_its_type_and_loaded(network: Fading) -> None:
    network.alpha, network.depth, network.frozen = 1 / 3, 7, True
    other = Fading()
    other.load_state_dict(network.state_dict())
    assert (other.alpha, other.depth, other.frozen) == (1 / 3, 7, True)
    assert [type(value) for value in (other.alpha, other.depth, other.frozen)] == [float, int, bool]
    whole = nn.ModuleList([Fading()])  # within a larger module
    whole.load_state_dict(nn.ModuleList([network]).state_dict())
    assert whole[0].depth == 7  # type: ignore[union-attr]


def test_missing_state_is_an_error(network: Fading) -> None:
    state = network.state_dict()
    del state["alpha"]
    with pytest.raises(RuntimeError, match="alpha"):
        Fading().load_state_dict(state)
    assert Fading().load_state_dict(state, strict=False).missing_keys == ["alpha"]


def test_it_is_no_parameter_and_no_buffer(network: Fading) -> None:
    names = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}
    assert not names & {"alpha", "depth", "frozen"} and {"alpha", "depth", "frozen"} <= set(network.state_dict())


def test_the_average_has_it_as_it_is_and_a_skipped_step_keeps_it(network: Fading) -> None:
    player = PlayerTraining(Player(module=network, optimizer=SGD(), averaged=True), Statistics(network), ema_half_life=1000.0)
    network.alpha = 1.0  # as a method sets it before its step
    player.take(network(torch.ones(4, 2)).sum(), PROGRESS, 4)
    with painting({"generator": player}):
        assert network.alpha == 1.0 and float(network.state_dict()["alpha"]) == 1.0
    network.alpha, network.depth = 0.5, 2
    before = network.norm.running_mean.clone()  # type: ignore[union-attr]
    assert float(player.take(network(torch.ones(4, 2)).sum() * torch.nan, PROGRESS, 4)) == 1.0
    assert (network.alpha, network.depth) == (0.5, 2) and torch.equal(network.norm.running_mean, before)  # type: ignore[arg-type]


def test_what_depends_on_it_is_exported(network: Fading) -> None:
    network.eval()
    network.alpha, network.depth = 0.25, 2
    x = torch.rand(3, 2)
    exported = torch.export.export(network, (x,)).module()
    assert torch.equal(exported(x), network(x))
