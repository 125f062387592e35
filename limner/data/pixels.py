"""The pixels of a prepared set: a file of them all, or pictures that lie where they were and are decoded when they are read."""

from __future__ import annotations

import os
import warnings
import zlib
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import DataError
from limner.data.decoding import Rejected, decode_bytes, read_picture
from limner.data.framing import Framing
from limner.data.places import Places
from limner.data.remote import RemotePicture

MOST_AHEAD = 4_096
"""Pictures that are decoded before they are read, at most."""


class Pixels(ABC):
    """The pictures of one split, by their places in it. ahead: whether it gains by being told what will be read next."""

    ahead = False

    @abstractmethod
    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """[n, S, S, 3]."""

    def expect(self, indices: NDArray[np.int64]) -> None:  # noqa: B027  # what is there at once need not be expected
        """Begin to get these, which will be read soon."""


class StoredPixels(Pixels):
    """Pictures in one file, which is mapped into memory. Raises ValueError where it has another size."""

    def __init__(self, path: Path, total: int, side: int, own: slice) -> None:
        # asarray: plain arrays over the mapped files, because numpy.memmap's own indexing is slow
        self._pictures = np.asarray(np.memmap(path, np.uint8, "r", shape=(total, side, side, 3)))[own]
        if path.stat().st_size != total * side * side * 3:
            raise ValueError(f"{path.name} has another size")

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.take(self._pictures, indices, axis=0)


class PixelsInPlace(Pixels):
    """Pictures that are decoded, as `limner data prepare` decodes them, when they are read, in threads; ahead of time if asked to."""

    ahead = True

    def __init__(self, places: Places, own: slice, side: int, framing: Framing, resolution: int) -> None:
        self.places, self.side, self.framing, self.resolution = places, side, framing, resolution
        self._rows = np.arange(own.start, own.stop)
        self._waiting: dict[int, Future[NDArray[np.uint8]]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def expect(self, indices: NDArray[np.int64]) -> None:
        for row in self._rows[indices].tolist():
            if row not in self._waiting and len(self._waiting) < MOST_AHEAD:
                self._waiting[row] = self._begun(row)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        rows = self._rows[indices].tolist()
        begun = {row: self._taken(row) for row in dict.fromkeys(rows)}
        decoded = {row: future.result() for row, future in begun.items()}
        return np.stack([decoded[row] for row in rows]) if rows else np.empty((0, self.side, self.side, 3), np.uint8)

    def _taken(self, row: int) -> Future[NDArray[np.uint8]]:
        try:
            return self._waiting.pop(row)
        except KeyError:  # not expected, or another thread took it
            return self._begun(row)

    def _begun(self, row: int) -> Future[NDArray[np.uint8]]:
        if self._pool is None:
            warnings.filterwarnings("ignore", module=r"PIL\.")  # its remarks on broken metadata, as when the set was prepared
            self._pool = ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1)), "decoding")
        return self._pool.submit(self._decoded, row)

    def _decoded(self, row: int) -> NDArray[np.uint8]:
        picture, checksum = self.places.picture(row)
        try:
            content = read_picture(picture)
            if zlib.crc32(content) != checksum:
                raise Rejected("other bytes")
            return decode_bytes(content, self.side, self.framing, self.resolution)[0]
        except Rejected as error:
            place = picture.remote if isinstance(picture, RemotePicture) else picture.path
            if isinstance(place, Path) and not place.is_file():
                raise self.places.missing(place) from None
            raise DataError(
                f"{place} is not what it was when {self.places.folder} was prepared ({error} at byte {picture.offset:,}): bring it "
                f"back as it was, or prepare the set again with `limner data prepare SOURCE ... --out {self.places.folder} --force`"
            ) from None
