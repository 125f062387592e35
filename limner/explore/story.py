"""Stories: a strip of pictures for sentences, the same story with names exchanged, and both as an animation (StoryGAN: Li et al., 2019)."""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.core.errors import DataError, SettingsError
from limner.core.files import write_whole
from limner.data.sheet import PAPER, column_grid
from limner.model.requests import check_count, seeds_of
from limner.model.stories import check_asked_story, told

if TYPE_CHECKING:
    from limner.model import Model

FORMATS = (".png", ".gif", ".html")
LONGEST = 100
"""Sentences of a story that are told at most."""


def check_format(path: Path) -> None:
    """Raise SettingsError unless a story can be written to a file of this name."""
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(
            f"--out {path}: a story is written as a strip, an animation or a page: give a name that ends in {_either(FORMATS)}"
        )


def read_story(path: Path) -> list[str]:
    """The sentences of a text file, one a line; empty lines at its ends do not count. Raises DataError for a file that cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8-sig").strip().split("\n")  # splitlines would part a line at rarer marks, too
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file in UTF-8: save it as one, with a sentence on each line") from error
    if not lines:
        raise DataError(f"{path} is empty: write a sentence on each line")
    if (gap := next((number for number, line in enumerate(lines, start=1) if not line.strip()), None)) is not None:
        raise DataError(f"{path}: line {gap} is empty: say what its picture shows, or remove it")
    return [line.strip() for line in lines]


def swaps_of(model: Model, sentences: Sequence[str], given: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that are written as "Rosa=Iris".

    Raises SettingsError for what is not written so, a first name that the story does not have, a second one that the model does not know,
    and a name that is exchanged twice.
    """
    found: list[tuple[str, str]] = []
    for text in given:
        names = [name.strip() for name in text.split("=")]
        if len(names) != 2 or not all(names):
            raise SettingsError(f"--swap '{text}' does not exchange names: write it as \"Rosa=Iris\"")
        before, after = names
        if before.lower() == after.lower():
            raise SettingsError(f"--swap '{text}' exchanges a name with itself: give two names")
        if not any(_whole(before).search(sentence) for sentence in sentences):
            words = sorted({word for sentence in sentences for word in re.findall(r"\w+", sentence)})
            near = difflib.get_close_matches(before.lower(), [word.lower() for word in words], n=1, cutoff=0.6)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise SettingsError(f"--swap '{text}': the story has no '{before}'{hint}: give a name that its sentences hold")
        if model.encoder.unknown_words(after):
            raise SettingsError(f"--swap '{text}': the model never met {model.strange_words(after)}: give a name of its training captions")
        taken = {name.lower() for pair in found for name in pair}
        if twice := next((name for name in names if name.lower() in taken), None):
            raise SettingsError(f"--swap '{text}': '{twice}' is exchanged already: give each name once")
        found.append((before, after))
    return found


def swapped(sentences: Sequence[str], swaps: Sequence[tuple[str, str]]) -> list[str]:
    """The story with names exchanged, each for the other one wherever it stands as a whole word."""
    other = {name.lower(): after for pair in swaps for name, after in (pair, pair[::-1])}
    names = re.compile("|".join(_whole(name).pattern for name in sorted(other, key=len, reverse=True)), re.IGNORECASE)
    return [names.sub(lambda found: other[found[0].lower()], sentence) for sentence in sentences]


def _whole(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)


def tell(
    model: Model, sentences: Sequence[str], swaps: Sequence[tuple[str, str]] = (), *, count: int = 1, seed: int = 0
) -> list[tuple[list[str], NDArray[np.uint8]]]:
    """The story, and the story with names exchanged where any are: each its sentences and `count` tellings [N, F, H, W, 3], whose noises
    are the same for both.

    Raises SettingsError for a story that the model cannot tell, and fewer than 1 telling.
    """
    check_count("--count", count)
    (seed,) = seeds_of(seed)
    if len(sentences) > LONGEST:
        raise SettingsError(f"the story has {len(sentences):,} sentences: give at most {LONGEST}")
    stories = [list(sentences), *([swapped(sentences, swaps)] if swaps else [])]
    for story in stories:
        check_asked_story(model, story)
    return [(story, told(model, [story] * count, np.arange(count), seed).permute(0, 1, 3, 4, 2).cpu().numpy()) for story in stories]


def strip(tellings: Sequence[tuple[Sequence[str], NDArray[np.uint8]]]) -> Image.Image:
    """A page: for each story its sentences, each above its picture, and a row for each telling."""
    return stacked([column_grid([list(row) for row in pictures], list(sentences)) for sentences, pictures in tellings])


def animation(tellings: Sequence[tuple[Sequence[str], NDArray[np.uint8]]]) -> list[Image.Image]:
    """A page for each frame: what `strip` shows in its column."""
    columns = [
        stacked([column_grid([[row[frame]] for row in pictures], [sentences[frame]], tile=192) for sentences, pictures in tellings])
        for frame in range(len(tellings[0][0]))
    ]
    size = max(page.width for page in columns), max(page.height for page in columns)
    return [_on_paper(page, size) for page in columns]


def stacked(pages: Sequence[Image.Image]) -> Image.Image:
    """Pages one under the other."""
    whole = Image.new("RGB", (max(page.width for page in pages), sum(page.height for page in pages)), PAPER)
    top = 0
    for page in pages:
        whole.paste(page, (0, top))
        top += page.height
    return whole


def _on_paper(page: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A page that ends below and to the right in empty paper, so that all of an animation have one size."""
    whole = Image.new("RGB", size, PAPER)
    whole.paste(page, (0, size[1] - page.height))  # pictures stay in place while sentences above them have more or fewer lines
    return whole


def animated(pages: Sequence[Image.Image], frame_milliseconds: int = 1400) -> bytes:
    """Pages as an animation that begins anew at its end: the content of a .gif file."""
    stream = io.BytesIO()
    pages[0].save(stream, "GIF", save_all=True, append_images=list(pages[1:]), duration=frame_milliseconds, loop=0)
    return stream.getvalue()


def save_animation(pages: Sequence[Image.Image], path: Path, frame_milliseconds: int = 1400) -> None:
    """Write pages as an animation that begins anew at its end (.gif)."""
    write_whole(path, animated(pages, frame_milliseconds))


def _either(endings: Sequence[str]) -> str:
    return f"{', '.join(endings[:-1])} or {endings[-1]}"
