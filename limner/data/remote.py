"""Files at an address, such as https://, s3:// or hf://, of which any part can be read. fsspec, which PyTorch brings along, fetches it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from limner.core.errors import DataError, in_words
from limner.data.sources import PictureFile

TRIES = 3
"""How often a part is asked for, with a pause before each further try, before it counts as out of reach."""
PATIENCE = 10.0
"""Seconds without any answer of an HTTP server after which a try has failed."""
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
        size = self.size()
        if size > 1:
            self.part(0, 1)  # a server that sends whole files alone shows itself here
        return io.BufferedReader(_Parts(self, size), BLOCK)

    def part(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on. Raises OSError where they are out of reach."""
        system, path = self._found()
        content: bytes = _tried(lambda: system.cat_file(path, start=offset, end=offset + size))
        if len(content) > size:
            raise OSError("its server does not answer requests for parts of a file: download it, and give the file")
        if len(content) < size:
            raise OSError(f"it ends after {offset + len(content):,} bytes, and once was longer")
        return content

    def _found(self) -> tuple[Any, str]:
        """What reads the address, and the path that it goes by. Raises DataError for an address of a kind that nothing here reads."""
        from fsspec.core import url_to_fs

        kind = self.address.partition("://")[0]
        try:
            system, path = url_to_fs(self.address, **_patience() if kind in ("http", "https") else {})
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
        """The bytes of the picture file, as they lie at the address. Raises DataError where they are out of reach."""
        try:
            return self.remote.part(self.offset, self.size)
        except OSError as error:
            raise DataError(f"{self.remote} cannot be read: {error}: try again when it can be reached") from None


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


def _patience() -> dict[str, Any]:
    """What keeps an HTTP server that never answers from being waited for."""
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)}}


def _tried(read: Callable[[], T]) -> T:
    """What `read` returns, in up to TRIES tries: networks fail for moments. Raises OSError for what fails each time."""
    pause = FIRST_PAUSE
    for attempt in range(TRIES):
        try:
            return read()
        except Exception as error:  # each kind of address has errors of its own
            if attempt == TRIES - 1:
                raise OSError(_reason(error)) from error
        time.sleep(pause)
        pause *= 2
    raise AssertionError


def _reason(error: BaseException | None) -> str:
    """What went wrong in words. Over HTTP, fsspec calls a file "not found" for any reason and keeps the error that came before."""
    while error is not None:
        status = getattr(error, "status", None)
        if isinstance(status, int) and status:
            told = {401: "it wants a login", 403: "it is forbidden", 404: "there is no such file"}.get(status)
            return f"{told} (the server answers {status})" if told else f"the server answers {status}"
        if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
            return f"no answer within {PATIENCE:g} seconds"
        if error.__cause__ is None and not isinstance(error, FileNotFoundError):
            return f"no connection ({type(error).__name__})" if type(error).__module__.startswith("aiohttp") else in_words(error)
        error = error.__cause__
    return "there is no such file"
