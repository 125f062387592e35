"""One picture at every scale at which a method paints it, and one picture at every sample grid of a run.

The first is MSG-GAN's figure of synchronised scales (Karnewar and Wang, CVPR 2020); every method that paints in stages has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from limner.core.errors import DataError, SettingsError
from limner.core.files import save_whole
from limner.data.pngwords import captions_in
from limner.data.sheet import caption_grid, contact_sheet, cut_grid
from limner.explore.lacking import lacking
from limner.model.requests import check_asked, check_count, shortened
from limner.training.grids import grid_moment, grids_of
from limner.training.samples import PICTURES

if TYPE_CHECKING:
    from limner.model import Model

COLUMNS = 10
"""Pictures in a row of a strip over training."""
COLOURS = 96
"""Colours of each picture of an animation."""
FRAME, LAST_FRAME = 300, 2000
"""Milliseconds for which an animation shows a picture, and its last one."""


def stages(model: Model, captions: Sequence[str], *, count: int = 1, seed: int = 0) -> list[list[Image.Image]]:
    """For each caption `count` courses of pictures, from the roughest to the final one: [captions x count] lists of as many pictures.

    Courses of one caption follow each other; their final pictures are those of `model.generate`. Raises SettingsError for captions that the
    model cannot read, a count below 1, and a model that paints in one stage.
    """
    check_count("-n", count)
    check_asked(model.encoder, captions)
    repeated = [caption for caption in captions for _ in range(count)]
    painted = model.stages(repeated, np.tile(np.arange(count), len(captions)), seed)
    if len(painted) == 1:
        raise lacking(model, f"{model.method.title} paints in one stage: there is nothing on the way to its pictures")
    return [[Image.fromarray(picture) for picture in course] for course in zip(*painted, strict=True)]


def stages_page(courses: Sequence[Sequence[Image.Image]], captions: Sequence[str]) -> Image.Image:
    """A row for each course of pictures, which are brought to one size, with their sides under them. captions: one for each course."""
    labels = [[f"{picture.width} px" for picture in course] for course in courses]
    return caption_grid(courses, captions, labels=labels)


@dataclass(frozen=True)
class Course:
    """One caption's picture in each sample grid of a run."""

    caption: str
    """Empty where the run reads no text."""
    moments: list[str]
    """When each was painted."""
    pictures: list[Image.Image]
    """As the grids show them: 128 x 128 pixels, whatever the model's side."""


def over_training(run: Path, caption: str | None = None, *, number: int = 0) -> Course:
    """One picture of the sample grids, cut out of each: the same caption and noise after more and more steps.

    caption: one of the grids', by default the first. number: which of its pictures, from 0. Raises SettingsError for another caption or
    number, DataError for a folder without grids.
    """
    grids = [(path, captions) for path in grids_of(run) if (captions := _captions(path))]
    if not grids:
        raise DataError(f"{run} has no sample grids (samples/*.png): give the folder of a run that has trained for a while")
    known = grids[-1][1]
    caption = known[0] if caption is None else caption
    if caption not in known:
        listed = ", ".join(f"'{shortened(other)}'" for other in dict.fromkeys(known))
        raise SettingsError(f"'{shortened(caption)}' is not in the sample grids of {run}, which show {listed}: choose one of these")
    if not 0 <= number < PICTURES:
        raise SettingsError(f"--number is {number + 1}, but each caption of the sample grids has {PICTURES} pictures: give 1 to {PICTURES}")
    moments, pictures = [], []
    for path, captions in grids:
        if caption not in captions:
            continue
        with Image.open(path) as page:
            rows = cut_grid(page.convert("RGB"), captions, PICTURES)
        if rows is None:
            continue
        moments.append(grid_moment(path))
        pictures.append(rows[captions.index(caption)][number])
    if not pictures:
        raise DataError(f"the sample grids of {run} are laid out in another way than this Limner's: use the one that wrote them")
    return Course(caption, moments, pictures)


def _captions(path: Path) -> list[str]:
    """The captions of a sample grid; none for another picture, such as the preview of a phase that does not paint, or a damaged one."""
    try:
        return captions_in(path)
    except OSError:
        return []


def save_course(course: Course, path: Path) -> None:
    """Write a course as a strip with the moments under the pictures (.png), or as an animation that rests on the last one (.gif)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".gif":
        _animate(course.pictures, path)
        return
    heading = [course.caption] if course.caption else []
    save_whole(contact_sheet(course.pictures, course.moments, COLUMNS, tile=128, heading=heading), path)


def save_courses(courses: Sequence[Sequence[Course]], path: Path) -> None:
    """Write courses of several captions, or several of each, as an animation of the grid that they make (.gif): a row for each caption."""
    path.parent.mkdir(parents=True, exist_ok=True)
    captions, moments = [row[0].caption for row in courses], courses[0][0].moments
    frames = [
        caption_grid([[course.pictures[place] for course in row] for row in courses], captions, tile=96, heading=[moment])
        for place, moment in enumerate(moments)
    ]
    _animate(frames, path)


def _animate(frames: Sequence[Image.Image], path: Path) -> None:
    durations = [FRAME] * (len(frames) - 1) + [LAST_FRAME]
    first, *others = [frame.quantize(COLOURS, dither=Image.Dither.NONE) for frame in frames]
    save_whole(first, path, save_all=True, append_images=others, duration=durations, loop=0, optimize=True)
