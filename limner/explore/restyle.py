"""Style transfer: what a caption says, in the style of a picture (Reed et al., ICML 2016, section 4.4): s = S(x), x' = G(s, phi(t))."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from limner.core.abilities import Edits
from limner.core.errors import DataError
from limner.data.decoding import Rejected, decode
from limner.data.sheet import column_grid
from limner.data.sources import PictureFile
from limner.explore.invert import Inverted, Progress, told
from limner.features.network import to_bytes, to_float
from limner.metrics.judge import to_tensor
from limner.model.requests import check_asked
from limner.parts.style import flat_noise, noise_fields

if TYPE_CHECKING:
    from limner.model import Model

_CHUNK = 64


def restyle(
    model: Model, pictures: NDArray[np.uint8], captions: Sequence[str], progress: Progress | None = None, seed: int = 0
) -> NDArray[np.uint8]:
    """Every caption in the style of every picture: [P, R, R, 3] and C captions -> [P, C, R, R, 3] uint8.

    The style is the noise that the style encoder finds. A model without one, but with codes of pictures (ci-gan), changes the picture's
    code as each caption says, and keeps of it what captions leave open. progress: called after each step that this takes; seed: of the
    noise that such a model paints codes with. Raises SettingsError for captions that the model cannot read, or a model that can do neither.
    """
    if by_codes(model):
        return restyle_by_codes(model, pictures, captions, progress, seed)[1]
    check_asked(model.encoder, captions)
    text, rows = model.encode(captions), []
    for picture in pictures:
        style = model.invert(to_tensor(picture[None]))
        same = torch.zeros(len(captions), dtype=torch.int64, device=model.device)
        rows.append(model.paint(text, style[same]).permute(0, 2, 3, 1).cpu().numpy())
    return np.stack(rows)


def by_codes(model: Model) -> bool:
    """Whether restyling goes by the codes that the method finds for pictures, and needs no style encoder."""
    return model.style is None and isinstance(model.method, Edits)


@torch.no_grad()
def restyle_by_codes(
    model: Model, pictures: NDArray[np.uint8], captions: Sequence[str], progress: Progress | None = None, seed: int = 0
) -> tuple[Inverted, NDArray[np.uint8]]:
    """What a model that edits pictures paints of their codes, and of the codes changed as each caption says: [P, C, R, R, 3] uint8.

    A picture's paintings share its noise. progress: called after each step of inverting and editing. Raises SettingsError for captions that
    the model cannot read.
    """
    check_asked(model.encoder, captions)
    method, text, count = model.method, model.encode(captions), len(captions)
    assert isinstance(method, Edits)
    found, rows = list[NDArray[np.uint8]](), list[NDArray[np.uint8]]()
    for number, picture in enumerate(pictures):
        given, place = to_float(to_tensor(picture[None]).to(model.device)), f"picture {number + 1} of {len(pictures)}"
        code = method.invert(given, tell=told(progress, f"inverting {place}"))
        codes, seen = (one.expand(count, *one.shape[1:]) for one in (code, given))
        noise = model.noise(seed, np.full(count + 1, number))  # the picture's own, for its code and for each caption's
        edited = method.edit(codes, text, noise[:count], pictures=seen, tell=told(progress, f"editing {place}"))
        painted = method.paint_codes(torch.cat([code, edited]), noise).images
        first, *others = to_bytes(painted).permute(0, 2, 3, 1).cpu().numpy()
        found.append(first)
        rows.append(np.stack(others))
    return Inverted(pictures, np.stack(found)), np.stack(rows)


@dataclass(frozen=True)
class Inversion:
    """How well S inverts G, on pictures that the model paints itself: real ones have no z to compare with."""

    pictures: int
    noise: float
    """Share of z's variance that S finds: 1 - mean square error / mean square. 1 if it knows z, 0 if it always answers 0, the mean."""
    picture: float
    """Mean square difference of the pictures when they are painted again from what S finds, over that when they are painted again from
    other noise: 0 if they come back, 1 if S knows no more than a guess. Numbers of z that G does not show count here for nothing."""
    mean: float
    """`picture` of an S that always answers 0, which S must beat."""

    def __str__(self) -> str:
        return (
            f"In {self.pictures} pictures painted of these captions, the style encoder finds {self.noise:.1%} of the noise's variance. "
            f"Painted again from what it finds, they are off by {self.picture:.1%} of what other noise puts them off (mean square); "
            f"from z = 0 it would be {self.mean:.1%}."
        )


def inversion(model: Model, captions: Sequence[str], count: int = 256, seed: int = 0) -> Inversion:
    """How well the model's style encoder inverts its generator on these captions, taken in turn."""
    found_error = noise_square = own = other = mean = 0.0
    for start in range(0, count, _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, count))
        text = model.encode([captions[number % len(captions)] for number in numbers])
        noise, another = model.noise(seed, numbers), model.noise(seed, numbers + count)
        painted = model.paint(text, noise)
        found = model.invert(painted)
        z = flat_noise(noise_fields(noise))
        found_error += _square(flat_noise(noise_fields(found)) - z)
        noise_square += _square(z)
        own += _square(model.paint(text, found) - painted.float())
        nothing = type(noise)(**{name: torch.zeros_like(value) for name, value in noise_fields(noise).items()})
        mean += _square(model.paint(text, nothing) - painted.float())
        other += _square(model.paint(text, another) - painted.float())
    other = other or math.nan
    return Inversion(count, 1 - found_error / noise_square, own / other, mean / other)


def _square(values: Tensor) -> float:
    return float(values.double().square().sum())


def read_picture(path: Path, side: int) -> NDArray[np.uint8]:
    """A picture file of any size: its centre square, reduced to [side, side, 3] uint8. Raises DataError where it is not a picture."""
    try:
        picture, _ = decode(PictureFile(path, path.stat().st_size), side)
    except Rejected as error:
        raise DataError(f"{path} cannot be used: {error}; give a PNG, JPEG, WebP, BMP or GIF file") from None
    except OSError as error:
        raise DataError(f"cannot read the picture {path} ({error.strerror or error}): give the path of a picture file") from None
    return picture


def page(
    pictures: NDArray[np.uint8], painted: NDArray[np.uint8], captions: Sequence[str], found: NDArray[np.uint8] | None = None
) -> Image.Image:
    """One row for each picture, which stands first, and one column for each caption. found: what the model paints of the pictures' codes,
    [P, R, R, 3], a column of its own."""
    if found is None:
        return column_grid([[picture, *row] for picture, row in zip(pictures, painted, strict=True)], ["style of", *captions], apart=1)
    rows = [[picture, again, *row] for picture, again, row in zip(pictures, found, painted, strict=True)]
    return column_grid(rows, ["style of", "found again", *captions], apart=2)
