"""Noise: alike wherever it is drawn, rows that know nothing of each other, and each field walked in its own way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from shared.batches import make_conditions
from torch import Tensor

from limner.core import noise, random
from limner.core.noise import Noise, UniformNoise, VectorNoise, gaussian, lerp, switched, uniform
from limner.methods.tac_gan import TACGAN, TACGANSettings

SEEDS = [0, 7, 2**40 + 3, -1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(1,), (100,), (3, 8, 8)])
def test_what_a_device_draws_is_what_numpy_draws(seed: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.array([0, 1, 5, 10**9])
    expected = random.normal(shape, seed, "paint", samples)
    assert np.array_equal(gaussian(shape, seed, samples, "paint").numpy(), expected)  # few of them, on a CPU
    monkeypatch.setattr(noise, "FEW", 0)
    found = gaussian(shape, seed, samples, "paint")
    assert found.dtype == torch.float32 and found.shape == (4, *shape)
    # Both compute in float64 and round to float32: one unit in the last place at most.
    assert np.allclose(found.numpy(), expected, rtol=2.0**-23, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_numbers_are_the_same_bits(seed: int) -> None:
    samples = np.arange(5)
    rows = random.hash64(seed, "paint", samples)[:, None]
    assert np.array_equal(uniform((7,), seed, samples, "paint").numpy(), random.uniform_of(rows, 0, 7))


def test_a_row_is_its_own_whatever_is_drawn_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for few in (noise.FEW, 0):
        monkeypatch.setattr(noise, "FEW", few)
        for draw in (gaussian, uniform):
            whole = draw((6,), 3, np.arange(20), "paint")
            assert torch.equal(draw((6,), 3, [13], "paint")[0], whole[13])
            assert not torch.equal(draw((6,), 3, [13], "other")[0], whole[13])


def test_many_normal_numbers_are_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "FEW", 0)
    values = gaussian((1000,), 0, np.arange(100), "paint").double()
    count = values.numel()
    assert abs(float(values.mean())) < 5 / count**0.5 and abs(float((values**2).mean()) - 1) < 5 * (2 / count) ** 0.5
    assert abs(float((values**4).mean()) - 3) < 5 * (96 / count) ** 0.5 and bool(values.isfinite().all())


@dataclass(frozen=True)
class Mixed(Noise):
    """A field for each way of walking."""

    z: Tensor
    share: Tensor = field(metadata={"between": lerp})
    draws: Tensor = field(metadata={"between": switched})


def test_each_field_is_walked_in_its_own_way() -> None:
    start = Mixed(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[1, 2, 3, 4]]))
    end = Mixed(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[5, 6, 7, 8]]))
    half = start.between(end, 0.5)
    assert torch.allclose(half.z, torch.full((1, 2), 0.5**0.5))  # on the great circle
    assert torch.equal(half.share, torch.full((1, 2), 0.5))  # straight
    assert half.draws.tolist() == [[5, 6, 3, 4]] and half.draws.dtype == torch.int64
    for fraction, whole in ((0.0, start), (1.0, end)):
        found: Any = start.between(end, fraction)
        assert torch.equal(found.draws, whole.draws) and torch.allclose(found.z, whole.z, atol=1e-6)
    assert len(half[:1]) == 1 and half.to("cpu") is not half


def test_tac_gans_uniform_noise_walks_straight_and_stays_uniform() -> None:
    method = TACGAN(TACGANSettings(noise="uniform"), make_conditions(32, class_count=3))
    start, end = (method.draw_noise(0, [number]) for number in (0, 1))
    assert isinstance(start, UniformNoise)
    for fraction in (0.0, 0.25, 1.0):
        z = start.between(end, fraction).z  # type: ignore[attr-defined]
        assert torch.equal(z, torch.lerp(start.z, end.z, fraction)) and float(z.abs().max()) <= 1.0  # type: ignore[attr-defined]
    normal = TACGAN(TACGANSettings(noise="normal"), make_conditions(32, class_count=3)).draw_noise(0, [0])
    assert isinstance(normal, VectorNoise)
