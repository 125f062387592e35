"""Completing: a part of a picture is given, and a model writes the rest, as words say (Ramesh et al., ICML 2021, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from limner.core.abilities import Completes
from limner.core.errors import SettingsError
from limner.data.sheet import caption_grid
from limner.explore.lacking import lacking
from limner.features.network import to_bytes, to_float
from limner.metrics.judge import to_tensor
from limner.model.requests import check_asked

if TYPE_CHECKING:
    from limner.model import Model

HALVES = {"top": (0.0, 0.0, 1.0, 0.5), "left": (0.0, 0.0, 0.5, 1.0)}
"""Parts with names, as boxes: left, top, right and bottom edge, each a share of the side."""


def box_of(keep: str) -> tuple[float, float, float, float]:
    """A part of a picture by its name, or written as "LEFT,TOP,RIGHT,BOTTOM" in shares of the side. Raises SettingsError for another."""
    if keep in HALVES:
        return HALVES[keep]
    try:
        left, top, right, bottom = (float(number) for number in keep.split(","))
    except ValueError:
        left, top, right, bottom = 1.0, 1.0, 0.0, 0.0
    if not (0.0 <= left < right <= 1.0 and 0.0 <= top < bottom <= 1.0):
        known = "top, left, or a box LEFT,TOP,RIGHT,BOTTOM in shares of the side, such as 0,0,1,0.25"
        raise SettingsError(f"--keep {keep} is not a part of a picture: give {known}")
    return left, top, right, bottom


def kept_part(box: tuple[float, float, float, float], side: int) -> Tensor:
    """[1, side, side] bool, True within the box, whose edges are rounded to pixels."""
    left, top, right, bottom = (round(edge * side) for edge in box)
    kept = torch.zeros(1, side, side, dtype=torch.bool)
    kept[:, top:bottom, left:right] = True
    return kept


def complete(
    model: Model,
    captions: Sequence[str],
    pictures: NDArray[np.uint8],
    keep: Tensor,
    samples: Sequence[int],
    seed: int = 0,
    batch_size: int = 64,
) -> NDArray[np.uint8]:
    """One completion for each caption, picture [B, R, R, 3] and sample number, of which the pixels in `keep` [1, R, R] stay: [B, R, R, 3].

    Raises SettingsError for a caption that the model cannot read, and a model that does not complete.
    """
    method = model.method
    if not isinstance(method, Completes):
        raise lacking(model, "this model completes no pictures: give one of a method that does (limner methods says which), such as dall-e")
    if not keep.any():
        raise SettingsError("nothing of the picture is kept: give a larger part, or paint by limner generate")
    check_asked(model.encoder, captions)
    found = []
    for start in range(0, len(captions), batch_size):
        rows = slice(start, start + batch_size)
        given = to_float(to_tensor(pictures[rows]).to(model.device))
        text, noise = model.encode(captions[rows]), model.noise(seed, list(samples[rows]))
        with torch.no_grad():
            painting = method.complete(text, noise, given, keep.to(model.device).expand(len(given), -1, -1, -1))
        found.append(to_bytes(painting.images).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(found)


def completed_page(picture: NDArray[np.uint8], keep: Tensor, completed: NDArray[np.uint8], captions: Sequence[str]) -> Image.Image:
    """One row for each caption: the picture, what is kept of it (the rest grey), and the completions, [C, N, R, R, 3]."""
    shown = np.where(keep.permute(1, 2, 0).numpy(), picture, np.uint8(128))
    rows = [[picture, shown, *row] for row in completed]
    labels = [["picture", "kept", *(str(number) for number in range(1, len(row) + 1))] for row in completed]
    return caption_grid(rows, list(captions), labels=labels)
