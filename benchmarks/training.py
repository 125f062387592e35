"""Images a second of the whole trainer compared with a bare PyTorch loop of the same networks: `python benchmarks/training.py`.

Both take turns on one machine in one run, so that the ratio is fair where the figures are not. The bare loop has nothing but forward,
backward and a fused Adam on a batch that is already in memory; the trainer adds data, caption features, a running average, the check for
values that are not finite, and log lines.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.training import trainer
from limner.training.run import train

BATCH, TEXT, NOISE, PROJECTED = 64, 128, 100, 128


class BareGenerator(nn.Module):
    def __init__(self, base: int, levels: int) -> None:
        super().__init__()
        self.text = nn.Sequential(nn.Linear(TEXT, PROJECTED), nn.LeakyReLU(0.2, True))
        width = base * 2 ** (levels - 1)
        layers: list[nn.Module] = [nn.ConvTranspose2d(NOISE + PROJECTED, width, 4, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
        for _ in range(levels - 1):
            layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU(True)]
            width //= 2
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z: Tensor, text: Tensor) -> Tensor:
        return self.layers(torch.cat([z, self.text(text)], 1)[:, :, None, None])


class BareDiscriminator(nn.Module):
    def __init__(self, base: int, levels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, base, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
        for _ in range(levels - 1):
            layers += [nn.Conv2d(base, base * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(base * 2), nn.LeakyReLU(0.2, True)]
            base *= 2
        self.look = nn.Sequential(*layers)
        self.text = nn.Sequential(nn.Linear(TEXT, PROJECTED), nn.BatchNorm1d(PROJECTED), nn.LeakyReLU(0.2, True))
        self.joint = nn.Sequential(
            nn.Conv2d(base + PROJECTED, base, 1, bias=False),
            nn.BatchNorm2d(base),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(base, 1, 4, bias=False),
        )

    def match(self, features: Tensor, text: Tensor) -> Tensor:
        return self.joint(torch.cat([features, self.text(text)[:, :, None, None].expand(-1, -1, 4, 4)], 1)).flatten()


def bare_loop(resolution: int, base: int) -> Iterator[None]:
    """One step a `next`."""
    levels = resolution.bit_length() - 3
    generator, discriminator = BareGenerator(base, levels), BareDiscriminator(base, levels)
    optimizers = [torch.optim.Adam(net.parameters(), lr=4e-4, betas=(0.5, 0.999), fused=True) for net in (discriminator, generator)]
    pictures, text, wrong = torch.rand(BATCH, 3, resolution, resolution) * 2 - 1, torch.randn(BATCH, TEXT), torch.randn(BATCH, TEXT)
    real, false = torch.ones(BATCH), torch.zeros(BATCH)
    loss = F.binary_cross_entropy_with_logits
    while True:
        fake = generator(torch.randn(BATCH, NOISE), text)
        features = discriminator.look(pictures)
        total = loss(discriminator.match(features, text), real) + 0.5 * loss(discriminator.match(features, wrong), false)
        total = total + 0.5 * loss(discriminator.match(discriminator.look(fake.detach()), text), false)
        optimizers[0].zero_grad()
        total.backward()
        optimizers[0].step()
        total = loss(discriminator.match(discriminator.look(fake), text), real)
        optimizers[1].zero_grad()
        total.backward(inputs=list(generator.parameters()))
        optimizers[1].step()
        yield


class Interleaved:
    """Lets the bare loop take a turn after every `steps` steps of the trainer, and times both."""

    def __init__(self, bare: Iterator[None], steps: int) -> None:
        self.bare, self.steps = bare, steps
        self.seconds: dict[str, list[float]] = {"bare": [], "limner": []}
        self.done, self.began = 0, time.perf_counter()

    def after_step(self) -> None:
        self.done += 1
        if self.done % self.steps:
            return
        now = time.perf_counter()
        self.seconds["limner"].append(now - self.began)
        for _ in range(self.steps):
            next(self.bare)
        self.began = time.perf_counter()
        self.seconds["bare"].append(self.began - now)


def recipe(resolution: int, base: int, steps: int) -> Recipe:
    values = from_preset("gan-cls", "cpu", "garden", resolution)
    method = dataclasses.replace(
        values.method_settings,
        generator_channels=base,
        discriminator_channels=base,
        residual=False,
        discriminator_normalization=True,
        gradient_penalty=0.0,
        batch_size=BATCH,
    )
    training = dataclasses.replace(values.training, steps=steps, sample_every=10**9, checkpoint_every=10**9, device="cpu")
    return dataclasses.replace(
        values, method_settings=method, training=training, data_settings=dataclasses.replace(values.data_settings, garden_pictures=4000)
    )


def measure(resolution: int, base: int, rounds: int, steps: int) -> None:
    clock = Interleaved(bare_loop(resolution, base), steps)
    honest = trainer.Trainer._asked_to_stop

    def watched(self: trainer.Trainer, step: int) -> bool:
        if step:
            clock.after_step()
        else:
            clock.began = time.perf_counter()
        return honest(self, step)

    trainer.Trainer._asked_to_stop = watched  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(recipe(resolution, base, rounds * steps + 1), Path(folder) / "run")
    finally:
        trainer.Trainer._asked_to_stop = honest  # type: ignore[method-assign]
    pairs = list(zip(clock.seconds["limner"], clock.seconds["bare"], strict=True))[1:]
    speed = {name: BATCH * steps / statistics.median(times[1:]) for name, times in clock.seconds.items()}
    ratio = statistics.median(bare / limner for limner, bare in pairs)
    bare, limner = speed["bare"], speed["limner"]
    print(f"{resolution} px, {base} channels: bare loop {bare:.0f} images/s, limner {limner:.0f} images/s, ratio {ratio:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=10, help="steps of each in a round")
    arguments = parser.parse_args()
    for resolution, base in ((32, 32), (64, 16)):
        measure(resolution, base, arguments.rounds, arguments.steps)
