"""Pictures with their captions on one white page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture: TypeAlias = "NDArray[np.uint8] | Image.Image"

INK, PAPER = "#2b2b30", "#ffffff"
_MARGIN = 28
_GAP = 18
_FONT_SIZE = 15
_LINE = 20
_WIDE_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf", "Arial.ttf")


def contact_sheet(
    pictures: NDArray[np.uint8] | Sequence[Picture], captions: Sequence[str], columns: int = 6, *, tile: int = 176, most_lines: int = 5
) -> Image.Image:
    """Pictures in rows, each with its caption under it: [n, H, W, 3] uint8 and n captions -> an RGB page.

    tile: width of a picture on the page; smaller pictures are enlarged, larger ones reduced.
    most_lines: longer captions end in an ellipsis.
    """
    if len(pictures) != len(captions) or not captions:
        raise ValueError(f"{len(pictures)} pictures and {len(captions)} captions: there must be one caption each, and at least one")
    columns = max(1, min(columns, len(captions)))
    texts = [wrap(caption, tile, most_lines) for caption in captions]
    starts = range(0, len(captions), columns)
    heights = [tile + 8 + _LINE * max(map(len, texts[start : start + columns])) for start in starts]
    page = Image.new("RGB", (2 * _MARGIN + columns * (tile + _GAP) - _GAP, 2 * _MARGIN + sum(heights) + _GAP * (len(heights) - 1)), PAPER)
    top = _MARGIN
    for start, height in zip(starts, heights):
        for place in range(start, min(start + columns, len(captions))):
            left = _MARGIN + (place - start) * (tile + _GAP)
            page.paste(_fitted(pictures[place], tile), (left, top))
            _write(page, texts[place], left, top + tile + 6)
        top += height + _GAP
    return page


def caption_grid(rows: Sequence[Sequence[Picture]], captions: Sequence[str], *, tile: int = 128, gap: int = 4) -> Image.Image:
    """One row of pictures for each caption, which stands above its row: what a model paints of each.

    rows: for each caption its pictures, PIL images or [H, W, 3] uint8 arrays; rows may differ in length.
    """
    if len(rows) != len(captions) or not any(rows):
        raise ValueError(f"{len(rows)} rows and {len(captions)} captions: there must be one caption a row, and at least one picture")
    if max(map(len, rows)) > 12:
        tile = max(48, tile * 12 // max(map(len, rows)))
    wide = max(max(map(len, rows)) * (tile + gap) - gap, 260)
    texts = [wrap(caption, wide, 3) for caption in captions]
    heights = [_LINE * len(text) + 4 + tile for text in texts]
    page = Image.new("RGB", (2 * _MARGIN + wide, 2 * _MARGIN + sum(heights) + _GAP * (len(heights) - 1)), PAPER)
    top = _MARGIN
    for row, text, height in zip(rows, texts, heights):
        _write(page, text, _MARGIN, top - 2)
        for place, picture in enumerate(row):
            page.paste(_fitted(picture, tile), (_MARGIN + place * (tile + gap), top + height - tile))
        top += height + _GAP
    return page


def wrap(text: str, width: int, most_lines: int) -> list[str]:
    """The text in lines of at most `width` pixels, cut where a word ends if it can be."""
    font = _font(_needs_wide_font(text))
    lines: list[str] = []
    current = ""
    # More words than fit need no measuring: a letter is at least two pixels wide.
    for word in text[: width * most_lines // 2 + 1].split():
        joined = f"{current} {word}".strip()
        if font.getlength(joined) <= width:
            current = joined
            continue
        if current:
            lines.append(current)
        while font.getlength(word) > width:
            cut = max(1, next(end for end in range(len(word), 0, -1) if end == 1 or font.getlength(word[:end]) <= width))
            lines.append(word[:cut])
            word = word[cut:]
        current = word
    lines.append(current)
    if len(lines) <= most_lines:
        return lines
    last = lines[most_lines - 1]
    while last and font.getlength(last + "…") > width:
        last = last[:-1]
    return [*lines[: most_lines - 1], last.rstrip(" ,.;:") + "…"]


def _fitted(picture: Picture, tile: int) -> Image.Image:
    """The picture in a square of `tile` pixels: icons keep their pixels crisp, larger pictures are smoothed."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    image = image.convert("RGB")
    if image.size == (tile, tile):
        return image
    scale = tile / max(image.size)
    crisp = max(image.size) <= 32
    image = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
        Image.Resampling.NEAREST if crisp else Image.Resampling.LANCZOS,
    )
    square = Image.new("RGB", (tile, tile), PAPER)
    square.paste(image, ((tile - image.width) // 2, (tile - image.height) // 2))
    return square


def _write(page: Image.Image, lines: Sequence[str], left: int, top: int) -> None:
    draw = ImageDraw.Draw(page)
    font = _font(any(map(_needs_wide_font, lines)))
    for number, line in enumerate(lines):
        draw.text((left, top + number * _LINE), line, fill=INK, font=font)


def _needs_wide_font(text: str) -> bool:
    return any(character > "\u00ff" and character not in "…’‘“”–—" for character in text)


@lru_cache
def _font(wide: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, the same everywhere; for letters beyond Western Europe's a font of the system, where there is one."""
    for name in _WIDE_FONTS if wide else ():
        try:
            return ImageFont.truetype(name, _FONT_SIZE)
        except OSError:
            continue
    return ImageFont.load_default(_FONT_SIZE)
