"""Captioned pictures to a prepared cache: every picture is decoded once, here."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from limner.core.errors import DataError
from limner.core.files import readable, whole_folder
from limner.data.cache import FORMAT, SPLITS, CacheCard, SplitWriter, join, write_card
from limner.data.decoding import Rejected, decode
from limner.data.sources import PictureFile, Sample, read_sources
from limner.data.splits import SplitBy, Splitter
from limner.text.words import split_words

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many samples are done, and of how many (0 while that is not known)."""

NO_CAPTION = "no caption"
SPEAKS_OF_SIDES = frozenset(("left", "right", "leftmost", "rightmost", "lefthand", "righthand", "leftward", "rightward"))
MOST_SIDED = 0.01
"""Above this share of captions that speak of left or right, none of the set is mirrored; below, only those pictures are not."""


@dataclass(frozen=True)
class Reject:
    """A sample that was left out."""

    key: str
    source: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """What became of the sources."""

    folder: Path
    card: CacheCard
    words: int
    rejects: list[Reject]
    held_out_uncaptioned: int
    """Pictures without captions that belong to val or test, and were left out: they would show what is held out."""
    classes_dropped: int
    """Pictures without a class among others with one, because of which the set has no classes."""
    sided: int
    """Captions that speak of left or right."""
    seconds: float

    @property
    def pictures(self) -> int:
        """How many pictures were kept, over all splits."""
        return sum(self.card.splits.values())


@dataclass
class _Survey:
    """What the words of the sources tell before any picture is decoded."""

    total: int = 0
    rejects: list[Reject] = field(default_factory=list)
    captions: int = 0
    sided: int = 0
    uncaptioned: int = 0
    classless: int = 0
    samples: int = 0


def prepare(
    sources: Sequence[Path | str],
    out: Path | str,
    *,
    resolution: int,
    uncaptioned: bool = False,
    max_rejected: float = 0.01,
    split_by: SplitBy = "auto",
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    flip: Literal["auto", "yes", "no"] = "auto",
    evaluation_only: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Read captioned pictures from folders and tar shards, and write the cache folder `out`, whole or not at all.

    resolution: R; pictures are stored as squares of round(R * 76 / 64) pixels, cut from the centre.
    uncaptioned: keep training pictures without captions too, and in a set without a single caption all pictures.
    max_rejected: the largest share of samples that may be left out.
    split_by: "auto" keeps the splits that the samples name, else makes them by class where there are ten or more, else by picture.
    validation, test: shares of classes or pictures in splits that are made.
    flip: whether pictures may be mirrored; "auto" says no where more than 1 caption in 100 speaks of left or right.
    evaluation_only: accept a set without training pictures.
    force: take the place of a prepared folder that is there.
    Raises DataError in one line; nothing is written then.
    """
    started = time.perf_counter()
    paths, out = [Path(source) for source in sources], Path(out)
    _check_settings(resolution, max_rejected, validation, test)
    _check_out(out, force)
    tell: Progress = progress or (lambda stage, done, total: None)
    splitter = Splitter(split_by, validation, test, seed)
    survey = _survey(paths, splitter, uncaptioned, tell)
    names = ", ".join(source.name or str(source) for source in paths)
    if not survey.total:
        raise DataError(f"found no pictures in {names}: give a folder with pictures and .txt captions or metadata.jsonl, or tar shards")
    if not survey.samples:
        if any(reject.reason != NO_CAPTION for reject in survey.rejects):
            _refuse_rejects(survey.rejects, survey.total, max_rejected)
        raise DataError(
            f"none of the {survey.total:,} samples in {names} is a picture with a caption: "
            "write captions, one a line, in a .txt file of the picture's name, or list them in metadata.jsonl; "
            "pictures alone are kept with --uncaptioned"
        )
    _refuse_rejects(survey.rejects, survey.total, max_rejected)
    splitter.decide()
    if not splitter.trains and not evaluation_only:
        raise DataError(
            f"no sample in {names} is in a training split: mark some as train, make new splits with --split-by picture, "
            "or pass --evaluation-only"
        )
    side = round(resolution * 76 / 64)
    out.parent.mkdir(parents=True, exist_ok=True)
    _check_space(out, survey.samples * side * side * 3)
    try:
        with whole_folder(out) as folder:
            return _write(
                folder,
                out,
                paths,
                splitter,
                survey,
                resolution=resolution,
                side=side,
                uncaptioned=uncaptioned,
                max_rejected=max_rejected,
                seed=seed,
                flip=flip,
                tell=tell,
                started=started,
            )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"no space left while writing {out}: free about {survey.samples * side * side * 3 >> 20:,} MiB, "
                "or choose --out on another disk"
            ) from None
        raise


def _check_settings(resolution: int, max_rejected: float, validation: float, test: float) -> None:
    if not 8 <= resolution <= 1024:
        raise DataError(f"--resolution {resolution} cannot be prepared: choose 8 to 1024, for example 64")
    if not 0 <= max_rejected <= 1:
        raise DataError(f"--max-rejected {max_rejected} is no share: choose 0 to 1, for example 0.05 for 5 %")
    if min(validation, test) < 0 or validation + test >= 1:
        raise DataError(f"--validation {validation} and --test {test} leave nothing to train on: choose shares that sum to less than 1")


def _check_out(out: Path, force: bool) -> None:
    if out.is_file():
        raise DataError(f"--out {out} is a file: choose a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / "dataset.json").exists():
        raise DataError(f"--out {out} exists and is no prepared data set: choose another folder")
    if not force:
        raise DataError(f"--out {out} exists: choose another folder, or pass --force to take its place")


def _check_space(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise DataError(
            f"no space left for {out}: it needs about {needed >> 20:,} MiB, {free >> 20:,} MiB are free: free some, "
            "choose --out on another disk, or a lower --resolution"
        )


def _survey(sources: Sequence[Path], splitter: Splitter, uncaptioned: bool, tell: Progress) -> _Survey:
    survey = _Survey()
    for sample in read_sources(sources):
        survey.total += 1
        if survey.total % 256 == 0:
            tell("reading captions", survey.total, 0)
        if reason := _refusal(sample, uncaptioned):
            survey.rejects.append(Reject(sample.key, sample.source, reason))
            continue
        survey.samples += 1
        survey.captions += len(sample.captions)
        survey.uncaptioned += not sample.captions
        survey.classless += sample.labels.class_key is None
        survey.sided += sum(map(_is_sided, sample.captions))
        splitter.count(sample)
    return survey


def _refusal(sample: Sample, uncaptioned: bool) -> str | None:
    """Why a sample is left out, as far as its words tell."""
    return sample.problem or (None if sample.captions or uncaptioned else NO_CAPTION)


def _refuse_rejects(rejects: Sequence[Reject], total: int, max_rejected: float) -> None:
    if len(rejects) <= max_rejected * total:
        return
    reasons = Counter(reject.reason for reject in rejects)
    counted = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(6))
    share = np.ceil(len(rejects) / total * 1000) / 1000
    fix = "mend or remove them, or pass " + ("--uncaptioned to keep those without captions, or " if NO_CAPTION in reasons else "")
    raise DataError(
        f"{len(rejects):,} of {total:,} samples cannot be used ({counted}), such as '{rejects[0].key}' in {rejects[0].source}; "
        f"allowed are {max_rejected:.3g} of all: {fix}--max-rejected {share:.3g}"
    )


def _is_sided(caption: str) -> bool:
    return not SPEAKS_OF_SIDES.isdisjoint(split_words(caption))


def _write(
    folder: Path,
    out: Path,
    sources: Sequence[Path],
    splitter: Splitter,
    survey: _Survey,
    *,
    resolution: int,
    side: int,
    uncaptioned: bool,
    max_rejected: float,
    seed: int,
    flip: str,
    tell: Progress,
    started: float,
) -> PrepareReport:
    has_classes = splitter.has_classes and not survey.classless
    writers = {split: SplitWriter(folder, split) for split in SPLITS}
    rejects: list[Reject] = []
    words: Counter[str] = Counter()
    held_out = upscaled = bare = 0
    usable = (sample for sample in read_sources(sources) if not _note(sample, uncaptioned, rejects))
    for done, (sample, decoded) in enumerate(_decoded(usable, side), 1):
        tell("decoding pictures", done, survey.samples)
        split = splitter.split_of(sample)
        if not sample.captions and split != "train" and survey.captions:
            held_out += 1
            continue
        try:
            pixels, smaller = decoded.result()
        except Rejected as error:
            rejects.append(Reject(sample.key, sample.source, str(error)))
            continue
        upscaled += smaller
        bare += not sample.captions
        if split == "train" or not splitter.trains:
            words.update(word for caption in sample.captions for word in split_words(caption))
        class_id = splitter.class_id(sample) if has_classes else -1
        writers[split].add(pixels, sample.captions, sample.key, class_id, not any(map(_is_sided, sample.captions)))
    for writer in writers.values():
        writer.close()
    _refuse_rejects(rejects, survey.total, max_rejected)
    counts = {split: len(writer) for split, writer in writers.items() if len(writer)}
    if not counts or (splitter.trains and "train" not in counts):
        raise DataError(f"no training picture of {out.name} can be used: {Counter(r.reason for r in rejects).most_common(1)[0][0]}")
    card = CacheCard(
        format=FORMAT,
        name=readable(out.resolve().name),
        resolution=resolution,
        stored_resolution=side,
        splits=counts,
        made_splits=splitter.made,
        captions=sum(len(writer.caption_lengths) for writer in writers.values()),
        uncaptioned=bare,
        class_names=splitter.class_names() if has_classes else None,
        flip=flip == "yes" or (flip == "auto" and survey.sided <= MOST_SIDED * survey.captions),
        upscaled=upscaled,
        rejected=dict(Counter(reject.reason for reject in rejects).most_common()),
        sources=[readable(source.resolve().name) for source in sources],
        seed=seed,
        fingerprint=join(folder, writers, has_classes),
    )
    write_card(folder, card)
    (folder / "vocabulary.json").write_text(
        json.dumps(dict(sorted(words.items(), key=lambda item: (-item[1], item[0]))), indent=0, ensure_ascii=False), encoding="utf-8"
    )
    with (folder / "rejects.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.writelines(json.dumps(asdict(reject), ensure_ascii=False) + "\n" for reject in rejects)
    return PrepareReport(
        folder=out,
        card=card,
        words=len(words),
        rejects=rejects,
        held_out_uncaptioned=held_out,
        classes_dropped=survey.classless if splitter.has_classes else 0,
        sided=survey.sided,
        seconds=time.perf_counter() - started,
    )


def _note(sample: Sample, uncaptioned: bool, rejects: list[Reject]) -> bool:
    """Put a sample that its words rule out on the list; returns whether it was."""
    reason = _refusal(sample, uncaptioned)
    if reason:
        rejects.append(Reject(sample.key, sample.source, reason))
    return reason is not None


Decoded = Future[tuple[NDArray[np.uint8], bool]]


def _decoded(samples: Iterator[Sample], side: int) -> Iterator[tuple[Sample, Decoded]]:
    """Decode in threads, Pillow releasing the lock, a few pictures ahead; samples come in their order."""
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[tuple[Sample, Decoded]] = deque()
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on broken metadata; what matters becomes a reject
        for sample in samples:
            assert isinstance(sample.picture, PictureFile)  # a sample without one has a problem, and is not here
            waiting.append((sample, pool.submit(decode, sample.picture, side)))
            if len(waiting) > 4 * workers:
                yield waiting.popleft()
        yield from waiting
