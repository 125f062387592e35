"""Where the pictures that are scored come from: a painter that gets captions, or a folder that somebody filled."""

from __future__ import annotations

import copy
import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from limner.core import random
from limner.core.errors import DataError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.data.caption_checks import with_words
from limner.data.decoding import Rejected, decode
from limner.data.reading import read_sources
from limner.data.refusals import Reject, counted
from limner.data.sources import NO_PICTURE, Sample, system_reason
from limner.metrics.judge import to_tensor

Painter = Callable[[list[str], NDArray[np.int64], int], Tensor]
"""(captions, sample numbers, seed) -> uint8 pictures [B, 3, H, W]."""


class Source(ABC):
    """The generated side of an evaluation: `count` pictures, each with a number.

    captions: one a picture, or None. indices: [count] the reference picture whose caption it is, -1 where that is not known.
    classes: [count], or None. order: the reference's captioned pictures in the order in which they are taken.
    """

    count: int
    captions: list[str] | None
    indices: NDArray[np.int64]
    classes: NDArray[np.int64] | None
    told: str
    """Whose captions they are, for the protocol."""

    @abstractmethod
    def pictures(self, numbers: NDArray[np.int64]) -> Tensor:
        """Pictures [B, 3, R, R] uint8 of these numbers."""

    def retell(self, captions: list[str], numbers: NDArray[np.int64]) -> Tensor:
        """Pictures of these numbers with other captions."""
        raise NotImplementedError

    def vary(self, number: int, noises: int) -> tuple[str, Tensor]:
        """The caption of a number, and pictures [noises, 3, R, R] of it under as many noises."""
        raise NotImplementedError


def reference_order(pictures: CaptionedPictures, seed: int, captioned: bool = True) -> NDArray[np.int64]:
    """The captioned pictures of a split in the order in which an evaluation takes them; raises DataError where there are not two.

    captioned: whether they must be captioned; else all serve where none is. Of a set of stories whole ones are taken where captions are
    asked for, the frames of each in order.
    """
    if captioned and pictures.stories is not None and len(pictures.stories):
        told = pictures.stories[(pictures.caption_counts[pictures.stories] > 0).all(1)]
        return told[random.permutation(len(told), seed, "evaluate", pictures.split)].ravel()
    pool = np.flatnonzero(pictures.caption_counts > 0)
    if not captioned and not len(pool):
        pool = np.arange(len(pictures))
    if len(pool) < 2:
        what = "captioned pictures" if captioned else "pictures"
        fix = "take another split, or a set with captions" if captioned else "take another split or set"
        raise DataError(f"'{pictures.name}' holds {len(pool)} {what} in its {pictures.split} split: a score needs at least 2, so {fix}")
    return pool[random.permutation(len(pool), seed, "evaluate", pictures.split)]


def drawn_caption(pictures: CaptionedPictures, index: int, number: int, seed: int) -> str:
    """The caption of one picture that an evaluation takes for its picture `number`; empty where it has none."""
    captions = pictures.captions(index)
    return "" if not captions else captions[int(random.integers(len(captions), seed, "evaluate caption", pictures.split, number))]


class Painted(Source):
    """Pictures of the reference's captions, one caption drawn for each, in an order that the seed alone decides."""

    told = "one drawn caption a picture"

    def __init__(self, painter: Painter, pictures: CaptionedPictures, order: NDArray[np.int64], count: int, seed: int) -> None:
        self.painter, self.reference, self.count, self.seed = painter, pictures, count, seed
        self.indices = order[np.arange(count) % len(order)]
        self.captions: list[str] = [drawn_caption(pictures, index, number, seed) for number, index in enumerate(self.indices.tolist())]
        self.classes = None if pictures.class_ids is None else np.asarray(pictures.class_ids[self.indices])

    def pictures(self, numbers: NDArray[np.int64]) -> Tensor:
        return self._paint([self.captions[number] for number in numbers.tolist()], numbers)

    def retell(self, captions: list[str], numbers: NDArray[np.int64]) -> Tensor:
        return self._paint(captions, numbers)

    def vary(self, number: int, noises: int) -> tuple[str, Tensor]:
        caption = self.captions[number % self.count]
        return caption, self._paint([caption] * noises, self.count + number * noises + np.arange(noises, dtype=np.int64))

    def _paint(self, captions: list[str], samples: NDArray[np.int64]) -> Tensor:
        return _checked(self.painter(captions, samples, self.seed), len(captions), self.reference.resolution)


class FolderPictures(CaptionedPictures):
    """The pictures of a folder as a reference to hold others against: without captions, classes or splits."""

    split = "all"
    class_ids, class_count, may_flip = None, 0, False

    def __init__(self, folder: Path) -> None:
        """Raises DataError for a folder without two pictures, and for unlike ones."""
        self._stored = Stored(folder)
        self._stored._side = self._stored.side
        self.name = folder.resolve().name
        self.resolution = self.stored_resolution = self._stored.side
        digest = hashlib.sha256()
        for sample in self._stored._samples:
            assert sample.picture is not None
            digest.update(sample.picture.read())
        self.fingerprint = digest.hexdigest()[:16]

    def __len__(self) -> int:
        return self._stored.count

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self._stored.pictures(np.asarray(indices, dtype=np.int64)).permute(0, 2, 3, 1).numpy()

    def captions(self, index: int) -> list[str]:
        return []

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return np.zeros(len(self), dtype=np.int64)

    def key(self, index: int) -> str:
        return self._stored._samples[index].key

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        raise IndexError(f"'{self.name}' has no captions")


def _checked(images: Tensor, count: int, wanted: int) -> Tensor:
    """What a painter gave, if it is what was asked for."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[:2] != (count, 3):
        raise ValueError(f"a painter gave {images.dtype} {tuple(images.shape)} for {count} captions in place of uint8 [B, 3, H, W]")
    side = images.shape[-1]
    if images.shape[-2:] != (wanted, wanted):
        raise SettingsError(f"the generator paints {side} px and the reference is opened at {wanted} px: open it at {side} px")
    return images


class Unprompted(Source):
    """Pictures of a painter that reads no text: none is of a caption, of a class, or one reference picture's counterpart."""

    told = "none: the model reads no text"

    def __init__(self, painter: Painter, count: int, seed: int) -> None:
        self.painter, self.count, self.seed = painter, count, seed
        self.captions, self.classes = None, None
        self.indices = np.full(count, -1, dtype=np.int64)
        self._side = 0

    def meet(self, reference: CaptionedPictures) -> Unprompted:
        """The same pictures with a reference."""
        met = copy.copy(self)
        met._side = reference.resolution
        return met

    def pictures(self, numbers: NDArray[np.int64]) -> Tensor:
        return _checked(self.painter([""] * len(numbers), numbers, self.seed), len(numbers), self._side)


class Stored(Source):
    """Pictures of a folder, ours or another program's, with captions and classes where same-name .txt files or metadata.jsonl give them.

    A picture with a reference picture's name is compared with it, and takes its class unless it states its own, by the name that the
    reference has for it.
    """

    left_out: str
    """What of the folder is not scored, with numbers and reasons; empty where all is."""

    def __init__(self, folder: Path, count: int | None = None, seed: int = 0) -> None:
        """count: how many the seed draws from them; all by default, in the order of their names.

        Raises DataError for a folder without two pictures, unlike or no squares, and for `count` pictures where there are fewer.
        """
        found = [sample for sample, _ in map(with_words, read_sources([folder]))]
        samples = [sample for sample in found if sample.picture is not None]
        unread = [Reject.of(sample, sample.problem or NO_PICTURE) for sample in found if sample.picture is None]
        self.left_out = f"{counted(unread)}, such as {unread[0].key}" if unread else ""
        if len(samples) < 2:
            others = f" and {len(unread):,} files that are not scored ({self.left_out})" if unread else ""
            fix = "give the folder with the pictures"
            raise DataError(f"{folder} holds {len(samples)} picture(s){others}, and a score needs at least 2: {fix}")
        if count is not None and count > len(samples):
            raise DataError(f"{folder} holds {len(samples):,} pictures, not {count:,}: lower --count, or leave it out")
        drawn = np.sort(random.permutation(len(samples), seed, "folder")[:count]) if count is not None else np.arange(len(samples))
        self.folder, self._samples = folder, [samples[number] for number in drawn.tolist()]
        self.count = len(self._samples)
        bad = next((sample for sample in self._samples if sample.problem), None)
        if bad is not None:
            where = f" ({bad.where})" if bad.where else ""
            raise DataError(f"{folder}, '{bad.key}'{where}: {bad.problem}: correct or remove it")
        self.side = self._checked_side()
        captioned = all(sample.captions for sample in self._samples)
        self.captions = [sample.captions[0] for sample in self._samples] if captioned else None
        self.told = (
            # part of the protocol: in other words it would be another one
            f"the first caption beside each in a folder of {self.count:,}" if captioned else f"a folder of {self.count:,} without captions"
        )
        if self.count < len(samples):
            self.told += f" drawn from {len(samples):,}"
        lost = sum(sample.counts for sample in found) - len(samples)
        if lost:
            self.told += f" ({lost:,} more left out)"
        self.indices = np.full(self.count, -1, dtype=np.int64)
        self.classes = None

    def meet(self, reference: CaptionedPictures) -> Stored:
        """The same pictures with a reference, whose pictures of the same names are looked up; DataError where they are too small."""
        met = copy.copy(self)
        met._look_up(reference)
        return met

    def _look_up(self, reference: CaptionedPictures) -> None:
        self._side = reference.resolution
        if self.side < self._side:
            raise DataError(
                f"{self.folder} holds pictures of {self.side} px, below the reference's {self._side}: give --resolution {self.side}"
            )
        if self.side > self._side:
            self.told += f", reduced from {self.side} px (Lanczos)"
        self.indices = self._pair(reference)
        self.classes = None
        if reference.class_ids is not None:
            known = np.where(self.indices >= 0, np.asarray(reference.class_ids)[self.indices], -1)
            said = [self._stated_class(sample, reference) for sample in self._samples]
            classes = np.array([mine if mine is not None else theirs for mine, theirs in zip(said, known.tolist())], dtype=np.int64)
            self.classes = classes if (classes >= 0).all() else None

    def _stated_class(self, sample: Sample, reference: CaptionedPictures) -> int | None:
        """The class that a picture states, as the reference numbers it; DataError for one that the reference does not have.

        Prepared sets number classes anew, so only their names say which one is meant; a class without a name has its number for a name.
        """
        name, number = sample.labels.class_name, sample.labels.class_id
        if name is None and number is None:
            return None
        if reference.holds is not None and name is None:
            if number not in range(reference.class_count):
                most = reference.class_count - 1
                raise DataError(f"{self.folder}: {sample.file} is of class {number}, and '{reference.name}' has 0 to {most}: correct it")
            return number
        names = list(reference.class_names or ())
        wanted = str(number) if name is None else name
        if names.count(wanted) != 1:
            known = f"has classes such as '{names[0]}'" if names else "has no classes"
            has = "has several classes of that name" if wanted in names else known
            raise DataError(f"{self.folder}: {sample.file} is of class '{wanted}', and '{reference.name}' {has}: give its class_name")
        return names.index(wanted)

    def _pair(self, reference: CaptionedPictures) -> NDArray[np.int64]:
        """The reference picture of each picture's name, or -1; DataError for a name that several pictures have."""
        keys: dict[str, int] = {}
        twice: set[str] = set()
        for index in range(len(reference)):
            if keys.setdefault(reference.key(index), index) != index:
                twice.add(reference.key(index))
        found: dict[int, str] = {}
        indices = []
        for sample in self._samples:
            # a.jpg and a.png of one folder have their suffixes in their keys
            key = sample.key if sample.key in keys or sample.key != sample.file else str(PurePosixPath(sample.key).with_suffix(""))
            index = keys.get(key, -1)
            other = found.setdefault(index, sample.file) if index >= 0 else sample.file
            if key in twice or other != sample.file:
                whose = f"'{reference.name}' has several pictures of its name" if key in twice else f"{other} has the same name"
                raise DataError(f"{self.folder}: {sample.file} has no reference picture that is surely its own, for {whose}: rename them")
            indices.append(index)
        return np.array(indices, dtype=np.int64)

    def pictures(self, numbers: NDArray[np.int64]) -> Tensor:
        return to_tensor(np.stack([self._read(self._samples[number]) for number in numbers.tolist()]))

    def _read(self, sample: Sample) -> NDArray[np.uint8]:
        assert sample.picture is not None
        try:
            return decode(sample.picture, self._side)[0]
        except Rejected as error:
            raise DataError(f"{sample.picture.path}: {error}: correct or remove it") from error

    def _checked_side(self) -> int:
        """The side in pixels that all pictures have."""
        sizes: dict[tuple[int, int], Path] = {}
        for sample in self._samples:
            assert sample.picture is not None
            try:
                with Image.open(io.BytesIO(sample.picture.read())) as picture:
                    sizes.setdefault(picture.size, sample.picture.path)
            except OSError as error:
                reason = "is not a picture that can be read" if isinstance(error, UnidentifiedImageError) else system_reason(error)
                raise DataError(f"{sample.picture.path} {reason}: correct or remove it") from error
        if len(sizes) > 1:
            (first, one), (second, other), *_ = sizes.items()
            unlike = f"{one.name} of {first[0]} x {first[1]} px and {other.name} of {second[0]} x {second[1]} px"
            raise DataError(f"{self.folder} holds {unlike}: a score needs pictures of one size, so make them equal")
        ((width, height),) = sizes
        if width != height:
            raise DataError(f"the pictures in {self.folder} are of {width} x {height} px, not square: cut or pad them, as the reference is")
        return width
