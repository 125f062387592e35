"""Pixel by pixel: PSNR and SSIM against the caption's real picture, and MS-SSIM among pictures of one caption as a measure of diversity.

SSIM (Wang et al., IEEE Transactions on Image Processing 13(4), 2004) with a Gaussian window of 11 x 11, sigma 1.5, over places where the
window fits. torchmetrics 1.9 averages over places beyond the border too, and convolves in two dimensions: its map, cut by 5 pixels, is
ours (`tests/metrics/test_pixels.py`), at four times the cost. MS-SSIM (Wang et al., Asilomar 2003) between pairs of one class is AC-GAN's
measure of variety (Odena et al., ICML 2017, arXiv:1610.09585): the lower the more they vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limner.metrics.scoring.metric import Figure, Found, Group, Metric, ScoringTask, SeenBatch

WINDOW, SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
PAIRS = 8
"""Pairs of pictures of each caption that MS-SSIM compares."""


@cache
def _blur(side: int) -> Tensor:
    """The window at every place where it fits, as a matrix [side - 10, side]: blurring a picture X is W X W^T."""
    window = torch.exp(-((torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    places = side - WINDOW + 1
    matrix = torch.zeros(places, side, dtype=torch.float64)
    for place in range(places):
        matrix[place, place : place + WINDOW] = window / window.sum()
    return matrix.float()


def _maps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure part at every place: floats [B, C, H, W] in 0..255 -> [B, C, H - 10, W - 10] twice."""
    x, y = first - 127.5, second - 127.5  # about zero, where differences of squares lose least
    rows, columns = _blur(x.shape[-2]).to(x), _blur(x.shape[-1]).to(x)
    mean_x, mean_y, square_x, square_y, product = rows @ torch.stack([x, y, x * x, y * y, x * y]) @ columns.T
    variances = square_x - mean_x**2 + square_y - mean_y**2
    structure = (2 * (product - mean_x * mean_y) + _C2) / (variances.clamp_min(0) + _C2)
    bright_x, bright_y = mean_x + 127.5, mean_y + 127.5
    return (2 * bright_x * bright_y + _C1) / (bright_x**2 + bright_y**2 + _C1) * structure, structure


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """[B, C, H, W] uint8, at least 11 x 11 -> [B] float64, the mean over channels and places."""
    return _maps(first.float(), second.float())[0].double().mean((1, 2, 3))


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """[B, C, H, W] uint8 -> [B] float64 in dB; infinite where pictures are equal."""
    error = (first.double() - second.double()).square().mean((1, 2, 3))
    return 10 * torch.log10(255.0**2 / error)


def scales_of(side: int) -> int:
    """Scales of MS-SSIM at which the window still fits: 1 at 11 px, 2 at 22, ... 5, as published, from 176 px on."""
    return min(len(_SCALE_WEIGHTS), int(np.log2(side / WINDOW)) + 1)


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """[B, C, R, R] uint8 -> [B] float64: `scales_of(R)` scales under the first of the published weights, made to sum to one.

    Negative structure counts as none, as in torchmetrics.
    """
    scales = scales_of(first.shape[-1])
    weights = torch.tensor(_SCALE_WEIGHTS[:scales], dtype=torch.float64)
    x, y = first.float(), second.float()
    result = torch.ones(len(x), dtype=torch.float64)
    for scale, weight in enumerate((weights / weights.sum()).tolist()):
        whole, structure = _maps(x, y)
        result *= (whole if scale == scales - 1 else structure).double().mean((1, 2, 3)).clamp_min(0) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return result


class _Paired(Metric):
    """A number for each of the first generated pictures and the real picture of its caption; the score is the mean."""

    needs = frozenset({"truth"})
    implementation: ClassVar[str]

    def measure(self, images: Tensor, truth: Tensor) -> Tensor:
        """One number for each picture: uint8 pictures [B, 3, R, R] and the real ones -> [B]."""
        raise NotImplementedError

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[np.generic]]:
        if batch.truth is None:
            return {}
        return {self.name: self.measure(batch.images[: len(batch.truth)].cpu(), batch.truth).numpy()}

    def figures(self, found: Found) -> list[Figure]:
        values = found.generated[self.name]
        error = float(values.std(ddof=1) / len(values) ** 0.5) if np.isfinite(values).all() else None
        return [
            Figure(
                name=self.name,
                value=float(values.mean()),
                error=error,
                higher_is_better=True,
                implementation=self.implementation,
                settings={"pictures": len(values)},
            )
        ]


class Psnr(_Paired):
    """Peak signal-to-noise ratio to the real picture of the caption."""

    name: ClassVar[str] = "psnr"
    implementation = "limner: dB of 255 over a picture's mean square error, against its caption's real picture; mean over pictures"

    def measure(self, images: Tensor, truth: Tensor) -> Tensor:
        """One number for each picture: uint8 pictures [B, 3, R, R] and the real ones -> [B]."""
        return psnr(images, truth)


class Ssim(_Paired):
    """Structural similarity to the real picture of the caption."""

    name: ClassVar[str] = "ssim"
    implementation = f"limner: {WINDOW} x {WINDOW} Gaussian, sigma {SIGMA}, RGB, where the window fits, against its caption's real picture"

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        return _too_small(cls.name, task)

    def measure(self, images: Tensor, truth: Tensor) -> Tensor:
        """One number for each picture: uint8 pictures [B, 3, R, R] and the real ones -> [B]."""
        return ssim(images, truth)


def _too_small(name: str, task: ScoringTask) -> str | None:
    side = task.pictures.resolution
    return None if side >= WINDOW else f"{name} has a window of {WINDOW} px and pictures have {side}: leave it out"


class MsSsim(Metric):
    """Multi-scale structural similarity between pictures that should differ: the lower, the more they vary."""

    name: ClassVar[str] = "ms-ssim"
    needs = frozenset({"varied"})

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        return _too_small(cls.name, task)

    def varied(self, group: Group) -> Mapping[str, NDArray[np.generic]]:
        columns = {"ms-ssim": _similarity(group.images.cpu())}
        if group.real is not None and len(group.real) >= 2:
            columns["ms-ssim real"] = _similarity(group.real)
        return columns

    def figures(self, found: Found) -> list[Figure]:
        values = found.varied["ms-ssim"]
        return [
            Figure(
                name=self.name,
                value=float(values.mean()),
                error=float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None,
                real=float(found.varied["ms-ssim real"].mean()) if "ms-ssim real" in found.varied else None,
                higher_is_better=False,
                implementation="limner: SSIM's window, RGB, first of Wang et al.'s weights made to sum to one; pairs of one caption",
                settings={"scales": scales_of(self.task.pictures.resolution), "captions": len(values), "pairs": PAIRS},
            )
        ]


def _similarity(images: Tensor) -> NDArray[np.float64]:
    """The mean over pairs of neighbours in [n, 3, R, R], as an array of one."""
    pairs = min(PAIRS, len(images) // 2)
    return ms_ssim(images[0 : 2 * pairs : 2], images[1 : 2 * pairs : 2]).mean(0, keepdim=True).numpy()
