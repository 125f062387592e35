"""Prepared sets: captioned pictures from a cache folder, memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from limner.core import random
from limner.core.errors import DataError
from limner.core.files import reading_arrays
from limner.core.pictures import CaptionedPictures
from limner.data.cache import SPLITS, CacheCard, read_card
from limner.data.caption_checks import wordless_captions
from limner.data.counterfactual import said, substitute, true_changes
from limner.data.framing import Fit, Framing
from limner.data.pixels import Pixels, PixelsInPlace, StoredPixels
from limner.data.places import Places

if TYPE_CHECKING:
    from limner.core.layout import Layout


def open_prepared(path: Path | str, split: str, resolution: int | None = None) -> PreparedPictures:
    """Open one split ("train", "val", "test", "train+val" or "all") of a folder that `limner data prepare` wrote.

    resolution: what will be asked of the pictures, at most what they were prepared for; smaller ones are made on the training device.
    Raises DataError, in one line with the fix, for a folder that is not prepared or is damaged, a split it lacks and a
    resolution above its own.
    """
    return PreparedPictures(Path(path), split, resolution)


CAPTIONS, KEYS = "captions.utf8", "keys.utf8"


class PreparedPictures(CaptionedPictures):
    """One split of a prepared set. `resolution` is what the set was prepared for, whatever lower one was asked for.

    mirrorable: [N] bool, False where a caption speaks of left or right, so that this picture must not be mirrored even if `may_flip`.
    class_names: a name for each class id, or None.
    """

    def __init__(self, path: Path, split: str, resolution: int | None = None) -> None:
        self.path, self.split, self.asked_resolution = path, split, resolution
        self.card = card = read_card(path)
        again = f"prepare it again with `limner data prepare SOURCE ... --out {path} --resolution R --force`"
        parts = SPLITS if split == "all" else ("train", "val") if split == "train+val" else (split,)
        if not any(card.splits.get(part) for part in parts):
            there = ", ".join(f"{name} ({count:,})" for name, count in card.splits.items())
            kind = "training split" if split == "train" else f"'{split}' split"
            raise DataError(
                f"{path} has no {kind}, only {there}: choose one of these, or prepare it again with --split-by picture to make new ones"
            )
        if resolution is not None and resolution > card.resolution:
            raise DataError(
                f"{path} was prepared at {card.resolution} px, below the {resolution} px asked for: "
                f"choose --resolution {card.resolution}, or prepare it again with --resolution {resolution} --force"
            )
        self.name, self.fingerprint, self.may_flip = card.name, card.fingerprint[:16], card.flip
        self.resolution, self.stored_resolution = card.resolution, card.stored_resolution
        self.class_names, self.class_count = card.class_names, len(card.class_names or ())
        self.label_names = tuple(card.label_names or ())
        self.category_names = tuple(card.category_names or ())
        total = sum(card.splits.values())
        start = sum(card.splits.get(name, 0) for name in SPLITS[: SPLITS.index(parts[0])])
        stop = start + sum(card.splits.get(name, 0) for name in parts)
        self._start, self._own = start, slice(start, stop)
        try:
            with reading_arrays():
                self._pixels = _pixels(path, card, total, self._own)
                self._captions, self._keys = (_mapped_bytes(path / name) for name in (CAPTIONS, KEYS))
                self._caption_offsets = _mapped(path / "caption_offsets.npy", card.captions + 1)
                self._first = _mapped(path / "first_captions.npy", total + 1)
                self._key_offsets = _mapped(path / "key_offsets.npy", total + 1)
                self._class_ids = None if card.class_names is None else _mapped(path / "class_ids.npy", total)
                self.class_ids = None if self._class_ids is None else self._class_ids[self._own]
                self.mirrorable: NDArray[np.bool_] = _mapped(path / "mirrorable.npy", total)[self._own]
                self.stories = _stories(path, card.frames, total, start, stop) if card.frames else None
                self._categories = None if card.category_names is None else _categories(path, total, len(card.category_names))[self._own]
                self._layouts = None if card.label_names is None else _layouts(path, total, self._own)
                if len(self._captions) != self._caption_offsets[-1] or len(self._keys) != self._key_offsets[-1]:
                    raise ValueError("captions or keys have another size")
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}): {again}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process goes the path, not the pictures.
        return open_prepared, (self.path, self.split, self.asked_resolution)

    def __len__(self) -> int:
        return self._own.stop - self._own.start

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self._pixels.read(np.asarray(indices, dtype=np.int64))

    @property
    def ahead(self) -> bool:
        return self._pixels.ahead

    def expect(self, indices: NDArray[np.int64]) -> None:
        self._pixels.expect(indices)

    def captions(self, index: int) -> list[str]:
        return self._captions_at(self._start + range(len(self))[index])

    def _captions_at(self, place: int) -> list[str]:
        """All captions of a picture by its place in the whole set."""
        spoken, starts, ends = self._with_words
        rows = slice(int(spoken[place]), int(spoken[place + 1]))
        return [self._text(CAPTIONS, self._captions[a:b]) for a, b in zip(starts[rows].tolist(), ends[rows].tolist())]

    @cached_property
    def caption_counts(self) -> NDArray[np.int64]:
        return np.diff(self._with_words[0][self._own.start : self._own.stop + 1])

    @cached_property
    def _silent(self) -> NDArray[np.int64]:
        """Captions of all splits that hold no word: sets that were prepared before that was checked may have some."""
        return wordless_captions(self._captions, self._caption_offsets)

    @cached_property
    def _with_words(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The captions that hold words: [N + 1] the first of each picture, and [C] where each begins and ends."""
        offsets = self._caption_offsets
        if not len(self._silent):
            return self._first, offsets[:-1], offsets[1:]
        keep = np.ones(len(offsets) - 1, dtype=bool)
        keep[self._silent] = False
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
        return before[self._first], offsets[:-1][keep], offsets[1:][keep]

    def wordless(self) -> list[tuple[int, str]]:
        places = np.searchsorted(self._first, self._silent, side="right") - 1
        return [
            (place - self._start, self._text(CAPTIONS, self._captions[self._caption_offsets[row] : self._caption_offsets[row + 1]]))
            for place, row in zip(places.tolist(), self._silent.tolist())
            if self._own.start <= place < self._own.stop
        ]

    def key(self, index: int) -> str:
        place = self._start + range(len(self))[index]
        return self._text(KEYS, self._keys[int(self._key_offsets[place]) : int(self._key_offsets[place + 1])])

    def _text(self, file: str, found: NDArray[np.uint8]) -> str:
        """Bytes of a file of the set as text. Raises DataError where they are none."""
        try:
            return found.tobytes().decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path / file} is damaged ({error.reason}): prepare the set again") from None

    def layouts(self, indices: NDArray[np.int64]) -> Layout | None:
        if self._layouts is None:
            return None
        import torch

        from limner.core.layout import Layout

        boxes, labels, shapes = self._layouts
        masks = None if shapes is None else torch.from_numpy(shapes[indices]).float() / 255.0
        return Layout(torch.from_numpy(boxes[indices]), torch.from_numpy(labels[indices]), masks)

    def categories(self, indices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        return None if self._categories is None else self._categories[indices]

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Words of the training captions with their counts, most frequent first. Raises DataError where the file is damaged."""
        path = self.path / "vocabulary.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path} ({error}): prepare the set again") from None
        if not isinstance(found, dict) or not all(isinstance(count, int) for count in found.values()):
            raise DataError(f"{path} does not count words: prepare the set again")
        return found

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        """The caption with one visual word changed (`limner.data.counterfactual`); where it holds none, another picture's
        caption, of another class where there is one. `draw` chooses among the changes, different ones until all have been used.

        It never repeats another caption of the same picture. Raises DataError if the set has no other caption to offer.
        """
        own = self.captions(index)
        barred = true_changes(own[caption], own)
        changed = substitute(own[caption], self.card.seed, index, caption, draw=draw, known=self.vocabulary, barred=barred)
        return changed or self._other_caption(own, index, caption, draw)

    def _other_caption(self, own: list[str], index: int, caption: int, draw: int) -> str:
        true, settled = {*map(said, own)}, None
        for attempt in range(64):
            other = int(random.integers(len(self), self.card.seed, "other caption", index, caption, draw, attempt))
            if other == index or not self.caption_counts[other]:
                continue
            found = self.captions(other)
            candidate = found[int(random.integers(len(found), self.card.seed, "its number", index, caption, draw, attempt))]
            if said(candidate) in true:
                continue
            if self.class_ids is None or self.class_ids[other] != self.class_ids[index]:
                return candidate
            settled = candidate  # kept in case there is one class alone
        if settled is not None:
            return settled
        own_class = None if self.class_ids is None else int(self.class_ids[index])
        left = [(number, text) for (number, words), text in self._sayings.items() if words not in true]
        left = [(number, text) for number, text in left if number != own_class] or left
        if not left:
            raise DataError(
                f"'{own[caption][:60]}' of '{self.key(index)}' in {self.path} cannot be made false, since no visual word of it can be "
                "changed and no other picture says anything else: train a method without counterfactual captions (gan-cls with "
                "--method.counterfactual 0, damsm with --method.no-counterfactual), or prepare captions that differ"
            )
        return left[int(random.integers(len(left), self.card.seed, "any other caption", index, caption, draw))][1]

    @cached_property
    def _sayings(self) -> dict[tuple[int | None, tuple[str, ...]], str]:
        """All that captions say, by class: those of this split, and of the training split where this is another, which may be small."""
        found: dict[tuple[int | None, tuple[str, ...]], str] = {}
        for place in dict.fromkeys([*range(self._own.start, self._own.stop), *range(self.card.splits.get("train", 0))]):
            for text in self._captions_at(place):
                found.setdefault((None if self._class_ids is None else int(self._class_ids[place]), said(text)), text)
        return found

    def check_counterfactuals(self) -> None:
        most, sayings = int(self.caption_counts.max(initial=0)), set[tuple[str, ...]]()
        alike: dict[tuple[str, ...], int] = {}
        for index in range(len(self)):
            texts = self.captions(index)
            alike.setdefault(tuple(texts), index)
            sayings.update(map(said, texts))
            if len(sayings) > most:
                return  # more than any picture says
        for same, index in alike.items():
            for caption in range(len(same)):
                self.counterfactual(index, caption, 0)


def _pixels(path: Path, card: CacheCard, total: int, own: slice) -> Pixels:
    if card.in_place is None:
        return StoredPixels(path / "pictures.u8", total, card.stored_resolution, own)
    if card.fit not in get_args(Fit):
        raise ValueError(f"fit is '{card.fit}'")
    framing = Framing(fit=cast(Fit, card.fit), background=card.background, pixel_art=card.pixel_art)
    return PixelsInPlace(Places(path, card.in_place, total), own, card.stored_resolution, framing, card.resolution)


def _stories(path: Path, frames: int, total: int, start: int, stop: int) -> NDArray[np.int64]:
    """The stories of the pictures from `start` to `stop`, by their places among these."""
    stories = np.load(path / "stories.npy", allow_pickle=False)
    if stories.ndim != 2 or stories.shape[1] != frames or (stories.size and not 0 <= stories.min() <= stories.max() < total):
        raise ValueError("stories.npy has another size")
    own = stories[((stories >= start) & (stories < stop)).all(1)]
    return np.asarray(own - start, dtype=np.int64)


def _categories(path: Path, total: int, count: int) -> NDArray[np.bool_]:
    categories = np.load(path / "categories.npy", mmap_mode="r", allow_pickle=False)
    if categories.shape != (total, count):
        raise ValueError("categories.npy has another size")
    return np.asarray(categories)


def _layouts(path: Path, total: int, own: slice) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.uint8] | None]:
    """Boxes, labels and, where there are any, shapes of a split."""
    boxes, labels = (np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("boxes", "labels"))
    shapes = np.load(path / "shapes.npy", mmap_mode="r", allow_pickle=False) if (path / "shapes.npy").exists() else None
    if boxes.shape != (total, labels.shape[1], 4) or len(labels) != total or (shapes is not None and len(shapes) != total):
        raise ValueError("boxes, labels or shapes have another size")
    return np.asarray(boxes)[own], np.asarray(labels)[own], None if shapes is None else np.asarray(shapes)[own]


def _mapped(path: Path, length: int) -> NDArray[Any]:
    values = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if values.shape != (length,):
        raise ValueError(f"{path.name} has another size")
    return values


def _mapped_bytes(path: Path) -> NDArray[np.uint8]:
    # An empty file cannot be mapped.
    return np.asarray(np.memmap(path, np.uint8, "r")) if path.stat().st_size else np.zeros(0, np.uint8)
