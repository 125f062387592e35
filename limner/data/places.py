"""Where the pictures of a prepared set lie, when it leaves them where they are: stretches of tar shards, files, parts of what is at an
address.

    files.utf8, file_offsets.npy   paths and addresses, one after the other: file f is bytes offsets[f] to offsets[f + 1]
    places.npy                     [N, 4] int64: of each picture its file, where in it the picture begins, its bytes, and their CRC-32
"""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import DataError
from limner.data.remote import RemoteFile, RemotePicture, Source, located
from limner.data.sources import PictureFile

MOST_CHECKED = 1_000
"""Files that are looked for when a set is opened; of sets of more files, each is missed when it is read."""


class PlaceWriter:
    """Takes the places of pictures in order. Several may share one table of files."""

    def __init__(self, files: dict[str, int]) -> None:
        self.files, self.rows = files, array("q")

    def add(self, picture: PictureFile, checksum: int) -> None:
        """Note where a picture lies, and the CRC-32 of its bytes.

        Raises DataError for one within a packed archive, of which no part can be read by itself.
        """
        if type(picture) not in (PictureFile, RemotePicture):
            raise DataError(
                f"--in-place leaves pictures where they are, and those of {picture.path} are packed: unpack it and give the folder, or "
                "leave --in-place out"
            )
        name = str(picture.remote) if isinstance(picture, RemotePicture) else os.path.abspath(picture.path)
        self.rows.extend((self.files.setdefault(name, len(self.files)), picture.offset, picture.size, checksum))


def save_places(folder: Path, writers: list[PlaceWriter]) -> None:
    """Write the places of all splits, one after the other."""
    names = [os.fsencode(name) for name in writers[0].files]
    (folder / "files.utf8").write_bytes(b"".join(names))
    np.save(folder / "file_offsets.npy", np.concatenate([np.zeros(1, np.int64), np.cumsum([*map(len, names)], dtype=np.int64)]))
    np.save(folder / "places.npy", np.concatenate([np.array(writer.rows, np.int64).reshape(-1, 4) for writer in writers]))


class Places:
    """The places of a set's pictures, read where `save_places` wrote them.

    folder: where they are now; home: where that folder was when they were written. A file that is not where it was is looked for from the
    folder on, as it lay from there: a whole project may move. Raises DataError for files that are gone, ValueError for damaged ones.
    """

    def __init__(self, folder: Path, home: str, total: int) -> None:
        self.folder, self.home = folder, home
        self._names = (folder / "files.utf8").read_bytes()
        self._offsets = np.load(folder / "file_offsets.npy", allow_pickle=False)
        self._rows: NDArray[np.int64] = np.asarray(np.load(folder / "places.npy", mmap_mode="r", allow_pickle=False))
        if self._rows.shape != (total, 4) or self._offsets[-1] != len(self._names):
            raise ValueError("places.npy or files.utf8 has another size")
        self._found: dict[int, Source] = {}
        if len(self._offsets) <= MOST_CHECKED:
            for number in range(len(self._offsets) - 1):
                place = self._file(number)
                if isinstance(place, Path) and not place.is_file():
                    raise self.missing(place)

    def picture(self, row: int) -> tuple[PictureFile, int]:
        """Where the picture of a row lies, and the CRC-32 that its bytes had."""
        number, offset, size, checksum = self._rows[row].tolist()
        file = self._file(number)
        picture = RemotePicture.of(file, size, offset) if isinstance(file, RemoteFile) else PictureFile(file, size, offset)
        return picture, checksum

    def missing(self, place: Source) -> DataError:
        """What to say of a file that is not there."""
        return DataError(
            f"{place} is not there, and {self.folder} was prepared --in-place: its pictures lie in the files that it was made of: bring "
            f"them back, or prepare it again from where they are, with `limner data prepare SOURCE ... --out {self.folder} --force`"
        )

    def _file(self, number: int) -> Source:
        if number not in self._found:
            name = os.fsdecode(self._names[self._offsets[number] : self._offsets[number + 1]])
            place = located(name)
            if isinstance(place, Path) and not place.exists():
                moved = Path(os.path.normpath(self.folder.resolve() / os.path.relpath(name, self.home)))
                place = moved if moved.exists() else place
            self._found[number] = place
        return self._found[number]
