"""Picture files to square uint8 pixels."""

from __future__ import annotations

import io
import os
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from limner.data.formats import PICTURE_FORMATS
from limner.data.sources import PictureFile, Sample, system_reason

LARGEST_PIXELS = 64_000_000
LARGEST_BYTES = 128 << 20


class Rejected(Exception):
    """A picture that cannot be used; its text is the reason."""


def decode(picture: PictureFile, side: int) -> tuple[NDArray[np.uint8], bool]:
    """Read, turn upright, lay on white, reduce the short side to `side` with antialiasing and cut the centre square.

    Returns [side, side, 3] uint8 and whether the picture was smaller and had to be enlarged. Raises Rejected with the reason.
    """
    if picture.size > LARGEST_BYTES:
        raise Rejected(f"huge picture (over {LARGEST_BYTES >> 20} MiB)")
    try:
        content = picture.read()
    except OSError as error:
        raise Rejected(f"picture that {system_reason(error)}") from None
    try:
        with Image.open(io.BytesIO(content), formats=PICTURE_FORMATS) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise Rejected(f"huge picture (over {LARGEST_PIXELS // 1_000_000} million pixels)")
            smaller = min(image.size) < side
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice the wanted size is kept for the antialiasing filter.
            image.draft("RGB", (2 * side, 2 * side))
            upright = _on_white(ImageOps.exif_transpose(image))
    except Rejected:
        raise
    except Image.DecompressionBombError:
        raise Rejected(f"huge picture (over {LARGEST_PIXELS // 1_000_000} million pixels)") from None
    except UnidentifiedImageError:
        raise Rejected("not a picture") from None
    except Exception as error:  # Pillow's readers raise all kinds of errors on broken bytes
        raise Rejected("truncated picture" if "truncated" in str(error).lower() else "damaged picture") from error
    square = min(upright.size)
    left, top = (upright.width - square) / 2, (upright.height - square) / 2
    reduced = upright.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + square, top + square))
    return np.asarray(reduced), smaller


def _on_white(image: Image.Image) -> Image.Image:
    """RGB: transparency over white, 16-bit grey scaled rather than cut off."""
    if image.mode in ("F", "LAB", "HSV"):
        raise Rejected(f"picture in the colour mode {image.mode} (save it as RGB with 8 bits)")
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


Decoded = Future[tuple[NDArray[np.uint8], bool]]


def decode_all(samples: Iterator[Sample], side: int) -> Iterator[tuple[Sample, Decoded]]:
    """Decode in threads, Pillow releasing the lock, a few pictures ahead; samples, which all have a picture, come in their order."""
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[tuple[Sample, Decoded]] = deque()
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on broken metadata; what matters becomes a reject
        for sample in samples:
            assert sample.picture is not None
            waiting.append((sample, pool.submit(decode, sample.picture, side)))
            if len(waiting) > 4 * workers:
                yield waiting.popleft()
        yield from waiting
