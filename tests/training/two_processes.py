"""Run by test_processes.py in one or two processes: trains a method without batch statistics and writes each process's weights and
losses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core import registry
from limner.core.batch import Batch
from limner.core.method import Method, Painting
from limner.core.noise import Noise, gaussian
from limner.core.optimizers import Adam
from limner.core.settings import DataSettings, Recipe, StyleSettings, TrainingSettings
from limner.core.text import TextFeatures
from limner.core.trainable import Phase, Player, Progress, Update
from limner.training import run


@dataclass(frozen=True, kw_only=True)
class PlainSettings:
    batch_size: int = 16
    exact: bool = False
    """Compute in float64."""


@dataclass(frozen=True)
class PlainNoise(Noise):
    z: Tensor


class Plain(Method):
    """A least-squares GAN of two small networks: two players, noise, captions, mismatched captions, and no batch statistics."""

    Settings = PlainSettings
    title = paper = "plain"
    presets = {}

    def __init__(self, settings, conditions) -> None:  # type: ignore[no-untyped-def]
        super().__init__(settings, conditions)
        width, side = conditions.sentence_width, conditions.resolution
        self.generator = nn.Sequential(
            nn.Linear(8 + width, 64), nn.Tanh(), nn.Linear(64, 3 * side * side), nn.Tanh(), nn.Unflatten(1, (3, side, side))
        )
        self.discriminator = nn.Sequential(nn.Linear(3 * side * side + width, 64), nn.Tanh(), nn.Linear(64, 1))
        self.number = torch.float64 if settings.exact else torch.float32
        self.to(self.number)

    def players(self) -> dict[str, Player]:
        # Adam divides a gradient by its own size. Without an epsilon above what rounding leaves of a gradient that cancels, that would grow
        # to a whole step, and one process and two would part by chance.
        optimizer = Adam(learning_rate=1e-3, epsilon=1e-4)
        return {
            "discriminator": Player(module=self.discriminator, optimizer=optimizer),
            "generator": Player(module=self.generator, optimizer=optimizer, averaged=True, gradient_clip=1.0),
        }

    def phases(self) -> list[Phase]:
        return [Phase(name="plain", resolution=self.conditions.resolution, batch_size=self.settings.batch_size, steps=12)]

    def judge(self, pictures: Tensor, text: TextFeatures) -> Tensor:
        return self.discriminator(torch.cat([pictures.flatten(1), text.sentence], dim=1).to(self.number))

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        fake = self.paint(batch.text, self.noise(batch, "train")).images
        loss = (self.judge(batch.pictures, batch.text) - 1).square().mean() + self.judge(fake.detach(), batch.text).square().mean()
        yield Update("discriminator", loss + self.judge(batch.pictures, batch.mismatched.text).square().mean())
        yield Update("generator", (self.judge(fake, batch.text) - 1).square().mean())

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> PlainNoise:
        return PlainNoise(gaussian((8,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        return Painting(self.generator(torch.cat([noise.z, text.sentence], dim=1).to(self.number)))  # type: ignore[attr-defined]


def main(out: Path, name: str, processes: int, style_steps: int, exact: bool) -> None:
    get, names = registry.get, registry.names()
    registry.get = lambda wanted, *sorts: Plain if wanted == "plain" else get(wanted, *sorts)
    registry.names = lambda *sorts: [*names, "plain"]
    recipe = Recipe(
        method=name,
        data="garden",
        preset="cpu",
        resolution=16,
        method_settings=PlainSettings(exact=exact)
        if name == "plain"
        else get(name).Settings(generator_channels=4, discriminator_channels=4, batch_size=16),
        training=TrainingSettings(steps=12, log_every=1, checkpoint_every=6, sample_every=1000, device="cpu", devices=processes),
        data_settings=DataSettings(garden_pictures=64),
        style=StyleSettings(steps=style_steps, batch_size=16, channels=4),
    )
    kept = {}
    go = run.Run.go

    def watched(self: run.Run, resume: bool) -> run.RunResult:
        kept["run"] = self
        return go(self, resume)

    run.Run.go = watched  # type: ignore[method-assign]
    run.train(recipe, out)
    made = kept["run"]
    torch.save(made._state(), out / f"process-{made.fabric.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:] == ["exact"])
