"""Train the judge of garden attributes: `python -m limner.metrics.train_judge --out DIR`.

It learns from all combinations of colour and shape, each as likely as the others, from a garden of its own seed. Trained on the train split
alone it also learns that some colours never come with some shapes: after 600 steps it read 99.5 % of the shapes of train combinations and
70 % of held-out ones. A judge of zero-shot pictures must not expect any answer. Generated pictures are softer and noisier than painted
ones, so it learns from pictures that are blurred, bent, noisy and of lower resolution too.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core import random
from limner.data.garden import ATTRIBUTES, Garden
from limner.features.garden_judge import SIDE, AttributeJudge, load_judge, save_judge
from limner.features.network import resized, to_float
from limner.metrics.judge import accuracies, confusions, to_tensor


@dataclass(frozen=True, kw_only=True)
class JudgeTraining:
    """How the judge is trained."""

    steps: int = 2000
    """Steps of training."""
    batch_size: int = 64
    """Pictures a step; a quarter of them are painted at 32 px."""
    pictures: int = 24_000
    """Garden pictures painted for training; a quarter of them at 32 px."""
    learning_rate: float = 3e-3
    """Highest learning rate of AdamW, reached after a twentieth of the steps and lowered to 0 along a cosine."""
    weight_decay: float = 0.02
    """Weight decay of AdamW."""
    split: str = "all"
    """Split of the garden to learn from; `all` alone makes colour and shape independent."""
    seed: int = 7001
    """Decides initial weights, the pictures (another garden than any that runs are likely to use) and their order."""
    threads: int = 1
    """Threads of the processor to use."""
    checked: int = 4000
    """Fresh pictures for each figure of the card."""


class Artefacts:
    """Makes painted pictures look as a generator's do, without changing what they show."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.fields = torch.from_numpy(random.normal((3, SIDE, SIDE), seed, "noise", np.arange(256)))
        axis = torch.linspace(-1, 1, SIDE)
        self.grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)

    def __call__(self, images: Tensor, step: int) -> Tensor:
        """[B, 3, 64, 64] in [-1, 1] -> the same shape: bent, recoloured slightly, softened and noisy, each by a random amount."""
        rows = np.arange(len(images))

        def draw(name: str, *shape: int) -> Tensor:
            count = math.prod(shape)
            parts = random.hash64(self.seed, name, step, rows)[:, None]
            return torch.from_numpy(random.uniform_of(parts, 0, count)).float().view(len(rows), *shape)

        bend = F.interpolate((draw("bend", 2, 5, 5) - 0.5) * draw("bend by", 1, 1, 1) * 0.16, size=SIDE, mode="bicubic", align_corners=True)
        images = F.grid_sample(images, self.grid + bend.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=True)
        images = self._soften(images, step)
        gain = 1.0 + (draw("gain", 1, 1, 1) - 0.5) * 0.2 + (draw("tint", 3, 1, 1) - 0.5) * 0.08
        images = images * gain + (draw("shift", 3, 1, 1) - 0.5) * 0.1
        chosen = torch.from_numpy(random.integers(len(self.fields), self.seed, "field", step, rows))
        offset = int(random.integers(SIDE, self.seed, "roll", step))
        noise = self.fields[chosen].roll((offset, 3 * offset), dims=(2, 3))
        return (images + noise * draw("noise", 1, 1, 1).square() * 0.2).clamp(-1, 1)

    def _soften(self, images: Tensor, step: int) -> Tensor:
        """Of every three rows one stays sharp, one goes through a lower resolution, one is blurred."""
        sharp, low, blurred = (images[start::3] for start in range(3))
        side = 28 + int(random.integers(SIDE - 28, self.seed, "side", step))
        low = resized(resized(low, side), SIDE)
        share = float(random.uniform(self.seed, "blur", step))
        blurred = blurred.lerp(F.avg_pool2d(F.pad(blurred, (1, 1, 1, 1), mode="replicate"), 3, stride=1), share)
        softened = torch.empty_like(images)
        for start, part in enumerate((sharp, low, blurred)):
            softened[start::3] = part
        return softened


def training_gardens(settings: JudgeTraining) -> list[Garden]:
    """The gardens that the judge learns from: at 64 px, and a third as many pictures at 32 px."""
    small = settings.pictures // 4
    parts = ((settings.seed, settings.pictures - small, SIDE), (settings.seed + 1, small, SIDE // 2))
    return [Garden(split=settings.split, seed=seed, length=length, resolution=side) for seed, length, side in parts]


class PaintedBatches:
    """Batches of garden pictures painted once at 64 px and at 32 px, with their attribute codes."""

    def __init__(self, settings: JudgeTraining) -> None:
        self.sources = [
            (to_tensor(garden.pictures(np.arange(len(garden)))), torch.from_numpy(garden.attribute_codes(np.arange(len(garden)))))
            for garden in training_gardens(settings)
        ]
        self.settings = settings

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One batch a step: pictures [B, 3, 64, 64] in [-1, 1] and codes [B, 6]."""
        batch, seed = self.settings.batch_size, self.settings.seed
        sizes = (batch - batch // 4, batch // 4)
        for step in range(self.settings.steps):
            parts = []
            for (pictures, codes), size, stream in zip(self.sources, sizes, ("64", "32"), strict=True):
                rows = torch.from_numpy(random.integers(len(pictures), seed, "order", stream, step, np.arange(size)))
                parts.append((resized(to_float(pictures[rows]), SIDE), codes[rows]))
            order = torch.from_numpy(random.permutation(batch, seed, "mix", step))
            yield torch.cat([part[0] for part in parts])[order], torch.cat([part[1] for part in parts])[order]


def train_judge(settings: JudgeTraining, say: Callable[[str], None] = print) -> AttributeJudge:
    """Train a judge; its weights are rounded to half precision, as they are stored. Global random generators are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        judge = AttributeJudge(ATTRIBUTES)
    judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # half as fast again on a processor
    optimizer = torch.optim.AdamW(judge.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.99))
    artefacts = Artefacts(settings.seed)
    say(f"painting {settings.pictures:,} pictures")
    batches = PaintedBatches(settings)
    started = time.monotonic()
    for step, (images, codes) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _share_of_rate(step, settings.steps)
        reading = judge.read(artefacts(images, step).contiguous(memory_format=torch.channels_last))
        loss = torch.stack([F.cross_entropy(reading.logits[name], codes[:, column]) for column, name in enumerate(ATTRIBUTES)]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 250 == 0:
            right = {name: float((read == codes[:, i]).float().mean()) for i, (name, read) in enumerate(reading.codes().items())}
            figures = " ".join(f"{name} {value:.2f}" for name, value in right.items())
            rate = (step + 1) * settings.batch_size / (time.monotonic() - started)
            say(f"step {step + 1}/{settings.steps} loss {loss.item():.3f} {figures} ({rate:.0f} pictures/s)")
    for value in judge.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half())
    judge.freeze()
    return judge


def _share_of_rate(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


CHECKS: tuple[tuple[str, str, int], ...] = (
    ("held-out combinations (test), 64 px", "test", 64),
    ("held-out combinations (val), 64 px", "val", 64),
    ("held-out combinations (test), 32 px", "test", 32),
    ("combinations of the train split, 64 px", "train", 64),
    ("held-out combinations (test), 128 px", "test", 128),
)
"""What the card reports: a title, a split and a resolution."""


def check_judge(judge: AttributeJudge, settings: JudgeTraining) -> dict[str, dict[str, float]]:
    """Accuracy of each attribute on fresh pictures: for every row of `CHECKS`, and on descriptions that no training picture fitted."""
    fresh = settings.seed + 10
    figures = {
        title: accuracies(confusions(judge, Garden(split=split, seed=fresh, length=settings.checked, resolution=resolution)))
        for title, split, resolution in CHECKS
    }
    seen = {tuple(codes) for garden in training_gardens(settings) for codes in garden.attribute_codes(np.arange(len(garden))).tolist()}
    garden = Garden(split="all", seed=fresh, length=10 * settings.checked)
    codes = garden.attribute_codes(np.arange(len(garden))).tolist()
    unseen = np.array([index for index, row in enumerate(codes) if tuple(row) not in seen][: settings.checked], dtype=np.int64)
    if len(unseen):
        title = f"{len(unseen):,} pictures whose six attributes never met in training, 64 px"
        figures[title] = accuracies(confusions(judge, garden, unseen))
    return figures


def card(settings: JudgeTraining, figures: dict[str, dict[str, float]], minutes: float, content_hash: str) -> str:
    """The judge's card, in Markdown."""
    header = "| pictures | " + " | ".join(ATTRIBUTES) + " |\n" + "|---" * (len(ATTRIBUTES) + 1) + "|\n"
    rows = "".join(f"| {title} | " + " | ".join(f"{100 * value:.2f}" for value in row.values()) + " |\n" for title, row in figures.items())
    chances = "| chance | " + " | ".join(f"{100 / len(values):.2f}" for values in ATTRIBUTES.values()) + " |\n"
    changed = [item.name for item in dataclasses.fields(settings) if getattr(settings, item.name) != item.default]
    flags = "".join(f" --{name.replace('_', '-')} {getattr(settings, name)}" for name in changed)
    return f"""# The garden's judge

A convolutional network of 259,000 weights that reads six attributes of a garden picture. Limner's faithfulness score asks it whether a
generated picture shows what its caption says; its pooled features (128 numbers) are the feature network `garden`.

Weights: `model.safetensors`, half precision, hash `{content_hash}`. Pictures of any size are resized to 64 x 64 (bilinear, antialiased).

## Accuracy in per cent

{settings.checked:,} fresh pictures for each line that says no other number. Combinations are pairs of petal colour and shape;
the held-out ones are those that generators never train on. The judge learned from the split `{settings.split}` of another seed.

{header}{rows}{chances}
## Training

{settings.steps:,} steps of {settings.batch_size} pictures out of {settings.pictures:,} of split `{settings.split}` (seed {settings.seed}),
a quarter of them painted at 32 px, all of them bent, softened, recoloured slightly and noised. AdamW, learning rate
{settings.learning_rate}. {minutes:.1f} minutes on {settings.threads} thread(s) of a processor.

    python -m limner.metrics.train_judge --out DIR{flags}

The same command gives the same weights on the same machine and version of PyTorch. Licence: as Limner's.
"""


def main(out: Path, settings: JudgeTraining) -> None:
    """Train the judge of garden attributes and write it with its card.

    Args:
        out: Folder to write.
        settings: How to train it.
    """
    torch.set_num_threads(settings.threads)
    started = time.monotonic()
    save_judge(train_judge(settings), out)
    minutes = (time.monotonic() - started) / 60
    judge = load_judge(out)
    figures = check_judge(judge, settings)
    for title, row in figures.items():
        print(title, {name: round(100 * value, 2) for name, value in row.items()})
    (out / "README.md").write_text(card(settings, figures, minutes, judge.content_hash))


if __name__ == "__main__":
    import tyro

    def run(out: Path, settings: tyro.conf.OmitArgPrefixes[JudgeTraining] = JudgeTraining()) -> None:
        main(out, settings)

    tyro.cli(run, description="Train the judge of garden attributes and write it with its card.")
