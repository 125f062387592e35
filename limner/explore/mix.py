"""Style mixing: coarse styles of one picture with the fine styles of another (StyleGAN's figure 3: Karras et al., CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from limner.core.errors import SettingsError
from limner.data.sheet import column_grid
from limner.explore.styles import check_caption_for_styles, painted, styled, styles_of
from limner.model.requests import check_count

if TYPE_CHECKING:
    from limner.model import Model


@dataclass(frozen=True)
class Mixed:
    """coarse: [R, H, W, 3], fine: [C, H, W, 3], pictures: [R, C, H, W, 3], all uint8. at: the first of the `places` with fine styles."""

    coarse: NDArray[np.uint8]
    fine: NDArray[np.uint8]
    pictures: NDArray[np.uint8]
    at: int
    places: int


def mix(model: Model, *, caption: str = "", rows: int = 4, columns: int = 5, at: int | None = None, seed: int = 0) -> Mixed:
    """Pictures with the styles of one picture before place `at`, and those of another from there on.

    A row's picture also gives the noise. at: by default two fifths of the places, which is 16 px for StyleGAN2 at 64 px. Raises
    SettingsError for a model without styles, a place that it has not, a caption that it cannot read, and fewer than 1 row or column.
    """
    styled(model)
    check_caption_for_styles(model, caption)
    for name, value in (("--rows", rows), ("--columns", columns)):
        check_count(name, value)
    noise = model.noise(seed, np.arange(rows + columns))
    styles = styles_of(model, caption, noise)
    places = styles.shape[1]
    at = places * 2 // 5 if at is None else at
    if not 1 <= at < places:
        raise SettingsError(f"--at is {at}, but this model has {places} places for styles: choose from 1 to {places - 1}")
    sources = painted(model, styles, noise).permute(0, 2, 3, 1).cpu().numpy()
    found = []
    for row in range(rows):
        own = torch.full((columns,), row, device=styles.device)
        joined = torch.cat([styles[own, :at], styles[rows:, at:]], dim=1)
        found.append(painted(model, joined, noise[own]).permute(0, 2, 3, 1).cpu().numpy())
    return Mixed(sources[:rows], sources[rows:], np.stack(found), at, places)


def mix_page(found: Mixed) -> Image.Image:
    """The grid: fine styles come from the picture above, coarse ones from the picture to the left."""
    blank = np.full_like(found.coarse[0], 255)
    rows = [[blank, *found.fine], *([own, *pictures] for own, pictures in zip(found.coarse, found.pictures, strict=True))]
    title = f"places {found.at} to {found.places - 1} from above, those before from the left"
    return column_grid(rows, [title, *[""] * len(found.fine)], apart=1)
