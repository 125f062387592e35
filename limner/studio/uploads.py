"""Pictures from visitors: limited in bytes and pixels, and decoded as `limner data prepare` does."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import DataError
from limner.data.decoding import LARGEST_PIXELS, Rejected, decode
from limner.data.sources import PictureFile

LARGEST_UPLOAD = 32 << 20
"""Bytes of a file that is taken."""
_DECODING = threading.Lock()  # a large picture takes hundreds of megabytes while it is decoded: one at a time


def read_upload(path: str | None, side: int) -> NDArray[np.uint8]:
    """The centre square of a visitor's picture: [side, side, 3]. Raises DataError, in words, where there is none or it cannot be used."""
    if not path:
        raise DataError("choose a picture first")
    try:
        file = _uploaded(path)
        size = file.stat().st_size
        if size > LARGEST_UPLOAD:
            raise Rejected(f"file of {size / 1e6:,.0f} MB")
        with _DECODING:
            return decode(PictureFile(file, size), side)[0].copy()  # Pillow's own memory is not to be written to
    except Rejected as error:
        limits = f"of up to {LARGEST_UPLOAD >> 20} MiB and {LARGEST_PIXELS // 1_000_000} million pixels"
        raise DataError(f"the picture cannot be used ({error}): give a PNG, JPEG, WebP, BMP or GIF file {limits}") from None
    except OSError:  # the same words for what was never uploaded: they must not tell which files this machine has
        raise DataError("the picture is here no longer: choose it again") from None


def _uploaded(path: str) -> Path:
    """A file of the folder of uploads. A visitor's browser names it, so it could be any file. Raises FileNotFoundError for all others."""
    folder = os.environ.get("GRADIO_TEMP_DIR")
    try:
        file = Path(path).resolve(strict=True)
    except (ValueError, RuntimeError):  # a zero byte, or links in a circle
        raise FileNotFoundError from None
    if not folder or not file.is_relative_to(Path(folder).resolve()) or not file.is_file():
        raise FileNotFoundError
    return file
