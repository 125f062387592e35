"""Captioned pictures to a prepared cache: every picture is decoded once, here."""

from __future__ import annotations

import errno
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from limner.core.errors import DataError
from limner.core.files import readable, whole_folder
from limner.data.cache import FORMAT, SPLITS, CacheCard, SplitWriter, join, save_categories, save_layouts, write_card
from limner.data.caption_checks import CaptionTally, WordlessCaption, with_words
from limner.data.decoding import Rejected, decode_all
from limner.data.equals import Equals
from limner.data.framing import Fit, Framing
from limner.data.layouts import MOST_THINGS, largest
from limner.data.naming import Namer
from limner.data.panoptic import list_of_things
from limner.data.places import PlaceWriter
from limner.data.prechecks import check_out, check_settings, check_sources, check_space
from limner.data.readers.known import nearest
from limner.data.reading import read_sources
from limner.data.refusals import Reject, explain, refuse, too_many
from limner.data.remote import Source, located
from limner.data.sequences import CaptionsFrom, described
from limner.data.sources import NO_CAPTION, Reading, Sample
from limner.data.splits import SplitBy, Splitter
from limner.data.survey import Progress, Read, Survey, is_sided_text, look_through, refusal
from limner.data.thing_lists import ThingList
from limner.text.words import WITHOUT_WORD

MOST_SIDED = 0.01
"""Above this share of captions that speak of left or right, none of the set is mirrored; below, only those pictures are not."""


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """What became of the sources."""

    folder: Path
    card: CacheCard
    recognised: tuple[str, ...]
    """Known layouts that sources were read as."""
    words: int
    rejects: list[Reject]
    ignored: list[Reject]
    """Files that were left alone, and do not count: notes, archives, tables of other names."""
    renamed: int
    """Pictures of whose name the sources have several: they are called SOURCE/NAME.SUFFIX."""
    held_out_uncaptioned: int
    """Pictures without captions that belong to val or test, and were left out: they would show what is held out."""
    classes_dropped: int
    """Pictures without a class among others with one, because of which the set has no classes."""
    sided: int
    """Captions that speak of left or right."""
    equals: Equals
    """Pictures that the set holds more than once."""
    wordless: list[WordlessCaption]
    """Captions without a word that were left out; their pictures have others, and stay."""
    laid_out: int
    """Pictures of which is known what stands where."""
    crowded: tuple[int, int]
    """Things that were left out, the smallest of pictures with more than `most_things`, and in how many pictures."""
    stories: tuple[int, list[tuple[str, list[int]]]]
    """Whole stories, and those that lack frames, which these are, and whose others serve as single pictures."""
    tally: CaptionTally
    """What is worth knowing of the captions."""
    seconds: float

    @property
    def pictures(self) -> int:
        """How many pictures were kept, over all splits."""
        return sum(self.card.splits.values())


def prepare(
    sources: Sequence[Source | str],
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
    instances: Path | str | None = None,
    most_things: int = MOST_THINGS,
    columns: tuple[str, str] | None = None,
    tags: bool = False,
    fit: Fit = "crop",
    background: str = "white",
    pixel_art: bool = False,
    captions_from: CaptionsFrom = "text",
    in_place: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Read captioned pictures from folders and tar shards, and write the cache folder `out`, whole or not at all.

    sources: paths, and addresses of tar shards, such as https://HOST/shard-000.tar.
    resolution: R; pictures are stored as squares of round(R * 76 / 64) pixels.
    uncaptioned: keep training pictures without captions too, and in a set without a single caption all pictures.
    max_rejected: the largest share of samples that may be left out.
    split_by: "auto" keeps the splits that the samples name, else makes them by class where there are ten or more, else by picture.
    validation, test: shares of classes or pictures in splits that are made.
    flip: whether pictures may be mirrored; "auto" says no where more than 1 caption in 100 speaks of left or right.
    evaluation_only: accept a set without training pictures.
    instances: a file in the form of COCO's instances or panoptic lists, which says what stands where in pictures of these names.
    most_things: things of a picture that are kept, the largest ones.
    columns: what tables call a picture's file and its captions; tables of any name that have both are read then.
    tags: captions are lists of tags, such as "red, sword".
    fit, background, pixel_art: see `limner.data.framing.Framing`.
    captions_from: "attributes" makes a row of numbers of each sample's attributes its caption, "clevr" sentences of those of CLEVR-SV.
    in_place: leave pictures where they are, in folders and tar shards; training reads and decodes them there.
    force: take the place of a prepared folder that is there.
    Raises DataError in one line; nothing is written then.
    """
    started = time.perf_counter()
    paths, out = [located(source) for source in sources], Path(out)
    here = [path for path in paths if isinstance(path, Path)]
    check_sources(paths)
    check_settings(resolution, max_rejected, validation, test, most_things)
    framing = Framing(fit=fit, background=background, pixel_art=pixel_art)
    reading = Reading(columns=columns, tags=tags)
    things = list_of_things(Path(instances)) if instances is not None else None
    read = _reader(paths, reading, things, captions_from)
    check_out(out, force)
    tell: Progress = progress or (lambda stage, done, total: None)
    splitter = Splitter(split_by, validation, test, seed)
    survey = look_through(read, paths, splitter, things, uncaptioned, tell)
    names = ", ".join(source.name or str(source) for source in paths)
    if not survey.total:
        there = f", but {survey.ignored[0].key}: {survey.ignored[0].reason}" if survey.ignored else ""
        near = nearest(here)
        fix = "give a folder with pictures and .txt captions or metadata.jsonl, a zip archive of one, a parquet file or tar shards"
        raise DataError(f"found no pictures in {names}{there}: {f'{near}; or ' if near else ''}{fix}")
    if things is not None and survey.samples and not things.matched:
        raise DataError(f"{instances} has the file name of no picture in {names} that lacks a layout: give the list of these pictures")
    if not survey.samples:
        if any(reject.reason != NO_CAPTION for reject in survey.rejects):
            refuse(survey.rejects, survey.total, max_rejected, survey.ignored, here)
        cause = explain(survey.rejects, survey.ignored, here)
        raise DataError(
            f"none of the {survey.total:,} samples in {names} is a picture with a caption: {f'{cause}; else ' if cause else ''}"
            "write captions, one a line, in a .txt file of the picture's name, or list them in metadata.jsonl; "
            "pictures alone are kept with --uncaptioned"
        )
    if too_many(survey.rejects, survey.total, max_rejected):
        rejects = [*survey.rejects, *_damaged(read, uncaptioned, survey.samples, tell)]
        refuse(rejects, survey.total, max_rejected, survey.ignored, here)
    splitter.decide()
    if not splitter.trains and not evaluation_only:
        raise DataError(
            f"no sample in {names} is in a training split: mark some as train, make new splits with --split-by picture, "
            "or pass --evaluation-only"
        )
    side = round(resolution * 76 / 64)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        check_space(out, 0 if in_place else survey.samples * side * side * 3)
        with whole_folder(out) as folder:
            check_out(out, force)  # again, now that nobody else writes there
            return _write(
                folder,
                out,
                paths,
                read,
                splitter,
                survey,
                recognised=tuple(reading.recognised),
                most_things=most_things,
                framing=framing,
                resolution=resolution,
                side=side,
                uncaptioned=uncaptioned,
                in_place=in_place,
                max_rejected=max_rejected,
                seed=seed,
                flip="no" if captions_from == "attributes" and flip == "auto" else flip,  # numbers may say where things stand
                tell=tell,
                started=started,
            )
    except (PermissionError, NotADirectoryError, FileExistsError):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"no space left while writing {out}: free about {survey.samples * side * side * 3 >> 20:,} MiB, "
                "or choose --out on another disk"
            ) from None
        raise DataError(
            f"cannot write {out} ({error.strerror or error}{f', {error.filename}' if error.filename else ''}): "
            "choose --out in a folder that can be written"
        ) from None


def _reader(sources: Sequence[Source], reading: Reading, things: ThingList | None, captions_from: CaptionsFrom) -> Read:
    """Reads the samples of the sources anew each time, with what a list of things says of them, and captions of their attributes."""

    def read() -> Iterator[Sample]:
        for sample in read_sources(sources, reading):
            yield described(sample if things is None else things.of(sample), captions_from)

    return read


def _damaged(read: Read, uncaptioned: bool, count: int, tell: Progress) -> Iterator[Reject]:
    """The rejects that only decoding finds, so that a refusal names all there are."""
    checked = map(with_words, read())
    usable = (sample for sample, _ in checked if sample.counts and not refusal(sample, uncaptioned))
    for done, (sample, decoded) in enumerate(decode_all(usable, 8), 1):
        tell("looking for damaged pictures", done, count)
        try:
            decoded.result()
        except Rejected as error:
            yield Reject.of(sample, str(error))


def _write(
    folder: Path,
    out: Path,
    sources: Sequence[Source],
    read: Read,
    splitter: Splitter,
    survey: Survey,
    *,
    recognised: tuple[str, ...],
    most_things: int,
    framing: Framing,
    resolution: int,
    side: int,
    uncaptioned: bool,
    in_place: bool,
    max_rejected: float,
    seed: int,
    flip: str,
    tell: Progress,
    started: float,
) -> PrepareReport:
    has_classes = splitter.has_classes and not survey.classless
    files = dict[str, int]()
    writers = {split: SplitWriter(folder, split, PlaceWriter(files) if in_place else None) for split in SPLITS}
    rejects: list[Reject] = []
    left_out: list[WordlessCaption] = []
    tally = CaptionTally()
    equals = Equals(together=splitter.made == "picture")
    held_out = upscaled = bare = laid_out = too_small = crowded = 0
    checked = map(with_words, read())
    usable = (sample for sample, wordless in checked if sample.counts and not _note(sample, uncaptioned, rejects, wordless, left_out))
    name = Namer(survey.shared_keys)
    for done, (sample, decoded) in enumerate(decode_all(usable, side, framing, resolution), 1):
        tell("decoding pictures", done, survey.samples)
        split = splitter.split_of(sample)
        if not sample.captions and split != "train" and survey.captions:
            held_out += 1
            continue
        try:
            picture = decoded.result()
        except Rejected as error:
            rejects.append(Reject.of(sample, str(error)))
            continue
        split = equals.split_of(sample.key, picture.pixels, split)
        if not sample.captions and split != "train" and survey.captions:  # equal to one of val or test
            held_out += 1
            continue
        placed = picture.placed
        laid_out += placed is not None
        if placed is not None and len(placed.labels) > most_things:
            too_small, crowded = too_small + len(placed.labels) - most_things, crowded + 1
            placed = largest(placed, most_things)
        upscaled += picture.smaller
        bare += not sample.captions
        tally.add(sample.key, sample.captions, split == "train" or not splitter.trains)
        class_id = splitter.class_id(sample) if has_classes else -1
        mirrorable = not any(map(is_sided_text, sample.captions))
        survey.stories.put(sample, split, len(writers[split]))
        assert sample.picture is not None
        file = sample.picture, picture.checksum
        writers[split].add(picture.pixels, sample.captions, name(sample), class_id, mirrorable, placed, sample.labels, file)
    for writer in writers.values():
        writer.close()
    if too_many(rejects, survey.total, max_rejected):
        refuse(rejects, survey.total, max_rejected, survey.ignored, [source for source in sources if isinstance(source, Path)])
    counts = {split: len(writer) for split, writer in writers.items() if len(writer)}
    if not counts or (splitter.trains and "train" not in counts):
        reasons = Counter(reject.reason for reject in rejects).most_common(1)
        reason = reasons[0][0] if reasons else "all are equal to pictures of val or test, whose split they join: give more pictures"
        raise DataError(f"no training picture of {out.name} can be used: {reason}")
    stories = survey.stories.table({split: len(writer) for split, writer in writers.items()})
    if survey.stories.frames:
        np.save(folder / "stories.npy", stories)
    card = CacheCard(
        format=FORMAT if in_place else 1,
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
        fit=framing.fit,
        background=framing.background,
        pixel_art=framing.pixel_art,
        rejected=dict(Counter(reject.reason for reject in rejects).most_common()),
        sources=[readable(source.resolve().name) for source in sources],
        seed=seed,
        label_names=save_layouts(folder, writers),
        category_names=save_categories(folder, writers),
        frames=survey.stories.frames,
        in_place=str(out.resolve()) if in_place else None,
        fingerprint=join(folder, writers, has_classes),
    )
    write_card(folder, card)
    (folder / "vocabulary.json").write_text(
        json.dumps(dict(sorted(tally.words.items(), key=lambda item: (-item[1], item[0]))), indent=0, ensure_ascii=False), encoding="utf-8"
    )
    with (folder / "rejects.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as stream:
        listed = [*rejects, *map(_caption_alone, left_out), *survey.stories.rejects(), *survey.ignored]
        stream.writelines(json.dumps(reject.as_json(), ensure_ascii=False) + "\n" for reject in listed)
    return PrepareReport(
        folder=out,
        card=card,
        recognised=recognised,
        words=len(tally.words),
        rejects=rejects,
        ignored=survey.ignored,
        renamed=name.renamed,
        held_out_uncaptioned=held_out,
        classes_dropped=survey.classless if splitter.has_classes else 0,
        sided=survey.sided,
        equals=equals,
        wordless=left_out,
        laid_out=laid_out,
        crowded=(too_small, crowded),
        stories=(len(stories), survey.stories.missing()),
        tally=tally,
        seconds=time.perf_counter() - started,
    )


def _note(
    sample: Sample, uncaptioned: bool, rejects: list[Reject], wordless: list[WordlessCaption], left_out: list[WordlessCaption]
) -> bool:
    """Put a sample that its words rule out on the list, or else its captions without a word; returns whether the sample was."""
    reason = refusal(sample, uncaptioned)
    if reason:
        rejects.append(Reject.of(sample, reason))
    else:
        left_out += wordless
    return reason is not None


def _caption_alone(caption: WordlessCaption) -> Reject:
    return Reject(caption.key, caption.source, f"{WITHOUT_WORD}, left out; the picture has others", caption.where)
