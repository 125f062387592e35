"""Inversion: a picture, the code that a model finds for it, and what it paints of that code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from limner.core.abilities import Inverts, Tell
from limner.data.sheet import caption_grid
from limner.explore.differences import apart, bright
from limner.explore.lacking import lacking
from limner.explore.parts import parts
from limner.features.network import to_bytes, to_float
from limner.metrics.judge import to_tensor
from limner.metrics.pixels import WINDOW, psnr, ssim
from limner.model.requests import check_count

if TYPE_CHECKING:
    from limner.model import Model

Progress = Callable[[int, int, str], None]
"""Called with the number of steps done, the number of all, and what is being done."""


def told(progress: Progress | None, what: str) -> Tell | None:
    """What a method calls after each step of `what`."""
    if progress is None:
        return None
    return lambda done, total: progress(done, total, what)


def inverting(model: Model) -> Inverts:
    """The model's method, which inverts. Raises SettingsError for another."""
    if not isinstance(model.method, Inverts):
        raise lacking(
            model, "this model finds no codes of pictures: give one of a method that does (limner methods says which), such as ci-gan"
        )
    return model.method


@dataclass(frozen=True)
class Inverted:
    """Pictures and what a model makes of the codes that it finds for them: [N, R, R, 3] uint8 each."""

    pictures: NDArray[np.uint8]
    rebuilt: NDArray[np.uint8]

    def apart(self) -> NDArray[np.float32]:
        """How far every pixel is from the picture's, in levels of 255, mean over the colours: [N, R, R]."""
        return apart(self.rebuilt, self.pictures)

    def lines(self, names: Sequence[str]) -> list[str]:
        """How far each is from its picture, in words, after its name."""
        return [f"{name}: {words}" for name, words in zip(names, self.distances_told(), strict=True)]

    def distances_told(self) -> list[str]:
        """How far each is from its picture, in words."""
        found, ssims = self.distances()
        shown = [f"PSNR {decibels:.1f} dB" for decibels in found]
        return shown if ssims is None else [f"{words}, SSIM {share:.3f}" for words, share in zip(shown, ssims, strict=True)]

    def distances(self) -> tuple[list[float], list[float] | None]:
        """PSNR in dB and SSIM of each; no SSIM for pictures that are smaller than its window."""
        one, other = to_tensor(self.pictures), to_tensor(self.rebuilt)
        return psnr(other, one).tolist(), ssim(other, one).tolist() if one.shape[-1] >= WINDOW else None


def invert(model: Model, pictures: NDArray[np.uint8], seed: int = 0, progress: Progress | None = None) -> Inverted:
    """Pictures [N, R, R, 3] and what the model paints of their codes. progress: called after each step, if the method takes steps.

    Raises SettingsError for a model that does not invert.
    """
    inverting(model)
    rebuild = model.rebuilder(seed, told(progress, "inverting"))
    assert rebuild is not None
    return Inverted(pictures, rebuild(to_tensor(pictures), np.arange(len(pictures))).permute(0, 2, 3, 1).numpy())


def inverted_page(found: Inverted, titles: Sequence[str], tile: int = 128) -> Image.Image:
    """A row for each picture: the picture, what is painted of its code, and where they differ."""
    differences = found.apart()
    rows = [[picture, again, where] for picture, again, where in zip(found.pictures, found.rebuilt, bright(differences), strict=True)]
    labels = [["picture", "found again", f"difference {float(where.mean()):.1f}"] for where in differences]
    return caption_grid(rows, list(titles), labels=labels, tile=tile)


def between_pictures(
    model: Model, pictures: NDArray[np.uint8], steps: int = 8, seed: int = 0, progress: Progress | None = None
) -> NDArray[np.uint8]:
    """A walk from one picture's code straight to another's: two pictures [2, R, R, 3] -> [steps, R, R, 3]. progress: as for `invert`.

    Raises SettingsError for a model that does not invert and for fewer than 2 steps.
    """
    method = inverting(model)
    check_count("--steps", steps, 2)  # a walk has a start and an end
    with torch.no_grad():
        start, end = method.invert(to_float(to_tensor(pictures).to(model.device)), tell=told(progress, "inverting"))
        found = []
        for rows in parts(steps):
            codes = torch.stack([start.lerp(end, fraction) for fraction in torch.linspace(0.0, 1.0, steps)[rows].tolist()])
            found.append(to_bytes(method.paint_codes(codes, model.noise(seed, np.zeros(len(codes), np.int64))).images))
    return torch.cat(found).permute(0, 2, 3, 1).cpu().numpy()
