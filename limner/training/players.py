"""What training does to one player: gradient, average across processes, optimiser, running average of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from limner.core.trainable import Player, Progress

if TYPE_CHECKING:
    from limner.training.processes import Processes

AllReduce = Callable[[Tensor], Tensor]


class Statistics:
    """The batch statistics of networks, which a forward pass changes before anyone knows whether the step is sound."""

    def __init__(self, trained: nn.Module) -> None:
        self.live = [value for value in trained.buffers() if value.is_floating_point()]
        self.kept = [value.clone() for value in self.live]

    @torch.no_grad()
    def settle(self, skipped: Tensor) -> None:
        """Where `skipped` is 1, put them back as they were at the last sound step; else keep what they are now."""
        for live, kept in zip(self.live, self.kept, strict=True):
            live.data.copy_(torch.where(skipped > 0, kept, live))  # data: autograd, which noted them in a forward pass, has no use for them
            kept.copy_(live)


class PlayerTraining:
    """A player in training: its optimiser and, where it paints, the running average of its weights.

    statistics: those of the whole trainable, shared by all its players;
    all_reduce: averages a tensor over all processes, or None for a single one.
    """

    def __init__(self, player: Player, statistics: Statistics, *, ema_half_life: float = 0.0, all_reduce: AllReduce | None = None) -> None:
        self.player, self.statistics, self.all_reduce, self.ema_half_life = player, statistics, all_reduce, ema_half_life
        self.parameters = [parameter for parameter in player.module.parameters() if parameter.requires_grad]
        self.optimizer = player.optimizer.build(self.parameters)
        self.gradient_norm: Tensor = torch.zeros(())
        """Norm of the whole gradient of the newest step, averaged over processes and before any clipping; 0 where the step was left out."""
        self.average: list[Tensor] = []
        self._finite: Tensor | None = None
        if player.averaged and ema_half_life > 0:
            self.average = [value.detach().clone() for value in self._averaged_tensors()]

    def grow(self) -> None:
        """Take in the weights that are trained from now on, as networks that grow have them, and leave out those that stand still."""
        self._train([parameter for parameter in self.player.module.parameters() if parameter.requires_grad])

    def _train(self, parameters: list[nn.Parameter]) -> None:
        """Train these weights from now on; those that were trained before keep their optimiser's state."""
        if [*map(id, parameters)] == [*map(id, self.parameters)]:
            return
        before, self.parameters = self.optimizer.state, parameters
        self.optimizer = self.player.optimizer.build(parameters)
        for parameter in parameters:
            if parameter in before:
                self.optimizer.state[parameter] = before[parameter]

    def _averaged_tensors(self) -> list[Tensor]:
        """Weights and batch statistics, which must fit each other."""
        module = self.player.module
        return [value for value in (*module.parameters(), *module.buffers()) if value.is_floating_point()]

    @property
    def updates(self) -> int:
        """How many steps the optimiser has taken, before a resumed run too; steps left out do not count. Waits for the device."""
        return max((int(state["step"]) for state in self.optimizer.state.values() if "step" in state), default=0)

    def add(self, loss: Tensor) -> None:
        """Add the gradient of a loss, or of a part of it, to what the next `step` takes."""
        if self._finite is None:
            for parameter in self.parameters:
                parameter.grad = None
        loss.backward(inputs=self.parameters)
        finite = torch.isfinite(loss.detach().float())
        self._finite = finite if self._finite is None else self._finite & finite

    def step(self, progress: Progress, batch_size: int) -> Tensor:
        """Take one step by the gradient that was added; returns 1.0 where the step was left out, else 0.0, on the device.

        A loss or gradient that is not finite leaves weights, batch statistics and optimiser as they are; nothing here waits for the device.
        """
        assert self._finite is not None, "add a loss before taking a step"
        finite, self._finite = self._finite, None
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if self.all_reduce:
            finite = self._share(gradients, finite)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        skipped = 1.0 - (finite & torch.isfinite(norm)).float()
        self.gradient_norm = torch.where(skipped > 0, 0.0, norm.float())
        if self.player.gradient_clip:
            torch._foreach_mul_(gradients, (self.player.gradient_clip / norm.clamp_min(self.player.gradient_clip)).to(gradients[0].dtype))
        self._step(progress, skipped)
        for parameter in self.parameters:  # other players' turns need the memory
            parameter.grad = None
        self.statistics.settle(skipped)
        self._follow(batch_size, progress.images + batch_size)
        return skipped

    def take(self, loss: Tensor, progress: Progress, batch_size: int) -> Tensor:
        """`add` and `step`: minimise a whole batch's loss over this player's parameters by one step."""
        self.add(loss)
        return self.step(progress, batch_size)

    def _share(self, gradients: list[Tensor], finite: Tensor) -> Tensor:
        """Average the gradients over the processes in one all-reduce; a process whose loss is not finite speaks for all."""
        assert self.all_reduce is not None
        trouble = torch.where(finite, 0.0, torch.nan).to(gradients[0].dtype)
        flat = self.all_reduce(torch.cat([gradient.flatten() for gradient in gradients] + [trouble.flatten()]))
        offset = 0
        for gradient in gradients:
            gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
            offset += gradient.numel()
        return torch.isfinite(flat[-1])

    def _step(self, progress: Progress, skipped: Tensor) -> None:
        factor = self.player.learning_rate_factor
        if factor is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self.player.optimizer.learning_rate * factor(progress)
        if all(group.get("fused") for group in self.optimizer.param_groups):
            self.optimizer.found_inf = skipped  # type: ignore[attr-defined]  # the fused kernel leaves everything as it is where this is 1
            self.optimizer.step()
        else:
            self._step_unless(skipped)

    @torch.no_grad()
    def _step_unless(self, skipped: Tensor) -> None:
        """A step of an optimiser without a fused kernel, undone on the device where it should not have been taken."""
        weights = [value.clone() for value in self.parameters]
        states = {value: {name: kept.clone() for name, kept in self._state_of(value).items()} for value in self.parameters}
        self.optimizer.step()
        for value, before in zip(self.parameters, weights, strict=True):
            value.copy_(torch.where(skipped > 0, before, value))
            for name, now in self._state_of(value).items():
                if now.device == skipped.device:  # a step counter on the CPU counts on: asking for the device's answer would wait for it
                    now.copy_(torch.where(skipped > 0, states[value].get(name, torch.zeros_like(now)), now))

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        return {name: value for name, value in self.optimizer.state.get(parameter, {}).items() if isinstance(value, Tensor)}

    @torch.no_grad()
    def _follow(self, batch_size: int, seen: int) -> None:
        """Move the running average: half-life in images, shorter at the beginning, so that the first weights are soon forgotten."""
        if self.average:
            half_life = min(self.ema_half_life, max(seen * 0.1, 1.0))
            torch._foreach_lerp_(self.average, self._averaged_tensors(), 1.0 - 0.5 ** (batch_size / half_life))

    @torch.no_grad()
    def exchange(self) -> None:
        """Swap the weights in training with their average; a second call swaps them back."""
        for average, value in zip(self.average, self._averaged_tensors(), strict=bool(self.average)):
            kept = value.clone()
            value.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state, which of the module's weights it has, and the running average, for a checkpoint."""
        places = {id(value): place for place, value in enumerate(self.player.module.parameters())}
        trained = [places[id(value)] for value in self.parameters]
        return {"optimizer": self.optimizer.state_dict(), "trained": trained, "average": self.average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, with the weights that are trained now: at the end of a phase they were others."""
        if "trained" in state:
            every = list(self.player.module.parameters())
            self._train([every[place] for place in state["trained"]])
        self.optimizer.load_state_dict(state["optimizer"])
        self.grow()
        for average, value in zip(self.average, state["average"], strict=True):
            average.copy_(value)


def mean_over_processes(fabric: Processes) -> AllReduce | None:
    """Averages a tensor over all processes; None where there is one alone."""

    def mean(value: Tensor) -> Tensor:
        result = fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(result, Tensor)
        return result

    return mean if fabric.world_size > 1 else None


@contextmanager
def painting(players: Mapping[str, PlayerTraining]) -> Iterator[None]:
    """Within the block, the players that paint have their averaged weights."""
    for player in players.values():
        player.exchange()
    try:
        yield
    finally:
        for player in players.values():
            player.exchange()
