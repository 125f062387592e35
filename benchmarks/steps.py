"""What a training step costs compared with its networks' own passes: `python benchmarks/steps.py gan-cls stackgan hdgan`.

A step of the trainer (data, losses, every player's turn with optimiser, running average and checks) is timed in turns with a replay of
every layer call that the step makes: the layer forward on an input of the same shape, and backward to its input where a gradient goes
there, and to its weights where its player's turn it is. Both are counted in processor time, which a busy machine lengthens least. Nothing
else is in the replay, so a ratio of 1.1 says that a tenth is spent on all the rest: losses, functions without a layer (convolutions that a
method calls as a function among them), optimisers, averages, data. Steps with a gradient penalty, which differentiates twice, are left out
(`method.gradient_penalty` is set to 0 where a method has it).
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor, nn
from tyro.conf import Positional

from limner.core.recipes import from_preset, trainable
from limner.core.trainable import Trainable
from limner.training.plan import PlannedPhase
from limner.training.players import PlayerTraining
from limner.training.run import train
from limner.training.side_work import SideWork
from limner.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Arguments:
    methods: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="METHOD ...")]
    """What to measure, by preset `cpu`."""
    steps: int = 24
    """Steps of each phase that are measured."""
    threads: int = torch.get_num_threads()
    """Of the processor."""


@dataclass
class Call:
    """One layer call of a step. graded: whether autograd took note of it; to_input, to_weights: where a gradient went."""

    layer: nn.Module
    inputs: tuple[Tensor, ...]
    graded: bool
    to_input: bool
    to_weights: bool = False


class Recorder:
    """Listens to every layer of what is trained, and of the frozen networks that its losses look through."""

    def __init__(self, trained: Trainable) -> None:
        self.calls: list[Call] = []
        self.listening = False
        for layer in (layer for network in (trained, *trained.guides.values()) for layer in network.modules()):
            if not any(True for _ in layer.children()):
                layer.register_forward_hook(self._hear)

    def _hear(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.listening and isinstance(output, Tensor) and all(isinstance(value, Tensor) for value in inputs):
            graded = torch.is_grad_enabled()
            kept = tuple(value.detach().clone() for value in inputs)
            self.calls.append(Call(layer, kept, graded, graded and any(value.requires_grad for value in inputs)))


def replay(calls: list[Call]) -> float:
    """Seconds that the recorded calls take by themselves, forward and backward."""
    total = 0.0
    for call in calls:
        leaves = [value.clone().requires_grad_(call.to_input and value.is_floating_point()) for value in call.inputs]
        inputs = [value.clone() for value in leaves]  # which a layer may change in place
        weights = [value for value in call.layer.parameters() if value.requires_grad] if call.to_weights else []
        targets = [value for value in leaves if value.requires_grad] + weights
        start = time.process_time()
        with torch.set_grad_enabled(bool(targets)):
            output = call.layer(*inputs)
        if targets:
            gradient = torch.empty_like(output)
            torch.autograd.grad(output, targets, gradient, allow_unused=True)
        total += time.process_time() - start
    return total


def measure(name: str, steps: int) -> Iterator[tuple[str, float, float]]:
    """For each phase its name and the median milliseconds of a step and of the replay."""
    recipe = from_preset(name, "cpu", trainable(name).world)
    settings = recipe.method_settings
    if hasattr(settings, "gradient_penalty"):
        settings = dataclasses.replace(settings, gradient_penalty=0.0)
    training = dataclasses.replace(
        recipe.training, steps=steps + 4, sample_every=10**6, checkpoint_every=10**6, log_every=10**6, device="cpu"
    )
    recipe = dataclasses.replace(
        recipe, method_settings=settings, training=training, data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=1000)
    )
    taken: dict[str, list[tuple[float, float]]] = {}
    recorders: dict[int, Recorder] = {}
    play, add = Trainer.play, PlayerTraining.add

    def watched_add(self: PlayerTraining, loss: Tensor) -> None:
        own = {id(module) for module in self.player.module.modules()}
        for recorder in recorders.values():
            for call in recorder.calls:
                # The weights of a call take a gradient in their player's next turn, if autograd took note of the call.
                call.to_weights |= recorder.listening and call.graded and id(call.layer) in own
        add(self, loss)

    def watched_play(self: Trainer, planned: PlannedPhase, batch: Any, players: Any, progress: Any, *, check: bool = False) -> None:
        trained = planned.trained
        recorder = recorders.get(id(trained)) or recorders.setdefault(id(trained), Recorder(trained))
        start = time.process_time()
        play(self, planned, batch, players, progress, check=check)
        step = time.process_time() - start
        if progress.step == 1:
            recorder.listening = True
            play(self, planned, batch, players, progress, check=check)
            recorder.listening = False
            taken[progress.phase] = []
        elif progress.step >= 4:
            taken[progress.phase].append((step, replay(recorder.calls)))
        if progress.step == progress.steps - 1:
            recorder.calls.clear()

    Trainer.play, PlayerTraining.add = watched_play, watched_add  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(recipe, Path(folder) / "run")
    finally:
        Trainer.play, PlayerTraining.add = play, add  # type: ignore[method-assign]
    for phase, pairs in taken.items():
        yield phase, *(1e3 * statistics.median(values) for values in zip(*pairs, strict=True))


def main(arguments: Arguments) -> None:
    torch.set_num_threads(arguments.threads)
    SideWork.sample = lambda self: {}  # type: ignore[method-assign]
    rows = [(name, *found) for name in arguments.methods for found in measure(name, arguments.steps)]
    print("\n| method | phase | step, ms | its layers alone, ms | ratio |\n| --- | --- | ---: | ---: | ---: |")
    for name, phase, step, alone in rows:
        print(f"| {name} | {phase} | {step:.0f} | {alone:.0f} | {step / alone:.2f} |")


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
