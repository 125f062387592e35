"""The prepared cache: flat files that are memory-mapped, so that reading costs no memory however large the set.

A cache folder holds the pictures of train, then val, then test:

    dataset.json        `CacheCard`
    pictures.u8         [N, S, S, 3] uint8; of a set that is prepared in place, `limner.data.places` in its stead
    captions.utf8       all captions, one after the other, with nothing between them
    caption_offsets.npy [C + 1] int64: caption c is bytes offsets[c] to offsets[c + 1]
    first_captions.npy  [N + 1] int64: picture i has captions first[i] to first[i + 1]
    keys.utf8, key_offsets.npy   the pictures' names in their sources, likewise
    class_ids.npy       [N] int64, where there are classes
    boxes.npy, labels.npy, shapes.npy   what stands where, where that is known: [N, M, 4] float32 shares of the side, [N, M] int64 with -1
                        for nothing, and, where there are masks, [N, M, 32, 32] uint8
    stories.npy         [S, F] int64, where there are stories: the places of each story's frames among all pictures
    categories.npy      [N, C] bool, where there are categories: which a picture shows
    mirrorable.npy      [N] bool: no caption of the picture speaks of left or right
    vocabulary.json     {word: count in the training captions}, most frequent first
    rejects.jsonl       what was left out, and why
"""

from __future__ import annotations

import hashlib
import json
import shutil
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from limner.core.errors import DataError
from limner.core.json_text import parse_json
from limner.data.layouts import SHAPE_SIDE, Placed
from limner.data.places import PlaceWriter, save_places
from limner.data.sources import Labels, PictureFile

FORMAT = 2
"""The newest version of the layout: sets in place are of version 2, all others still of version 1, which earlier Limners read."""
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class CacheCard:
    """What `dataset.json` says of a prepared set."""

    format: int
    """Version of this layout."""
    name: str
    """The set's name."""
    resolution: int
    """The resolution it was prepared for."""
    stored_resolution: int
    """Side S of the stored pictures: the resolution with the margin that random crops use."""
    splits: dict[str, int]
    """Pictures in each split that there is, in stored order."""
    made_splits: str
    """Whose splits they are: "given", or made by "class", by "picture" or by "story"."""
    captions: int
    """Captions in all."""
    uncaptioned: int
    """Training pictures without a caption."""
    class_names: list[str] | None
    """A name for each class id, or None where pictures have no classes."""
    flip: bool
    """Whether pictures may be mirrored."""
    upscaled: int
    """Pictures that were smaller than S and had to be enlarged."""
    fit: str = "crop"
    """How pictures that are not square were fitted: "crop", "pad" or "squash"."""
    background: str = "white"
    """The colour behind transparent and padded pictures."""
    pixel_art: bool = False
    """Whether pixels were kept as squares."""
    rejected: dict[str, int]
    """Samples left out, by reason."""
    sources: list[str]
    """Names of the sources, without their folders."""
    seed: int
    """Decides made splits and counterfactual captions."""
    label_names: list[str] | None = None
    """A name for each label of what stands in the pictures, or None where that is not known."""
    category_names: list[str] | None = None
    """A name for each category of which a picture may show several, or None where that is not known."""
    frames: int = 0
    """Frames of a story, 0 where there are no stories."""
    in_place: str | None = None
    """Of a set that leaves its pictures where they are: the folder that it was written to. None where it has them."""
    fingerprint: str
    """SHA-256 of everything stored: pictures, captions, classes, keys and splits; the same of a set in place."""


def read_card(folder: Path) -> CacheCard:
    """Read `dataset.json`; raises DataError for a folder that is not prepared, is damaged or comes from a later version."""
    fix = "prepare it with `limner data prepare SOURCE ... --out DIR --resolution R`"
    try:
        content = (folder / "dataset.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder} is not a prepared data set: {fix}, and give that DIR") from None
    try:
        version = parse_json(content)["format"]
        if isinstance(version, int) and version > FORMAT:
            later = f"{folder} was prepared by a later version of Limner (format {version}, known: {FORMAT})"
            raise DataError(f"{later}: update Limner or {fix} again")
        return msgspec.json.decode(content, type=CacheCard)
    except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise DataError(f"{folder / 'dataset.json'} is damaged ({error}): {fix} again") from None


class SplitWriter:
    """Takes the samples of one split in order and writes their bytes as they come; only numbers stay in memory.

    places: notes where pictures lie, in place of their pixels.
    """

    def __init__(self, folder: Path, split: str, places: PlaceWriter | None = None) -> None:
        self.places = places
        kinds = ("pictures", "captions", "keys") if places is None else ("captions", "keys")
        self.paths = {kind: folder / f"{kind}.{split}.part" for kind in kinds}
        self.streams: dict[str, BinaryIO] = {kind: path.open("wb") for kind, path in self.paths.items()}
        self.caption_lengths, self.caption_counts, self.key_lengths, self.class_ids = array("q"), array("q"), array("q"), array("q")
        self.mirrorable = array("B")
        self.placed: list[Placed | None] = []
        self.categories: list[tuple[str, ...] | None] = []
        self.hash = hashlib.sha256(split.encode())

    def __len__(self) -> int:
        return len(self.caption_counts)

    def add(
        self,
        picture: NDArray[np.uint8],
        captions: Iterable[str],
        key: str,
        class_id: int,
        mirrorable: bool,
        placed: Placed | None = None,
        labels: Labels | None = None,
        file: tuple[PictureFile, int] | None = None,
    ) -> None:
        """Write one sample: its picture [H, W, 3], captions, key, class (-1 for none), whether it may be mirrored, what stands where, of
        its labels which frame of a story it is and which categories it shows, and the file that the picture is from, with its checksum."""
        encoded = [caption.encode() for caption in captions]
        name = key.encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode()
        if self.places is None:
            self._write("pictures", np.ascontiguousarray(picture).tobytes())
        else:
            assert file is not None
            self.places.add(*file)
            self.hash.update(np.ascontiguousarray(picture).tobytes())
        self._write("captions", b"".join(encoded))
        self._write("keys", name)
        self.caption_lengths.extend(map(len, encoded))
        self.caption_counts.append(len(encoded))
        self.key_lengths.append(len(name))
        self.class_ids.append(class_id)
        self.mirrorable.append(mirrorable)
        self.hash.update(repr((class_id, len(name), *map(len, encoded))).encode())
        self.placed.append(placed)
        if placed is not None:
            self.hash.update(placed.boxes.tobytes() + repr(placed.labels).encode())
            self.hash.update(b"" if placed.shapes is None else placed.shapes.tobytes())
        told = None if labels is None or labels.story is None else (labels.story, labels.frame)
        categories = None if labels is None else labels.categories
        self.categories.append(categories)
        for value in (told, categories):
            self.hash.update(b"" if value is None else repr(value).encode())

    def _write(self, kind: str, content: bytes) -> None:
        self.streams[kind].write(content)
        self.hash.update(content)

    def close(self) -> None:
        """Close the files; what was written is joined by `join`."""
        for stream in self.streams.values():
            stream.close()


def join(folder: Path, writers: Mapping[str, SplitWriter], has_classes: bool) -> str:
    """Put the splits one after the other into the cache's files; returns the fingerprint of them all."""
    for kind, name in (("pictures", "pictures.u8"), ("captions", "captions.utf8"), ("keys", "keys.utf8")):
        if any(kind not in writer.paths for writer in writers.values()):
            continue
        first, *others = (writer.paths[kind] for writer in writers.values())
        with first.open("ab") as stream:
            for path in others:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, stream, 1 << 22)
                path.unlink()
        first.rename(folder / name)
    if places := [writer.places for writer in writers.values() if writer.places is not None]:
        save_places(folder, places)
    _save_offsets(folder / "caption_offsets.npy", [writer.caption_lengths for writer in writers.values()])
    _save_offsets(folder / "first_captions.npy", [writer.caption_counts for writer in writers.values()])
    _save_offsets(folder / "key_offsets.npy", [writer.key_lengths for writer in writers.values()])
    np.save(folder / "mirrorable.npy", np.concatenate([np.array(writer.mirrorable, dtype=bool) for writer in writers.values()]))
    if has_classes:
        np.save(folder / "class_ids.npy", np.concatenate([np.array(writer.class_ids, dtype=np.int64) for writer in writers.values()]))
    return hashlib.sha256(b"".join(writer.hash.digest() for writer in writers.values())).hexdigest()


def save_layouts(folder: Path, writers: Mapping[str, SplitWriter]) -> list[str] | None:
    """Write what stands where in all pictures; returns the names of the labels, or None where nothing is known."""
    every = [placed for writer in writers.values() for placed in writer.placed]
    known = [placed for placed in every if placed is not None]
    if not known:
        return None
    names = sorted({label for placed in known for label in placed.labels})
    most = max((len(placed.labels) for placed in known), default=0)
    boxes = np.zeros((len(every), most, 4), np.float32)
    labels = np.full((len(every), most), -1, np.int64)
    masked = any(placed.shapes is not None for placed in known)
    shapes = np.zeros((len(every) if masked else 0, most, SHAPE_SIDE, SHAPE_SIDE), np.uint8)
    for row, placed in enumerate(every):
        if placed is not None and placed.labels:
            count = len(placed.labels)
            boxes[row, :count] = placed.boxes
            labels[row, :count] = [names.index(label) for label in placed.labels]
            if masked:
                shapes[row, :count] = 255 if placed.shapes is None else placed.shapes
    np.save(folder / "boxes.npy", boxes)
    np.save(folder / "labels.npy", labels)
    if masked:
        np.save(folder / "shapes.npy", shapes)
    return names


def save_categories(folder: Path, writers: Mapping[str, SplitWriter]) -> list[str] | None:
    """Write which categories all pictures show; returns their names, or None where nothing is known."""
    every = [categories for writer in writers.values() for categories in writer.categories]
    names = sorted({name for categories in every for name in categories or ()})
    if not names:
        return None
    np.save(folder / "categories.npy", np.array([[name in (categories or ()) for name in names] for categories in every], dtype=bool))
    return names


def _save_offsets(path: Path, lengths: list[array[int]]) -> None:
    flat = np.concatenate([np.array(part, dtype=np.int64) for part in lengths])
    np.save(path, np.concatenate([np.zeros(1, np.int64), np.cumsum(flat)]))


def write_card(folder: Path, card: CacheCard) -> None:
    """Write `dataset.json`, one field a line."""
    (folder / "dataset.json").write_text(json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
