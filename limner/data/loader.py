"""Pictures and words to training batches, as a pure function of (seed, step).

Nothing here has a state: the order of the pictures, the captions drawn, crops and flips follow from (seed, epoch, index), so a resumed
run, or one spread over several processes, sees the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.core.batch import Batch, StoryText
from limner.core.errors import DataError
from limner.core.layout import Layout
from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Phase
from limner.core.worlds import WORLDS
from limner.data.captions import CaptionFeatures


class Loader:
    """Batches of one split for one phase.

    features: the encoded captions, or None where the phase trains the text encoder itself.
    rank, processes: this process takes its own part of every global batch.
    """

    def __init__(
        self,
        pictures: CaptionedPictures,
        phase: Phase,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        features: CaptionFeatures | None = None,
        flip: bool = True,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.pictures, self.phase, self.features = pictures, phase, features
        self.seed, self.device, self.flip = seed, torch.device(device), flip and pictures.may_flip
        if phase.batch_size % processes:
            raise DataError(
                f"phase {phase.name}: a batch of {phase.batch_size} pictures cannot be shared by {processes} processes: choose a multiple "
                f"of {processes}"
            )
        self._check_compared(processes)
        self.own = slice(rank * phase.batch_size // processes, (rank + 1) * phase.batch_size // processes)
        self.pool = np.flatnonzero(pictures.caption_counts > 0) if phase.captions else np.arange(len(pictures))
        if not len(self.pool):
            raise DataError(
                f"the {pictures.split} split of '{pictures.name}' holds no picture with a caption: give data with captions, or train a "
                "method that reads none (limner train msg-gan or stackgan-v2, --method.unconditional)"
            )
        if phase.layouts and pictures.layouts(self.pool[:1]) is None:
            built_in = " or ".join(world.name for world in WORLDS.values() if world.layouts)
            raise DataError(
                f"phase {phase.name} learns where things stand, and '{pictures.name}' has no layouts: give {built_in}, or prepare the "
                "set from samples with a layout field, or with --instances FILE.json"
            )
        if phase.frames > 1:
            self._check_stories(processes)
        if phase.counterfactuals:
            pictures.check_counterfactuals()
        self._kinds: dict[str, None] = {}
        self._orders: dict[str, tuple[int, NDArray[np.int64]]] = {}
        self._classes_of_pool = self._grouped() if phase.distinct_classes and pictures.class_ids is not None else None

    def _check_compared(self, processes: int) -> None:
        """Raise DataError where a process's part of a batch does not hold the pictures that a step compares with each other."""
        phase = self.phase
        own, batch = phase.batch_size // processes, f"a batch of {phase.batch_size}"
        each = f"{batch} gives each of {processes} processes {own}" if processes > 1 else f"{batch} is too small"
        if own < phase.fewest:
            whole = f", in whole stories of {phase.frames}" if phase.frames > 1 else ""
            raise DataError(
                f"phase {phase.name}: a step compares at least {phase.fewest} pictures with each other, and {each}: give "
                f"--training.batch-size {phase.fewest * processes} or more{whole}"
            )
        if own > phase.group and own % phase.group:
            each = each if processes > 1 else f"{batch} is not made of such groups"
            raise DataError(
                f"phase {phase.name}: a step compares {phase.group} pictures at a time, and {each}: choose a multiple of "
                f"{phase.group * processes}"
            )

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every picture is seen once, over all processes; with stories, every picture of one."""
        return pictures_seen(self.pictures, self.phase) / self.phase.batch_size

    def batch(self, step: int) -> Batch:
        """This process's part of the batch of a step, counted from 0."""
        indices, epochs, samples = self._matched(step)
        batch = self._assemble(indices, epochs, samples, "matched")
        batch.frames = self.phase.frames
        batch.draw_batch = lambda kind: self._further(kind, indices, epochs, samples)
        if self.pictures.ahead:
            self._expect(step + 1)
        return batch

    def _matched(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The pictures of this process's part of a step's batch, their passes and their sample numbers: [B] each."""
        samples = (np.arange(self.phase.batch_size, dtype=np.int64) + step * self.phase.batch_size)[self.own]
        if self.phase.frames > 1:
            indices, epochs = self._stories(samples)
        elif self._classes_of_pool is None:
            indices, epochs = self._in_passes(samples, self.pool, "order")
        else:
            epochs, indices = np.full_like(samples, step), self._one_of_each(self._classes_of_pool, step, samples)
        return indices, epochs, samples

    def _expect(self, step: int) -> None:
        """Let pictures come that a step will read, further batches of the kinds that were drawn so far included."""
        indices, epochs, samples = self._matched(step)
        self.pictures.expect(indices)
        for kind in self._kinds:
            self.pictures.expect(self._of_kind(kind, indices, epochs, samples)[0])

    def _further(self, kind: str, indices: NDArray[np.int64], epochs: NDArray[np.int64], samples: NDArray[np.int64]) -> Batch:
        """Another batch for the rows of one; see `Batch.draw`."""
        batch = self._assemble(*self._of_kind(kind, indices, epochs, samples), samples, kind)
        self._kinds[kind] = None
        return self._with_stories(batch, samples) if kind == "frames" else batch

    def _of_kind(
        self, kind: str, indices: NDArray[np.int64], epochs: NDArray[np.int64], samples: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pictures of a further batch, and their passes: [B] and [B]."""
        if kind == "mismatched":
            return self._others(indices, epochs), epochs
        if kind in ("unpaired", "pictures"):
            return self._in_passes(samples, self.pool if kind == "pictures" else np.arange(len(self.pictures)), kind)
        if kind == "frames":
            stories, told, places, epochs = self._frames(samples)
            return stories[told, places], epochs
        raise ValueError(f"a batch can draw 'mismatched', 'unpaired', 'pictures' or 'frames', not '{kind}'")

    def _frames(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Frames one by one, every frame once a pass: all stories [S, F], and for each sample its story, its place there, and its pass."""
        stories, frames = self.pictures.stories, self.phase.frames
        if stories is None or frames == 1:
            raise ValueError(f"phase {self.phase.name} has no stories of which frames could be drawn")
        chosen, epochs = self._in_passes(samples, np.arange(stories.size), "frames")
        return stories, *np.divmod(chosen, frames), epochs

    def _with_stories(self, batch: Batch, samples: NDArray[np.int64]) -> Batch:
        """A batch of frames, each with the text of its whole story."""
        stories, told, places, epochs = self._frames(samples)
        frames = self.phase.frames
        if self.features is not None and self.phase.captions:
            rows, passes = stories[told].ravel(), epochs.repeat(frames)
            numbers = self._draw_captions(rows, passes, "frames", 1)[:, 0]
            captions = [self.pictures.captions(row)[number] for row, number in zip(rows.tolist(), numbers.tolist(), strict=True)]
            batch.story = StoryText(self.features.of(rows, numbers).with_captions(captions), places)
        return batch

    def _check_stories(self, processes: int) -> None:
        frames, stories, phase = self.phase.frames, self.pictures.stories, self.phase
        if stories is None or not len(stories):
            raise DataError(f"the {self.pictures.split} split of '{self.pictures.name}' holds no stories: give data with stories")
        if stories.shape[1] != frames:
            raise DataError(f"the stories of '{self.pictures.name}' have {stories.shape[1]} pictures, and {frames} are wanted")
        if phase.batch_size % (frames * processes):
            raise DataError(
                f"a batch of {phase.batch_size} pictures does not hold whole stories of {frames}"
                f"{f' in each of {processes} processes' if processes > 1 else ''}: make --training.batch-size a multiple of "
                f"{frames * processes}"
            )
        wordless = np.flatnonzero(self.pictures.caption_counts[stories].min(1) == 0)
        if phase.captions and len(wordless):
            alone = next(index for index in stories[wordless[0]].tolist() if not self.pictures.caption_counts[index])
            raise DataError(f"'{self.pictures.key(alone)}' in a story of '{self.pictures.name}' has no caption: give every frame one")

    @cached_property
    def _whole_mirrorable(self) -> NDArray[np.bool_] | None:
        """Which pictures may be mirrored: a frame that comes with its story, where every frame of the story may be."""
        may, stories = self.pictures.mirrorable, self.pictures.stories
        if may is None or stories is None or self.phase.frames == 1:
            return may
        may = may.copy()
        may[stories] = may[stories].all(1, keepdims=True)
        return may

    def _stories(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pictures of these sample numbers, story by story, and their passes: [B] and [B]."""
        frames, stories = self.phase.frames, self.pictures.stories
        assert stories is not None
        chosen, epochs = self._in_passes(samples[::frames] // frames, np.arange(len(stories)), "stories")
        return stories[chosen].ravel(), epochs.repeat(frames)

    def _grouped(self) -> list[NDArray[np.int64]]:
        """The captioned pictures of each class. Raises DataError where a batch wants more classes than there are."""
        assert self.pictures.class_ids is not None
        classes = self.pictures.class_ids[self.pool]
        groups = [self.pool[classes == number] for number in np.unique(classes)]
        if len(groups) < self.phase.batch_size:
            raise DataError(
                f"a batch of {self.phase.batch_size} pictures of different classes cannot be drawn from the {len(groups)} classes in the "
                f"{self.pictures.split} split of '{self.pictures.name}': give --training.batch-size {len(groups)} or less"
            )
        return groups

    def _one_of_each(self, groups: list[NDArray[np.int64]], step: int, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """A picture of each of as many different classes as there are samples."""
        chosen = random.permutation(len(groups), self.seed, "classes", step)[: self.phase.batch_size][self.own]
        draws = random.uniform(self.seed, "picture of its class", samples)
        return np.array([groups[group][int(draw * len(groups[group]))] for group, draw in zip(chosen, draws, strict=True)])

    def _in_passes(self, samples: NDArray[np.int64], pool: NDArray[np.int64], stream: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pictures of these sample numbers, where each pass over the pool has an order of its own, and their passes: [B] and [B]."""
        epochs, places = np.divmod(samples, len(pool))
        indices = np.empty_like(samples)
        for epoch in np.unique(epochs).tolist():
            if self._orders.get(stream, (None,))[0] != epoch:
                self._orders[stream] = epoch, pool[random.permutation(len(pool), self.seed, stream, epoch)]
            rows = epochs == epoch
            indices[rows] = self._orders[stream][1][places[rows]]
        return indices, epochs

    def _others(self, indices: NDArray[np.int64], epochs: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each picture another one, of another class where there is more than one."""
        classes = self.pictures.class_ids
        others = indices.copy()
        open_rows = np.ones(len(indices), dtype=bool)
        for attempt in range(64):
            draws = self.pool[random.integers(len(self.pool), self.seed, "mismatched", epochs, indices, attempt)]
            others = np.where(open_rows, draws, others)
            open_rows = others == indices
            if classes is not None and attempt < 32:  # then settle for any other picture: there may be one class alone
                open_rows |= classes[others] == classes[indices]
            if not open_rows.any():
                break
        return others

    def _assemble(self, indices: NDArray[np.int64], epochs: NDArray[np.int64], samples: NDArray[np.int64], role: str) -> Batch:
        drawn = 0 if role == "unpaired" else self.phase.captions
        numbers = self._draw_captions(indices, epochs, role, drawn)  # [B, K]
        captions = [
            [every[number] for number in row] for every, row in zip(map(self.pictures.captions, indices.tolist()), numbers, strict=True)
        ]
        views = self._views(indices, epochs, role)
        layout = self.pictures.layouts(indices)
        shown = self.pictures.categories(indices)
        batch = Batch(
            pictures=to_network(views.of_pictures(self.pictures.read(indices)), self.phase.resolution, self.device),
            captions=captions,
            texts=(),
            indices=indices,
            samples=samples,
            seed=self.seed,
            classes=self._classes(indices),
            layout=None if layout is None else views.of_layout(layout).to(self.device),
            categories=None if shown is None else torch.from_numpy(shown).float().to(self.device),
        )
        if self.features is not None:
            batch.texts = tuple(self.features.of(indices, numbers[:, k]) for k in range(drawn))
        if self.phase.counterfactuals and role in ("matched", "frames"):
            self._add_counterfactuals(batch, indices, numbers, epochs)
        return batch

    def _add_counterfactuals(self, batch: Batch, indices: NDArray[np.int64], numbers: NDArray[np.int64], epochs: NDArray[np.int64]) -> None:
        if self.features is not None:
            kept = self.features.counterfactuals
            first = random.integers(kept, self.seed, "counterfactual", epochs, indices)
            draws = (first + np.arange(self.phase.counterfactuals)[:, None]) % kept  # [K, B]
            batch.counterfactuals = self.features.changed(indices, numbers[:, 0], draws)
        else:
            draws = random.integers(1 << 31, self.seed, "counterfactual", epochs, indices)
            of_each = numbers.shape[1]
            changed = self.pictures.counterfactuals(indices.repeat(of_each), numbers.ravel(), draws.repeat(of_each))
            batch.counterfactual_captions = [changed[start : start + of_each] for start in range(0, len(changed), of_each)]

    def _draw_captions(self, indices: NDArray[np.int64], epochs: NDArray[np.int64], role: str, wanted: int) -> NDArray[np.int64]:
        """As many different captions of each picture, or each as often as needed where it has fewer: [B, K]."""
        counts = self.pictures.caption_counts[indices]  # [B]
        columns = np.arange(counts.max())
        keys = random.uniform(self.seed, "captions", role, epochs[:, None], indices[:, None], columns)
        order = np.argsort(np.where(columns < counts[:, None], keys, 2.0), axis=1)  # a row's own captions first
        return np.take_along_axis(order, np.arange(wanted) % counts[:, None], axis=1)

    def _classes(self, indices: NDArray[np.int64]) -> Tensor | None:
        return None if self.pictures.class_ids is None else torch.from_numpy(self.pictures.class_ids[indices]).to(self.device)

    def _views(self, indices: NDArray[np.int64], epochs: NDArray[np.int64], role: str) -> Views:
        """How each picture is cropped and mirrored: a function of (seed, epoch, index). The frames of a story are seen alike."""
        frames = self.phase.frames if role == "matched" else 1
        stored = self.pictures.stored_resolution
        margin = stored - self.pictures.resolution
        seen = indices if frames == 1 else indices[::frames].repeat(frames)
        zeros = np.zeros(len(indices), dtype=np.int64)
        tops = random.integers(margin + 1, self.seed, "top", epochs, seen) if margin else zeros
        lefts = random.integers(margin + 1, self.seed, "left", epochs, seen) if margin else zeros
        mirrored = zeros.astype(bool)
        if self.flip:
            mirrored = random.uniform(self.seed, "flip", epochs, seen) < 0.5
            may = self._whole_mirrorable if role in ("matched", "frames") else self.pictures.mirrorable
            if may is not None:
                mirrored &= may[indices]
        return Views(stored, self.pictures.resolution, tops, lefts, mirrored)


@dataclass(frozen=True)
class Views:
    """Which square of each stored picture is seen, and whether it is mirrored.

    stored, side: sides in pixels of the stored pictures and of the squares; tops, lefts: [B] int64; mirrored: [B] bool.
    """

    stored: int
    side: int
    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    mirrored: NDArray[np.bool_]

    def of_pictures(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[B, S, S, 3] -> [B, R, R, 3]."""
        side = self.side
        if side < self.stored:
            places = zip(pictures, self.tops, self.lefts, strict=True)
            pictures = np.stack([picture[top : top + side, left : left + side] for picture, top, left in places])
        return np.where(self.mirrored[:, None, None, None], pictures[:, :, ::-1], pictures) if self.mirrored.any() else pictures

    def of_layout(self, layout: Layout) -> Layout:
        """The layout of the stored pictures, as it stands in the views."""
        lefts, tops = (torch.from_numpy(places / self.stored).float() for places in (self.lefts, self.tops))
        return layout.viewed(lefts, tops, self.side / self.stored, torch.from_numpy(self.mirrored))


def pictures_seen(pictures: CaptionedPictures, phase: Phase) -> int:
    """How many different pictures a phase trains on."""
    if phase.frames > 1 and pictures.stories is not None:
        return pictures.stories.size
    return int((pictures.caption_counts > 0).sum()) if phase.captions else len(pictures)


def to_network(pictures: NDArray[np.uint8], resolution: int, device: torch.device | str) -> Tensor:
    """[B, S, S, 3] uint8 -> [B, 3, resolution, resolution] float32 in [-1, 1] on the device, reduced there where S is larger."""
    batch = torch.from_numpy(np.ascontiguousarray(pictures)).to(device, non_blocking=True).permute(0, 3, 1, 2)
    batch = batch.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)
    if batch.shape[-1] == resolution:
        return batch
    return torch.nn.functional.interpolate(batch, size=(resolution, resolution), mode="bilinear", antialias=True, align_corners=False)
