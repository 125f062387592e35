"""`limner data`: prepare captioned pictures, and look at them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from limner.cli import data_describe, data_get
from limner.cli.arguments import parse
from limner.cli.datasets import Looked
from limner.cli.outputs import check_file, check_folder
from limner.core.errors import SettingsError, unknown_name
from limner.core.files import save_whole
from limner.core.worlds import BUILT_IN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from limner.data.prepare import PrepareReport
    from limner.data.survey import Progress

HELP = f"""usage: limner data prepare SOURCE ... --out DIR --resolution R
       limner data show DIR|{"|".join(BUILT_IN)}
       limner data describe DIR|{"|".join(BUILT_IN)}
       limner data get NAME --out DIR

Captioned pictures: fetched, made ready for training, looked at and counted.

  get       fetch a known data set from its authors, checked and unpacked
  prepare   decode every picture of folders, archives and shards once, and write a set that training reads at full speed
  show      paint a contact sheet with captions
  describe  count words, colours, things, classes and duplicates, and what text encoders would cut

examples:
  limner data prepare my-folder --out prepared/mine --resolution 64
  limner data show prepared/mine --split test --out sheet.png"""

PREPARE = """Decode every picture of folders, archives and shards once, and write a set that training reads at full speed.

A folder holds pictures with same-name .txt files, one caption a line, or a metadata.jsonl or metadata.csv with
file_name,text[,class,split]. CUB-200-2011, Oxford-102, COCO, Flickr8k and 30k, CelebA, Multi-Modal-CelebA-HQ and pictures
and captions in two folders are recognised as they come. Links to folders are followed, and all formats that Pillow reads
are read. A zip archive is read as a folder; a parquet file as Hugging Face writes it. A tar shard holds KEY.jpg, KEY.txt
and KEY.json (split, class_id, class_name). Several sources become one set.
Pictures with the fields or columns story and frame (1, 2, ...) form stories; all stories must have the same number of frames.

examples:
  limner data prepare my-folder --out prepared/mine --resolution 64
  limner data prepare shard-000.tar shard-001.tar --out prepared/flowers --resolution 64 --max-rejected 0.05
  limner data prepare archive.zip --out prepared/icons --resolution 32 --tags --pixel-art --background black
  limner data prepare kaggle --columns image,caption --out prepared/kaggle --resolution 64 --fit pad
  limner data prepare shards/*.tar --out prepared/large --resolution 256 --in-place"""

SHOW = """Paint a contact sheet of a prepared set, or of the garden, with captions.

examples:
  limner data show prepared/mine
  limner data show garden --split test --count 12 --out garden.png"""


@dataclass(frozen=True, kw_only=True)
class PrepareArguments:
    sources: Annotated[Positional[tuple[str, ...]], arg(metavar="SOURCE")] = ()
    """Folders of captioned pictures, zip archives, parquet files and tar shards; and addresses of tar shards, such as
    https://HOST/shard-000.tar."""
    out: Annotated[Path, arg(metavar="DIR")]
    """The folder to write, whole or not at all."""
    resolution: Annotated[int, arg(metavar="R")]
    """The highest resolution that will be trained; lower ones are made from it."""
    uncaptioned: bool = False
    """Keep training pictures that have no caption; where none has one, all pictures."""
    max_rejected: Annotated[float, arg(metavar="SHARE")] = 0.01
    """The largest share of samples that may be left out as unusable."""
    split_by: Literal["auto", "class", "picture"] = "auto"
    """`auto` keeps the splits that the samples name, else makes them by class where there are ten or more, else by picture."""
    validation: Annotated[float, arg(metavar="SHARE")] = 0.1
    """Share of classes or pictures for validation, in splits that are made."""
    test: Annotated[float, arg(metavar="SHARE")] = 0.1
    """Share of classes or pictures for testing, in splits that are made."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides the splits that are made."""
    flip: Literal["auto", "yes", "no"] = "auto"
    """Whether training may mirror pictures; `auto` says no where captions speak of left and right."""
    evaluation_only: bool = False
    """Accept a set without training pictures, for scores alone."""
    instances: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """A list in the form of COCO's instances, or of its panoptic lists with their folder of PNGs: boxes, labels and masks of the things in
    pictures of these names."""
    most_things: Annotated[int, arg(metavar="N")] = 10
    """Things of a picture that are kept where its layout has more: the largest ones."""
    columns: Annotated[str | None, arg(metavar="FILE,TEXT")] = None
    """What tables call a picture's file and its captions, such as `image,caption`: then tables of any name are read."""
    tags: bool = False
    """Captions are lists of tags, such as `red, sword`: each picture gets up to five captions, with its tags in other orders."""
    fit: Literal["crop", "pad", "squash"] = "crop"
    """Of pictures that are not square: cut the central square, pad with the background, or stretch."""
    background: Annotated[str, arg(metavar="COLOUR")] = "white"
    """What shows through transparent pixels and around padded pictures: a name, such as black, or #rrggbb."""
    pixel_art: bool = False
    """Take the nearest pixel in place of an average, and enlarge by whole factors alone."""
    captions_from: Literal["text", "attributes", "clevr"] = "text"
    """Make captions of each sample's `attributes`: a row of numbers, as they are, or sentences of CLEVR-SV's."""
    in_place: bool = False
    """Leave pictures where they are, in folders and tar shards, here or at addresses, for sets that are larger than the disk: training
    reads and decodes them there."""
    force: bool = False
    """Take the place of a prepared set that is there."""


@dataclass(frozen=True, kw_only=True)
class ShowArguments:
    data: Looked
    split: Annotated[str, arg(metavar="NAME")] = "train"
    """Which pictures: train, val, test or all."""
    count: Annotated[int, arg(metavar="N")] = 24
    """How many pictures; of a set of stories, whole ones of about as many."""
    columns: Annotated[int, arg(metavar="N")] = 6
    """How many next to each other; of a set of stories, whole ones."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides which pictures and captions are drawn."""
    layout: bool = False
    """Draw what stands where: a numbered box for each thing, and its shape where that is known."""
    out: Annotated[Path | None, arg(metavar="FILE.png")] = None
    """Where to write the sheet; by default NAME-SPLIT.png in the current folder."""


def main(argv: Sequence[str]) -> int:
    """Run `limner data ...` and return its exit code."""
    verbs = {"prepare": prepare, "show": show, "describe": data_describe.main, "get": data_get.main}
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if argv[0] not in verbs:
        raise unknown_name("verb of limner data", argv[0], verbs)
    return verbs[argv[0]](argv[1:])


def prepare(argv: Sequence[str]) -> int:
    """`limner data prepare`: sources to a prepared folder."""
    arguments = parse(PrepareArguments, argv, prog="limner data prepare", description=PREPARE)
    if not arguments.sources:
        raise SettingsError("limner data prepare: missing SOURCE: give folders, archives or shards; see limner data prepare --help")
    check_folder(arguments.out)
    from limner.data.prepare import prepare

    with _progress_bar() as progress:
        report = prepare(
            arguments.sources,
            arguments.out,
            resolution=arguments.resolution,
            uncaptioned=arguments.uncaptioned,
            max_rejected=arguments.max_rejected,
            split_by=arguments.split_by,
            validation=arguments.validation,
            test=arguments.test,
            seed=arguments.seed,
            flip=arguments.flip,
            evaluation_only=arguments.evaluation_only,
            instances=arguments.instances,
            most_things=arguments.most_things,
            columns=_columns(arguments.columns),
            tags=arguments.tags,
            fit=arguments.fit,
            background=arguments.background,
            pixel_art=arguments.pixel_art,
            captions_from=arguments.captions_from,
            in_place=arguments.in_place,
            force=arguments.force,
            progress=progress,
        )
    print("\n".join(summary(report)))
    return 0


def _columns(given: str | None) -> tuple[str, str] | None:
    if given is None:
        return None
    names = [name.strip() for name in given.split(",")]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise SettingsError(f"--columns {given} is not two names with a comma between: give those of file and text, such as image,caption")
    return names[0], names[1]


def summary(report: PrepareReport) -> Iterator[str]:
    """What a user wants to know of a preparation, line by line."""
    from limner.data.refusals import counted

    card = report.card
    splits = ", ".join(f"{count:,} {split}" for split, count in card.splits.items())
    origin = {"given": "as given", "class": "made by class", "picture": "made by picture", "story": "made by story"}[card.made_splits]
    classes = f", {len(card.class_names):,} classes" if card.class_names else ""
    speed = report.pictures / max(report.seconds, 1e-9)
    yield (
        f"{report.folder}: {report.pictures:,} pictures ({splits}; splits {origin}), {card.captions:,} captions, "
        f"{report.words:,} words{classes}, in {report.seconds:.1f} s ({speed:,.0f} pictures/s)"
    )
    if report.recognised:
        yield f"read as: {', '.join(report.recognised)}"
    if card.rejected:
        first = report.rejects[0]
        where = f" ({first.where})" if first.where else ""
        yield f"left out: {counted(report.rejects)}, such as '{first.key}'{where}; each is in {report.folder / 'rejects.jsonl'}"
    if report.wordless:
        caption = report.wordless[0]
        yield (
            f"captions without a word: {len(report.wordless):,} left out, such as of '{caption.key}' ({caption.where}); "
            "their pictures have others, and stay"
        )
    if report.ignored:
        yield f"not read: {counted(report.ignored)}, such as {report.ignored[0].key}; each is in {report.folder / 'rejects.jsonl'}"
    if report.renamed:
        yield f"names: {report.renamed:,} pictures share theirs with others of the sources, and are called SOURCE/NAME.SUFFIX"
    if not card.captions:
        yield "no picture has a caption: the set serves methods that read no text, and scores that need none"
    elif card.uncaptioned or report.held_out_uncaptioned:
        yield f"without captions: {card.uncaptioned:,} kept for training, {report.held_out_uncaptioned:,} of val and test left out"
    if card.upscaled:
        yield f"enlarged: {card.upscaled:,} pictures smaller than {card.stored_resolution} px; a lower --resolution would not blur them"
    if card.label_names is not None:
        things, pictures = report.crowded
        rest = f"; left out: {things:,}, the smallest of {pictures:,} pictures with more than are kept" if things else ""
        kinds = f"things of {len(card.label_names):,} kind{'s' * (len(card.label_names) != 1)}"
        yield f"layouts: {kinds} in {report.laid_out:,} of {report.pictures:,} pictures{rest}"
    if report.equals.example is not None:
        (later, earlier), equals = report.equals.example, report.equals
        if equals.together:
            yield f"duplicates: {equals.joined:,} pictures were put into the split of one equal to them, such as '{later}' of '{earlier}'"
        else:
            yield (
                f"duplicates: {equals.across:,} pictures are equal to one in another split, such as '{later}' to '{earlier}': scores of "
                "val and test may ask for what was trained"
            )
    whole, lacking = report.stories
    if card.frames:
        lost = ""
        if lacking:
            story, frames = lacking[0]
            lost = (
                f"; {len(lacking):,} {'lacks' if len(lacking) == 1 else 'lack'} frames, such as '{story}' its frame {frames[0]}, and their "
                f"others serve as single pictures; each is in {report.folder / 'rejects.jsonl'}"
            )
        yield f"stories: {whole:,} of {card.frames} frames{lost}"
    if card.category_names is not None:
        yield f"categories: {len(card.category_names):,}, of which a picture may show several"
    if report.classes_dropped:
        yield f"classes are not used: {report.classes_dropped:,} pictures have none"
    if report.sided:
        then = "their pictures are never mirrored, the others may be" if card.flip else "so no picture of the set is mirrored"
        yield f"left and right: {report.sided:,} of {card.captions:,} captions speak of them; {then}"
    yield from report.tally.remarks(card.captions)
    if "train" not in card.splits:
        yield "no training pictures: the set serves for scores alone"


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """A bar with the time left, on stderr, gone when done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading captions", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total or None)


def show(argv: Sequence[str]) -> int:
    """`limner data show`: a contact sheet of a set."""
    arguments = parse(ShowArguments, argv, prog="limner data show", description=SHOW)
    from PIL import Image

    from limner.core import random
    from limner.data.catalog import open_data
    from limner.data.prepared import PreparedPictures
    from limner.data.sheet import contact_sheet
    from limner.model.requests import check_count

    check_count("--count", arguments.count)
    check_count("--columns", arguments.columns)
    out = arguments.out or Path(f"{Path(arguments.data).resolve().name}-{arguments.split}.png")
    if out.suffix.lower() not in Image.registered_extensions():
        raise SettingsError(f"--out {out} is not a picture file: give a name that ends in .png")
    check_file(out)
    length = arguments.count if arguments.data in BUILT_IN else None
    pictures = open_data(arguments.data, arguments.split, 128 if length else 8, length=length)
    indices, columns = random.permutation(len(pictures), arguments.seed, "show")[: arguments.count], arguments.columns
    if pictures.stories is not None and len(pictures.stories):
        frames = pictures.stories.shape[1]
        told = random.permutation(len(pictures.stories), arguments.seed, "show")[: max(arguments.count // frames, 1)]
        indices, columns = pictures.stories[told].ravel(), max(columns // frames, 1) * frames
    captions = []
    for index in indices.tolist():
        every = pictures.captions(index)
        captions.append(every[int(random.integers(len(every), arguments.seed, "show caption", index))] if every else "(no caption)")
    drawn: NDArray[np.uint8] | list[Image.Image] = pictures.read(indices)
    notes = None
    if arguments.layout:
        from limner.data.outlines import listed, outlined

        placed = pictures.layouts(indices)
        if placed is None:
            raise SettingsError(
                f"{arguments.data} has no layouts to draw: leave --layout out, or prepare the set from samples with a layout field, or "
                "with --instances FILE.json"
            )
        drawn, notes = outlined(pictures.read(indices), placed), listed(placed, pictures.label_names)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(contact_sheet(drawn, captions, columns, notes=notes), out)
    of_all = f" of {len(pictures):,}" if isinstance(pictures, PreparedPictures) else ""  # the garden has no end
    print(f"{out}: {len(indices)}{of_all} pictures of {pictures.name}, {arguments.split} split")
    return 0
