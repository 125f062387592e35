"""Files at an address, such as https://, s3:// or hf://, of which any part can be read. fsspec, which PyTorch brings along, fetches it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from limner.core.errors import DataError
from limner.data.sources import PictureFile

TRIES = 4
"""How often a part is asked for, with a pause before each further try, before it counts as out of reach."""
FIRST_PAUSE = 0.5
"""Seconds before the second try; each later pause is twice as long."""
BLOCK = 1 << 22
"""Bytes that are fetched at once where a file is read from its beginning on."""
T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address. It offers of a path what readers of sources ask for."""

    address: str

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        """The last part of the address."""
        return urlsplit(self.address).path.rstrip("/").rpartition("/")[2] or self.address

    def resolve(self) -> RemoteFile:
        """Itself: an address is whole."""
        return self

    def size(self) -> int:
        """Bytes. Raises OSError where the file is out of reach or its length is not told."""
        system, path = self._found()
        size = _tried(lambda: system.size(path))
        if size is None:
            raise OSError("its server does not tell its length")
        return int(size)

    def open(self, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """The file as a stream that can be read from any place. Raises OSError where it is out of reach."""
        return io.BufferedReader(_Parts(self, self.size()), BLOCK)

    def part(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on. Raises OSError where they are out of reach."""
        system, path = self._found()
        content: bytes = _tried(lambda: system.cat_file(path, start=offset, end=offset + size))
        if len(content) != size:
            raise OSError(f"its server sent {len(content):,} bytes where {size:,} were asked for")
        return content

    def _found(self) -> tuple[Any, str]:
        """What reads the address, and the path that it goes by. Raises DataError for an address of a kind that nothing here reads."""
        from fsspec.core import url_to_fs

        kind = self.address.partition("://")[0]
        try:
            system, path = url_to_fs(self.address)
        except ImportError as error:
            raise DataError(f"{self.address} cannot be read here: {error}") from None
        except ValueError:
            raise DataError(f"addresses that begin with {kind}:// are not known: give one such as https://HOST/shard-000.tar") from None
        return system, path


class _Parts(io.RawIOBase):
    """A file of which every read fetches a part."""

    def __init__(self, file: RemoteFile, size: int) -> None:
        super().__init__()
        self.file, self.size, self.place = file, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence])
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self.size - self.place))
        if count:
            buffer[:count] = self.file.part(self.place, count)
        self.place += count
        return count


@dataclass(frozen=True, kw_only=True)
class RemotePicture(PictureFile):
    """A picture in a file at an address; its path is that file's name."""

    remote: RemoteFile

    @classmethod
    def of(cls, file: RemoteFile, size: int, offset: int) -> RemotePicture:
        """The stretch of a file that is a picture."""
        return cls(Path(file.name), size, offset, remote=file)

    def read(self) -> bytes:
        """The bytes of the picture file, as they lie at the address."""
        return self.remote.part(self.offset, self.size)


Source = Path | RemoteFile
"""Where captioned pictures lie."""


def located(source: Source | str) -> Source:
    """What a user calls a source: an address has :// in it, all else is a path. Raises DataError for an address that became a path."""
    if isinstance(source, RemoteFile):
        return source
    if isinstance(source, str) and "://" in source:
        return RemoteFile(source)
    if isinstance(source, Path) and source.parts and source.parts[0] in ("http:", "https:", "s3:", "gs:", "hf:"):
        raise DataError(f"{source} is an address that was made a path, which loses a slash: give it as text")
    return Path(source)


def _tried(read: Callable[[], T]) -> T:
    """What `read` returns, in up to TRIES tries: networks fail for moments. Raises OSError for what fails each time."""
    pause = FIRST_PAUSE
    for attempt in range(TRIES):
        try:
            return read()
        except PermissionError:
            raise
        except Exception as error:  # each kind of address has errors of its own; over HTTP a file is "not found" for any of them
            if attempt == TRIES - 1:
                said = "" if isinstance(error, FileNotFoundError) else f": {str(error) or type(error).__name__}"
                raise OSError(f"not there, or out of reach{said}") from error
        time.sleep(pause)
        pause *= 2
    raise AssertionError
