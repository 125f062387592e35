"""StyleGAN2's layers against their definitions, written out plainly, and derivatives of the filter against differences."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.families.augmentation import CUT, FARTHEST, STRONGEST, adapted, augmented, cut_out, translated
from limner.families.style.adaptive import HalvingConvolution
from limner.families.style.generator import Mapping, map_widths, mixed
from limner.families.style.layers import EPSILON, StyledConvolution, StyledPicture
from limner.families.style.noise import StyleNoise
from limner.families.style.path_length import path_lengths, path_penalty
from limner.families.style.resampling import Filter, binomial, resampled


def by_definition(x: Tensor, kernel: Tensor, up: int, down: int, pads: tuple[int, int, int, int]) -> Tensor:
    """Zeros between, zeros around, a convolution, every `down`-th value."""
    count, channels, height, width = x.shape
    wide = x.new_zeros(count, channels, height * up, width * up)
    wide[:, :, ::up, ::up] = x
    padded = F.pad(wide, pads).flatten(0, 1)[:, None]
    found = F.conv2d(padded, kernel.flip(0, 1)[None, None])
    return found.unflatten(0, (count, channels))[:, :, 0, ::down, ::down]


CASES = [
    (1, 1, (1, 1, 1, 1)),
    (1, 1, (2, 1, 0, 3)),
    (2, 1, (2, 1, 2, 1)),
    (1, 2, (1, 1, 1, 1)),
    (2, 3, (3, -1, 3, -1)),
    (1, 1, (0, 0, -1, 4)),
]


@pytest.mark.parametrize(("up", "down", "pads"), CASES)
def test_maps_are_resampled_as_defined_and_twice_differentiable(up: int, down: int, pads: tuple[int, int, int, int]) -> None:
    torch.manual_seed(0)
    x, kernel = torch.randn(2, 2, 5, 6, dtype=torch.float64), torch.randn(4, 4, dtype=torch.float64)
    torch.testing.assert_close(resampled(x, kernel, up=up, down=down, pads=pads), by_definition(x, kernel, up, down, pads))

    def function(given: Tensor) -> Tensor:
        return resampled(given, kernel, up=up, down=down, pads=pads).square()

    assert torch.autograd.gradcheck(function, x.requires_grad_()) and torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("rows", [1, 3])
def test_scaled_maps_are_the_same_as_scaled_weights(up: bool, rows: int) -> None:
    """A row's own weights, modulated, demodulated, and convolved with by themselves (Eqs. 1 and 3); also where one picture is painted."""
    torch.manual_seed(0)
    layer = StyledConvolution(4, 6, 5, up=up).double()
    with torch.no_grad():
        layer.noise_strength.fill_(0.3)
        layer.bias.normal_()  # type: ignore[union-attr]
    x, style = torch.randn(rows, 4, 16, 16, dtype=torch.float64), torch.randn(rows, 5, dtype=torch.float64)
    noise = torch.randn(rows, 1, 32 if up else 16, 32 if up else 16, dtype=torch.float64)
    expected = []
    for row in range(rows):
        scale = F.linear(style[row], layer.modulation.weight / math.sqrt(5), layer.modulation.bias)
        weight = layer.weight / math.sqrt(4 * 9) * scale[None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + EPSILON).sqrt()
        if up:
            found = F.conv_transpose2d(x[row : row + 1], weight.transpose(0, 1), stride=2)
            found = by_definition(found, binomial(4.0).double(), 1, 1, (1, 1, 1, 1))
        else:
            found = F.conv2d(x[row : row + 1], weight, padding=1)
        assert layer.bias is not None
        found = found + noise[row : row + 1] * 0.3 + layer.bias[:, None, None]
        expected.append(F.leaky_relu(found, 0.2) * math.sqrt(2))
    torch.testing.assert_close(layer(x, style, noise), torch.cat(expected))
    with torch.no_grad():
        torch.testing.assert_close(layer(x, style, noise), torch.cat(expected))


def test_colours_are_modulated_and_not_demodulated() -> None:
    layer = StyledPicture(4, 5).double()
    x, style = torch.randn(2, 4, 3, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    scaled = x * layer.modulation(style)[:, :, None, None] / 2
    expected = F.conv2d(scaled, layer.weight[:, :, None, None], layer.bias)
    torch.testing.assert_close(layer(x, style), expected)
    torch.testing.assert_close(layer(x.contiguous(memory_format=torch.channels_last), style), expected)


def test_a_halving_convolution_is_a_convolution_and_a_mean() -> None:
    layer = HalvingConvolution(3, 4).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = F.avg_pool2d(F.conv2d(x, layer.weight * layer.scale, layer.bias, padding=1), 2)
    torch.testing.assert_close(layer(x), expected)


def test_a_filter_keeps_the_mean() -> None:
    flat = torch.ones(1, 2, 8, 8)
    assert torch.equal(Filter(2, 1, up=2, gain=4.0)(flat)[..., 2:-2, 2:-2], torch.ones(1, 2, 12, 12))
    assert torch.equal(Filter(1, 1, down=2)(flat)[..., 1:-1, 1:-1], torch.ones(1, 2, 2, 2))


def test_widths_mixing_and_noise() -> None:
    assert map_widths(256, 32_768, 512) == [512, 512, 512, 512, 512, 256, 128]
    first, second = torch.zeros(2, 3), torch.ones(2, 3)
    assert mixed(first, second, 5, 2)[:, :, 0].tolist() == [[0, 0, 1, 1, 1]] * 2
    assert mixed(first, second, 5, 5).sum() == 0
    noise = StyleNoise(torch.zeros(2, 1), torch.arange(40.0).view(2, 20))
    assert [tuple(part.shape) for part in noise.split([2, 4])] == [(2, 1, 2, 2), (2, 1, 4, 4)]
    assert torch.cat([part.flatten(1) for part in noise.split([2, 4])], dim=1).equal(noise.maps)


def test_the_mean_style_is_followed_and_truncation_goes_there() -> None:
    mapping = Mapping(4, 3, 2)
    styles = mapping(torch.randn(8, 4))
    mapping.follow(styles)
    torch.testing.assert_close(mapping.mean, 0.005 * styles.detach().mean(0))
    torch.testing.assert_close(mapping.truncated(styles, 0.0), mapping.mean.expand(8, -1))
    assert mapping.truncated(styles, 1.0) is styles
    torch.testing.assert_close(mapping.truncated(styles, 0.5), (styles + mapping.mean) / 2)


def test_path_lengths_of_pictures_whose_slopes_are_known() -> None:
    """A picture that is its styles' sum times a pattern: each place's gradient is the pattern's product with the noise."""
    styles = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    pattern = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    pictures = torch.einsum("bpw,wchx->bchx", styles, pattern)
    noise = torch.randn(3, 3, 2, 2, dtype=torch.float64)
    slopes = torch.einsum("wchx,bchx->bw", pattern, noise) / 2  # the root of four places
    lengths = path_lengths(pictures, styles, noise)
    torch.testing.assert_close(lengths, slopes.norm(dim=1))
    penalty, mean = path_penalty(lengths, 2.0)
    assert float(mean) == pytest.approx(2.0 + 0.01 * (float(lengths.mean()) - 2.0))
    torch.testing.assert_close(penalty, (lengths - mean).square().mean())


def test_changes_of_the_augmentation() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(64, 3, 16, 16) + 0.5  # nowhere grey
    assert augmented(pictures, ("translation", "cutout", "flip"), 0.0) is pictures
    share = (augmented(pictures, ("flip",), 0.5) != pictures).flatten(1).any(1).double().mean()
    assert 0.3 < float(share) < 0.7
    moved, reach = translated(pictures, torch.arange(64)), round(16 * FARTHEST)
    for before, after in zip(pictures, moved, strict=True):
        kept = (after[0] > 0).nonzero()
        (top, left), (bottom, right) = kept.amin(0).tolist(), kept.amax(0).tolist()
        assert min(bottom - top, right - left) + 1 >= 16 - reach
        found = [
            (down, across)
            for down in range(-reach, reach + 1)
            for across in range(-reach, reach + 1)
            if top - down >= 0
            and bottom - down < 16
            and left - across >= 0
            and right - across < 16
            and before[:, top - down : bottom - down + 1, left - across : right - across + 1].equal(
                after[:, top : bottom + 1, left : right + 1]
            )
        ]
        assert found, "a shift of the picture"
    cut = (cut_out(pictures, torch.arange(64)) == 0).all(1).flatten(1).sum(1)
    assert cut.max() == (16 * CUT) ** 2 and cut.min() >= (8 * CUT) ** 2
    alike = augmented(pictures[:1].expand(64, -1, -1, -1), ("translation", "cutout"), 0.5, torch.arange(64) % 32)
    assert torch.equal(alike[:32], alike[32:]) and (alike[0] != alike[1:32]).flatten(1).any(1).any()
    given = pictures.clone().requires_grad_()
    augmented(given, ("translation", "cutout"), 0.8).sum().backward()
    assert given.grad is not None and 0 < given.grad.mean() < 1


def test_the_strength_adapts_within_its_bounds() -> None:
    assert adapted(0.1, 0.9, 0.6, 64, 640) == pytest.approx(0.2)
    assert adapted(0.1, 0.1, 0.6, 32, 640) == pytest.approx(0.05)
    assert adapted(0.0, -1.0, 0.6, 64, 640) == 0.0 and adapted(STRONGEST, 1.0, 0.6, 64, 640) == STRONGEST
