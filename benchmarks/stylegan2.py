"""StyleGAN2's step and that of rosinality's own code, whose checkout is given: `python benchmarks/stylegan2.py stylegan2-pytorch`.

Both have the same widths (of the preset `cpu`, or the published ones), batch, losses and optimisers, and no data to read. The authors'
operators have a form without CUDA, which is what runs here. A step is a plain one, a sixteenth of R1's and a fourth of path-length
regularisation's. Each code is measured in a process of its own, in turns, by processor time, which a busy machine lengthens least; memory
is the most that a process has held. `paint` is a picture by itself.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from next_to import compare, measured
from torch import Tensor

WIDTHS = {"cpu": (512, 128, 128, 4), "as-published": (32_768, 512, 512, 8)}
"""Channels times the side, most channels, width of latents and styles, layers of the mapping network."""
PLAIN, PATHS, BOTH = 1, 4, 16
"""Numbers of steps: with neither penalty, with path lengths, with both."""
Steps = tuple[Callable[[int], None], Callable[[], None]]


def ours(preset: str, resolution: int, rows: int) -> Steps:
    """A step of Limner's as its trainer takes it, with optimiser, running average and checks; and painting one picture."""
    import numpy as np

    import limner
    from limner.core.batch import Batch
    from limner.core.text import TextFeatures
    from limner.core.trainable import Progress
    from limner.training.players import PlayerTraining, Statistics

    base, limit, width, layers = WIDTHS[preset]
    sizes = {"channel_base": base, "channel_limit": limit, "noise_width": width, "style_width": width, "mapping_layers": layers}
    settings: dict[str, Any] = {**sizes, "deviation_group": min(rows, 4), "batch_size": rows}
    method = limner.create("stylegan2", preset="as-published", resolution=resolution, sentence_width=0, **settings).train()
    statistics_, players = Statistics(method), method.players()
    turns = {name: PlayerTraining(player, statistics_, ema_half_life=12_500.0) for name, player in players.items()}
    pictures, count = torch.rand(rows, 3, resolution, resolution) * 2 - 1, np.arange(rows)

    def step(number: int) -> None:
        progress = Progress(phase="gan", step=number, steps=100, images=0, epoch=0.0)
        for update in method.training_step(Batch(pictures, [[]] * rows, (), count, count, 0), progress):
            turns[update.player].take(update.loss, progress, rows)

    @torch.no_grad()
    def paint() -> None:
        method.paint(TextFeatures(torch.zeros(1, 0)), method.draw_noise(0, [0]))

    return step, paint


def theirs(code: str, preset: str, resolution: int, rows: int) -> Steps:
    """A step of rosinality's `train`, from its networks; and painting one picture."""
    base, limit, width, layers = WIDTHS[preset]
    torch.utils.cpp_extension = types.ModuleType("cpp_extension")  # type: ignore[attr-defined]
    torch.utils.cpp_extension.load = lambda *_, **__: None
    sys.modules["torch.utils.cpp_extension"] = torch.utils.cpp_extension
    sys.path.insert(0, code)
    # Its table of channels stands in the constructors.
    text = re.sub(
        r"\b(\d+): \d+(?: \* channel_multiplier)?,",
        lambda found: f"{found[1]}: {min(base // int(found[1]), limit)},",
        Path(code, "model.py").read_text(encoding="utf-8"),
    )
    module: dict[str, Any] = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), module)
    generator, average = (module["Generator"](resolution, width, layers) for _ in range(2))
    discriminator = module["Discriminator"](resolution)
    optimizers = [
        torch.optim.Adam(network.parameters(), 0.002 * every / (every + 1), (0.0 ** (every / (every + 1)), 0.99 ** (every / (every + 1))))
        for network, every in ((generator, PATHS), (discriminator, BOTH))
    ]
    pictures, mean = torch.rand(rows, 3, resolution, resolution) * 2 - 1, torch.zeros(())

    def latents(count: int) -> list[Tensor]:
        return [torch.randn(count, width) for _ in range(2 if random.random() < 0.9 else 1)]

    def turn(optimizer: torch.optim.Optimizer, network: torch.nn.Module, loss: Tensor) -> None:
        network.zero_grad()
        loss.backward()
        optimizer.step()

    def step(number: int) -> None:
        nonlocal mean
        generator.requires_grad_(False)
        discriminator.requires_grad_(True)
        fake, _ = generator(latents(rows))
        loss = F.softplus(discriminator(fake)).mean() + F.softplus(-discriminator(pictures)).mean()
        turn(optimizers[1], discriminator, loss)
        if number % BOTH == 0:
            real = pictures.clone().requires_grad_()
            (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
            turn(optimizers[1], discriminator, 10 / 2 * BOTH * slope.square().flatten(1).sum(1).mean())
        generator.requires_grad_(True)
        discriminator.requires_grad_(False)
        fake, _ = generator(latents(rows))
        turn(optimizers[0], generator, F.softplus(-discriminator(fake)).mean())
        if number % PATHS == 0:
            fake, styles = generator(latents(max(1, rows // 2)), return_latents=True)
            noise = torch.randn_like(fake) / math.sqrt(fake.shape[2] * fake.shape[3])
            (slope,) = torch.autograd.grad((fake * noise).sum(), styles, create_graph=True)
            lengths = slope.square().sum(2).mean(1).sqrt()
            moved = mean + 0.01 * (lengths.mean() - mean)
            turn(optimizers[0], generator, 2 * PATHS * (lengths - moved).square().mean())
            mean = moved.detach()
        own = dict(generator.named_parameters())
        for name, value in average.named_parameters():
            value.data.mul_(0.998).add_(own[name].data, alpha=0.002)

    @torch.no_grad()
    def paint() -> None:
        average.eval()([torch.randn(1, width)])

    return step, paint


def measure(who: str, code: str, preset: str, resolution: int, rows: int, steps: int, paint: bool) -> dict[str, float]:
    """Milliseconds of processor time of a step, made up of medians, or of painting a picture, and the process's peak in MB."""
    torch.set_num_threads(1)
    step, painted = ours(preset, resolution, rows) if who == "limner" else theirs(code, preset, resolution, rows)
    if paint:
        return measured(painted, 4 * steps)
    plain, paths, both = (measured(lambda number=number: step(number), steps) for number in (PLAIN, PATHS, BOTH))  # type: ignore[misc]
    parts = {"plain": plain["step"], "path lengths": paths["step"] - plain["step"], "R1": both["step"] - paths["step"]}
    print(who, {name: round(value) for name, value in parts.items()}, file=sys.stderr)
    return {"step": parts["plain"] + parts["path lengths"] / PATHS + parts["R1"] / BOTH, "memory": both["memory"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("code", help="a checkout of rosinality/stylegan2-pytorch")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--preset", choices=WIDTHS, default="cpu", help="whose widths")
    parser.add_argument("--rows", type=int, default=16, help="pictures a step")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--paint", action="store_true", help="measure painting one picture, in place of a step")
    parser.add_argument("--who", choices=["limner", "rosinality"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.who:
        print(json.dumps(measure(given.who, given.code, given.preset, given.resolution, given.rows, given.steps, given.paint)))
        return
    compare(__file__, ("limner", "rosinality"), given.turns)


if __name__ == "__main__":
    main()
