"""PSNR, SSIM and MS-SSIM against torchmetrics where it computes the same, and on pictures whose score is known."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from limner.metrics.pixels import _SCALE_WEIGHTS, ms_ssim, psnr, scales_of, ssim


def pictures(seed, side=40, noise=30.0):
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.nn.functional.interpolate(torch.rand(3, 3, 6, 6, generator=generator) * 255, size=(side, side), mode="bilinear")
    noisy = (smooth + noise * torch.randn(smooth.shape, generator=generator)).clamp(0, 255)
    return smooth.to(torch.uint8), noisy.to(torch.uint8)


def theirs(first, second):
    """torchmetrics' map, less the border of 5 pixels: [B]."""
    _, full = structural_similarity_index_measure(
        first.double(), second.double(), data_range=255.0, reduction="none", return_full_image=True
    )
    return full[..., 5:-5, 5:-5].mean((1, 2, 3))


def test_ssim_is_torchmetrics_map_without_its_border():
    first, second = pictures(0)
    torch.testing.assert_close(ssim(first, second), theirs(first, second), rtol=1e-4, atol=1e-5)
    assert ssim(first, first).tolist() == pytest.approx([1.0] * 3)


def test_psnr_is_torchmetrics():
    first, second = pictures(1)
    for row in range(3):
        expected = peak_signal_noise_ratio(first[row].double(), second[row].double(), data_range=255.0)
        assert float(psnr(first, second)[row]) == pytest.approx(float(expected), rel=1e-6)
    assert torch.isinf(psnr(first, first)).all()


def test_scales_are_those_at_which_the_window_fits():
    assert [scales_of(side) for side in (11, 16, 21, 22, 32, 64, 128, 175, 176, 256, 512)] == [1, 1, 1, 2, 2, 3, 4, 4, 5, 5, 5]


def test_ms_ssim_multiplies_structure_over_scales():
    first, second = pictures(2, side=24)
    whole = theirs(*(torch.nn.functional.avg_pool2d(x.double(), 2) for x in (first, second)))
    _, structure = structural_similarity_index_measure(
        first.double(), second.double(), data_range=255.0, reduction="none", return_contrast_sensitivity=True
    )
    weights = torch.tensor(_SCALE_WEIGHTS[:2], dtype=torch.float64)
    weights = weights / weights.sum()
    torch.testing.assert_close(ms_ssim(first, second), structure ** weights[0] * whole ** weights[1], rtol=1e-4, atol=1e-5)
    assert ms_ssim(first, first).tolist() == pytest.approx([1.0] * 3)
    assert (ms_ssim(first, first.flip(0)) < 0.9).any()
