"""Style transfer: what a caption says, in the style of a picture (Reed et al., ICML 2016, section 4.4): s = S(x), x' = G(s, phi(t))."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from limner.core.errors import DataError
from limner.data.decoding import Rejected, decode
from limner.data.sheet import column_grid
from limner.data.sources import PictureFile
from limner.metrics.judge import to_tensor
from limner.model.style import flat_noise, noise_fields

if TYPE_CHECKING:
    from limner.model import Model

_CHUNK = 64


def restyle(model: Model, pictures: NDArray[np.uint8], captions: Sequence[str]) -> NDArray[np.uint8]:
    """Every caption in the style of every picture: [P, R, R, 3] and C captions -> [P, C, R, R, 3] uint8.

    Raises SettingsError for captions that the model cannot read, or a model without style encoder.
    """
    for caption in captions:
        model.check(caption)
    text = model.encode(captions)
    rows = []
    for picture in pictures:
        style = model.invert(to_tensor(picture[None]))
        same = torch.zeros(len(captions), dtype=torch.int64, device=model.device)
        rows.append(model.paint(text, style[same]).permute(0, 2, 3, 1).cpu().numpy())
    return np.stack(rows)


def explained(model: Model, captions: Sequence[str], count: int = 256, seed: int = 0) -> float:
    """The share of the noise's variance that S finds again in pictures that the model paints of these captions in turn.

    1 - mean square error / mean square: 1 for S that knows z exactly, 0 for one that always answers 0, the mean. Real pictures have no
    z to compare with.
    """
    error = total = 0.0
    for start in range(0, count, _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, count))
        noise = model.noise(seed, numbers)
        painted = model.paint(model.encode([captions[number % len(captions)] for number in numbers]), noise)
        z, found = (flat_noise(noise_fields(value)) for value in (noise, model.invert(painted)))
        error += float((found - z).double().square().sum())
        total += float(z.double().square().sum())
    return 1 - error / total


def read_picture(path: Path, side: int) -> NDArray[np.uint8]:
    """A picture file of any size: its centre square, reduced to [side, side, 3] uint8. Raises DataError where it is no picture."""
    try:
        picture, _ = decode(PictureFile(path, path.stat().st_size), side)
    except Rejected as error:
        raise DataError(f"{path} cannot be used: {error}; give a PNG, JPEG, WebP, BMP or GIF file") from None
    except OSError as error:
        raise DataError(f"cannot read the picture {path} ({error.strerror or error}): give the path of a picture file") from None
    return picture


def page(pictures: NDArray[np.uint8], painted: NDArray[np.uint8], captions: Sequence[str]) -> Image.Image:
    """One row for each picture, which stands first, and one column for each caption."""
    rows = [[picture, *row] for picture, row in zip(pictures, painted, strict=True)]
    return column_grid(rows, ["style of", *captions], apart=1)
