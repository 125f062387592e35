"""The likeness by which a small set's training is validated: fog is 0, real is 1, and what lies between is in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from limner.core.batch import Batch
from limner.core.method import Painting
from limner.core.noise import VectorNoise, gaussian
from limner.core.text import TextFeatures
from limner.families.likeness import FEWEST_PAINTED, likeness, pyramid, sliced, validated


def discs(count: int, seed: int, side: int = 64) -> torch.Tensor:
    """Discs of one colour on another, [N, 3, S, S]."""
    drawn = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    pictures = np.empty((count, 3, side, side), np.float32)
    for picture in pictures:
        x, y, radius = drawn.uniform(0.3, 0.7, 3) * side * (1, 1, 0.5)
        inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        picture[:] = np.where(inside, drawn.uniform(-1, 1, (3, 1, 1)), drawn.uniform(-1, 1, (3, 1, 1)))
    return torch.from_numpy(pictures)


def test_likeness_goes_from_fog_to_real() -> None:
    real, others = discs(48, 1), discs(96, 2)
    assert likeness(real, real) == 1.0 and likeness(real.repeat(2, 1, 1, 1), real) > 0.999  # more of the same is the same
    fog = real.mean((0, 2, 3), keepdim=True).expand(48, -1, 64, 64)
    assert likeness(fog, real) == pytest.approx(0.0, abs=1e-5)
    blurred = F.interpolate(F.avg_pool2d(others, 8), scale_factor=8, mode="bilinear")
    grainy = (others + 0.4 * torch.randn(others.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    one = others[:1].expand(48, -1, -1, -1)  # a collapsed painter
    fine = likeness(others, real)
    assert fine > 0.8 and likeness(blurred, real) < fine - 0.1 and likeness(grainy, real) < fine - 0.1 and likeness(one, real) < fine - 0.1
    assert likeness(others, real) == fine  # nothing is drawn anew


def test_the_pyramid_holds_the_picture() -> None:
    pictures = discs(2, 3)
    fine, middle, coarse = pyramid(pictures)
    assert [part.shape[-1] for part in (fine, middle, coarse)] == [64, 32, 16]
    for band in (middle, fine):
        coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False) + band
    torch.testing.assert_close(coarse, pictures)


def test_distances_are_of_sorted_numbers() -> None:
    line = torch.ones(1, 1)
    assert sliced(torch.tensor([[3.0], [1.0]]), torch.tensor([[2.0], [5.0]]), line) == pytest.approx((1 + 2) / 2)
    assert sliced(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [1.0], [3.0], [3.0]]), line) == 0.0


class Painter:
    """Paints its noise's first number over the whole picture."""

    def noise(self, batch: Batch, stream: str) -> VectorNoise:
        return VectorNoise(gaussian((1,), batch.seed, batch.samples, stream))

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        raise AssertionError

    def paint(self, text: TextFeatures, noise: VectorNoise) -> Painting:
        return Painting(noise.z[:, :, None, None].tanh().expand(-1, 3, 16, 16))


def test_few_captions_are_painted_often_and_from_other_noises() -> None:
    count = 6
    batch = Batch(discs(count, 4, 16), [["a"]] * count, (TextFeatures(torch.zeros(count, 2)),), np.arange(count), np.arange(count), 5)
    seen: list[torch.Tensor] = []

    def finds(batch: Batch, pictures: torch.Tensor) -> torch.Tensor:
        seen.append(pictures[:, 0, 0, 0])
        return pictures[:, 0, 0, 0] > 0

    figures = validated(Painter(), [batch], finds)  # type: ignore[arg-type]
    numbers = torch.cat(seen)
    assert len(seen) == FEWEST_PAINTED // count and len(numbers.unique()) == len(numbers)
    assert figures["recognised"] == pytest.approx(float((numbers > 0).float().mean()))
    assert figures["score"] == pytest.approx((figures["likeness"] + figures["recognised"]) / 2)
    assert validated(Painter(), [batch]).keys() == {"score", "likeness"}  # type: ignore[arg-type]
