"""Picture files to square uint8 pixels."""

from __future__ import annotations

import io
import os
import warnings
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from limner.data.formats import PICTURE_FORMATS
from limner.data.framing import Framing
from limner.data.layouts import Misplaced, Placed, place
from limner.data.sources import PictureFile, Sample, Unreadable, system_reason

LARGEST_PIXELS = 64_000_000
LARGEST_BYTES = 128 << 20
_AS_EVER = Framing()


class Rejected(Exception):
    """A picture that cannot be used; its text is the reason."""


@dataclass(frozen=True)
class Decoded:
    """A picture as it is stored."""

    pixels: NDArray[np.uint8]
    """[side, side, 3]."""
    smaller: bool
    """Whether the picture was smaller and had to be enlarged."""
    checksum: int
    """CRC-32 of the picture's bytes."""
    placed: Placed | None = None
    """What stands where in it, where its source says so."""


def decode(picture: PictureFile, side: int) -> tuple[NDArray[np.uint8], bool]:
    """Read, turn upright, lay on white, reduce the short side to `side` with antialiasing and cut the centre square.

    Returns [side, side, 3] uint8 and whether the picture was smaller and had to be enlarged. Raises Rejected with the reason.
    """
    return decode_sized(picture, side)[:2]


def decode_sized(
    picture: PictureFile, side: int, framing: Framing = _AS_EVER, resolution: int | None = None
) -> tuple[NDArray[np.uint8], bool, tuple[int, int]]:
    """As `decode`, framed as asked, and the width and height of the upright picture. resolution: of the crops; by default the side."""
    return decode_bytes(read_picture(picture), side, framing, resolution)


def read_picture(picture: PictureFile) -> bytes:
    """The bytes of a picture. Raises Rejected with the reason where there are too many or they cannot be had."""
    if picture.size > LARGEST_BYTES:
        raise Rejected(f"huge picture (over {LARGEST_BYTES >> 20} MiB)")
    try:
        return picture.read()
    except OSError as error:
        raise Rejected(f"picture that {system_reason(error)}") from None
    except Unreadable as error:
        raise Rejected(str(error)) from None


def decode_bytes(
    content: bytes, side: int, framing: Framing = _AS_EVER, resolution: int | None = None
) -> tuple[NDArray[np.uint8], bool, tuple[int, int]]:
    """As `decode_sized`, of a picture's bytes."""
    try:
        with Image.open(io.BytesIO(content), formats=PICTURE_FORMATS) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise Rejected(f"huge picture (over {LARGEST_PIXELS // 1_000_000} million pixels)")
            size = image.size
            if not framing.pixel_art:
                # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice the wanted size is kept for the antialiasing filter.
                image.draft("RGB", (2 * side, 2 * side))
            lying = image.size
            image.load()
            deep = image.format == "TIFF" and image.mode == "I"  # of 32 bits, or with a sign: nothing says which of them are white
            upright = _laid_on(_upright(image), framing.colour, "I" if deep else "")
    except Rejected:
        raise
    except Image.DecompressionBombError:
        raise Rejected(f"huge picture (over {LARGEST_PIXELS // 1_000_000} million pixels)") from None
    except UnidentifiedImageError:
        raise Rejected("not a picture") from None
    except Exception as error:  # Pillow's readers raise all kinds of errors on broken bytes
        raise Rejected("truncated picture" if "truncated" in str(error).lower() else "damaged picture") from error
    if upright.size != lying:  # the Exif tag does not tell: of a TIFF, Pillow gives the size as it is upright, of a JPEG as it lies
        size = size[::-1]
    view = framing.view((size[0], size[1]), side, resolution or side)
    square = framing.framed(upright, framing.view(upright.size, side, resolution or side))
    return np.asarray(square), view.enlarges and not framing.pixel_art, (size[0], size[1])


def _decoded(sample: Sample, side: int, framing: Framing, resolution: int) -> Decoded:
    assert sample.picture is not None
    content = read_picture(sample.picture)
    checksum = zlib.crc32(content)
    pixels, smaller, size = decode_bytes(content, side, framing, resolution)
    labels = sample.labels
    if labels.things is None:
        return Decoded(pixels, smaller, checksum)
    try:
        placed = place(labels.things, size, framing.view(size, side, resolution), labels.things_size)
        return Decoded(pixels, smaller, checksum, placed)
    except Misplaced as error:
        raise Rejected(str(error)) from None


def _upright(image: Image.Image) -> Image.Image:
    """A picture turned as its EXIF data say; as it lies where Pillow cannot read these, since its pixels are whole."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow's readers raise all kinds of errors on broken bytes
        return image


def _laid_on(image: Image.Image, background: tuple[int, int, int], refused: str = "") -> Image.Image:
    """RGB: transparency over the background, 16-bit grey scaled rather than cut off. refused: a colour mode that the file cannot have."""
    if image.mode in ("F", "LAB", "HSV", refused):
        raise Rejected(f"picture in the colour mode {image.mode} (save it as RGB with 8 bits)")
    if image.mode.startswith("I"):
        levels = np.asarray(image, dtype=np.uint32)
        shown = np.repeat((levels >> 8).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        if isinstance(clear := image.info.get("transparency"), int):
            shown[levels == clear] = background
        return Image.fromarray(shown)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
    return image.convert("RGB")


def decode_all(
    samples: Iterator[Sample], side: int, framing: Framing = _AS_EVER, resolution: int | None = None
) -> Iterator[tuple[Sample, Future[Decoded]]]:
    """Decode in threads, Pillow releasing the lock, a few pictures ahead; samples, which all have a picture, come in their order."""
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[tuple[Sample, Future[Decoded]]] = deque()
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on broken metadata; what matters becomes a reject
        for sample in samples:
            waiting.append((sample, pool.submit(_decoded, sample, side, framing, resolution or side)))
            if len(waiting) > 4 * workers:
                yield waiting.popleft()
        yield from waiting
