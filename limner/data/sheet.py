"""Pictures with their captions on one white page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from limner.data.lettering import Lettering, visible

Picture: TypeAlias = "NDArray[np.uint8] | Image.Image"

INK, FAINT, PAPER = "#2b2b30", "#74747e", "#ffffff"
_MARGIN = 28
_GAP = 18
_LINE = 20
_LABELLED = 112  # the narrowest picture that a label of a number and a word fits under
_LABEL_LINES = 2


def contact_sheet(
    pictures: NDArray[np.uint8] | Sequence[Picture],
    captions: Sequence[str],
    columns: int = 6,
    *,
    tile: int = 176,
    most_lines: int = 5,
    notes: Sequence[Sequence[str]] | None = None,
    heading: Sequence[str] = (),
) -> Image.Image:
    """Pictures in rows, each with its caption under it: [n, H, W, 3] uint8 and n captions -> an RGB page.

    tile: width of a picture on the page; smaller pictures are enlarged, larger ones reduced.
    most_lines: longer captions end in an ellipsis.
    notes: for each picture short remarks, each on a line of its own under the caption, in a fainter ink.
    heading: what stands above all, a paragraph each.
    """
    if len(pictures) != len(captions) or not captions:
        raise ValueError(f"{len(pictures)} pictures and {len(captions)} captions: there must be one caption each, and at least one")
    if notes is not None and len(notes) != len(captions):
        raise ValueError(f"{len(notes)} notes and {len(captions)} captions: there must be one list of notes a picture")
    columns = max(1, min(columns, len(captions)))
    letters = _lettering(captions, heading, *(notes or ()))
    texts = [wrap(caption, tile, most_lines, letters) for caption in captions]
    remarks = [[line for note in group for line in wrap(note, tile, 2, letters)] for group in (notes or [()] * len(captions))]
    starts = range(0, len(captions), columns)
    lines = [len(text) + len(remark) for text, remark in zip(texts, remarks)]
    heights = [tile + 8 + _LINE * max(lines[start : start + columns]) for start in starts]
    wide = columns * (tile + _GAP) - _GAP
    page, top = _page(max(wide, 400) if heading else wide, sum(heights) + _GAP * (len(heights) - 1), heading, letters)
    for start, height in zip(starts, heights):
        for place in range(start, min(start + columns, len(captions))):
            left = _MARGIN + (place - start) * (tile + _GAP)
            page.paste(_fitted(pictures[place], tile), (left, top))
            _write(page, texts[place], left, top + tile + 6, letters)
            _write(page, remarks[place], left, top + tile + 6 + _LINE * len(texts[place]), letters, FAINT)
        top += height + _GAP
    return page


def caption_grid(
    rows: Sequence[Sequence[Picture]],
    captions: Sequence[str | None],
    *,
    tile: int = 128,
    gap: int = 4,
    notes: Sequence[str] | None = None,
    labels: Sequence[Sequence[str]] | None = None,
    heading: Sequence[str] = (),
    apart: int = 0,
) -> Image.Image:
    """One row of pictures for each caption, which stands above its row: what a model paints of each. A row without one (None) stands close
    below the row before it.

    rows: for each caption its pictures, PIL images or [H, W, 3] uint8 arrays; rows may differ in length.
    notes: a remark for each row, under its caption in a fainter ink. labels: a few words under every picture, row by row, in two lines at
    most.
    heading: what stands above all, a paragraph each. apart: this many pictures of each row stand a little apart from the rest.
    """
    if len(rows) != len(captions) or not any(rows):
        raise ValueError(f"{len(rows)} rows and {len(captions)} captions: there must be one caption a row, and at least one picture")
    if (notes is not None and len(notes) != len(rows)) or (labels is not None and list(map(len, labels)) != list(map(len, rows))):
        raise ValueError("there must be one note a row, and one label a picture")
    if max(map(len, rows)) > 12:
        tile = max(_LABELLED if labels is not None else 48, tile * 12 // max(map(len, rows)))
    extra = _GAP if apart else 0
    wide = max(max(map(len, rows)) * (tile + gap) - gap + extra, 260)
    letters = _lettering([caption for caption in captions if caption is not None], heading, notes or (), *(labels or ()))
    texts = [[] if caption is None else wrap(caption, wide, 3, letters) for caption in captions]
    remarks = [wrap(note, wide, 2, letters) for note in notes] if notes is not None else [[] for _ in rows]
    told = [[wrap(label, tile, _LABEL_LINES, letters) for label in row] for row in labels or ()]
    below = _LINE * max((len(lines) for row in told for lines in row), default=0) + 2 if labels is not None else 0
    heights = [_LINE * (len(text) + len(remark)) + (4 if text or remark else 0) + tile + below for text, remark in zip(texts, remarks)]
    gaps = [*(gap if caption is None else _GAP for caption in captions[1:]), 0]
    page, top = _page(wide, sum(heights) + sum(gaps), heading, letters)
    for number, (row, text, remark, height) in enumerate(zip(rows, texts, remarks, heights)):
        _write(page, text, _MARGIN, top - 2, letters)
        _write(page, remark, _MARGIN, top - 2 + _LINE * len(text), letters, FAINT)
        for place, picture in enumerate(row):
            left, upper = _MARGIN + place * (tile + gap) + (extra if place >= apart else 0), top + height - tile - below
            page.paste(_fitted(picture, tile), (left, upper))
            if labels is not None:
                _write(page, told[number][place], left, upper + tile + 2, letters, FAINT)
        top += height + gaps[number]
    return page


def cut_grid(page: Image.Image, captions: Sequence[str], columns: int, *, tile: int = 128, gap: int = 4) -> list[list[Image.Image]] | None:
    """The pictures of a page that `caption_grid` made of rows of `columns` pictures and nothing but captions: a list for each row.

    None for a page of another size, which was laid out in another way.
    """
    letters = _lettering(captions, ())
    wide = max(columns * (tile + gap) - gap, 260)
    heights = [_LINE * len(wrap(caption, wide, 3, letters)) + 4 + tile for caption in captions]
    if page.size != (2 * _MARGIN + wide, 2 * _MARGIN + sum(heights) + _GAP * (len(heights) - 1)):
        return None
    rows, top = [], _MARGIN
    for height in heights:
        corners = [(_MARGIN + place * (tile + gap), top + height - tile) for place in range(columns)]
        rows.append([page.crop((left, upper, left + tile, upper + tile)) for left, upper in corners])
        top += height + _GAP
    return rows


def column_grid(
    rows: Sequence[Sequence[Picture]],
    captions: Sequence[str],
    *,
    sides: Sequence[str] | None = None,
    tile: int = 144,
    gap: int = 6,
    most_lines: int = 9,
    apart: int = 0,
) -> Image.Image:
    """A table of pictures with a caption above each column: rows of as many pictures as there are captions.

    sides: a text to the left of each row. most_lines: longer captions end in an ellipsis. apart: this many columns stand a little apart
    from the rest.
    """
    if not rows or any(len(row) != len(captions) for row in rows):
        raise ValueError(f"rows of {[len(row) for row in rows]} pictures and {len(captions)} captions: there must be one caption a column")
    if sides is not None and len(sides) != len(rows):
        raise ValueError(f"{len(sides)} sides and {len(rows)} rows: there must be one side a row")
    if len(captions) > 12:
        tile = max(_LABELLED, tile * 12 // len(captions))
    letters = _lettering(captions, sides or ())
    texts = [wrap(caption, tile, most_lines, letters) for caption in captions]
    above = _LINE * max(map(len, texts)) + 4
    extra = _GAP if apart else 0
    labelled = 2 * _LABELLED + _GAP if sides is not None else 0
    page, top = _page(labelled + len(captions) * (tile + gap) - gap + extra, above + len(rows) * (tile + gap) - gap, (), letters)
    for place, text in enumerate(texts):
        left = _MARGIN + labelled + place * (tile + gap) + (extra if place >= apart else 0)
        _write(page, text, left, top + above - 4 - _LINE * len(text) - 2, letters)
        for number, row in enumerate(rows):
            page.paste(_fitted(row[place], tile), (left, top + above + number * (tile + gap)))
    for number, side in enumerate(sides or ()):
        _write(page, wrap(side, 2 * _LABELLED, tile // _LINE, letters), _MARGIN, top + above + number * (tile + gap), letters)
    return page


def _page(wide: int, high: int, heading: Sequence[str], letters: Lettering) -> tuple[Image.Image, int]:
    """An empty page for content of this size in pixels, with its heading, and where the content begins from the top."""
    lines = [line for paragraph in heading for line in wrap(paragraph, wide, 4, letters)]
    above = _LINE * len(lines) + _GAP if lines else 0
    page = Image.new("RGB", (2 * _MARGIN + wide, 2 * _MARGIN + above + high), PAPER)
    _write(page, lines, _MARGIN, _MARGIN - 2, letters)
    return page, _MARGIN + above


def wrap(text: str, width: int, most_lines: int, letters: Lettering | None = None) -> list[str]:
    """The text in lines of at most `width` pixels, cut where a word ends if it can be. letters: by default those of this text."""
    text = visible(text)
    letters = letters or Lettering(text)
    lines: list[str] = []
    current = ""
    # More words than fit need no measuring: a letter is at least two pixels wide.
    for word in text[: width * most_lines // 2 + 1].split():
        joined = f"{current} {word}".strip()
        if letters.length(joined) <= width:
            current = joined
            continue
        if current:
            lines.append(current)
        while letters.length(word) > width:
            cut = max(1, next(end for end in range(len(word), 0, -1) if end == 1 or letters.length(word[:end]) <= width))
            lines.append(word[:cut])
            word = word[cut:]
        current = word
    lines.append(current)
    if len(lines) <= most_lines:
        return lines
    last = lines[most_lines - 1]
    while last and letters.length(last + "…") > width:
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


def _write(page: Image.Image, lines: Sequence[str], left: int, top: int, letters: Lettering, ink: str = INK) -> None:
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        letters.write(draw, left, top + number * _LINE, line, ink)


def _lettering(*texts: Sequence[str]) -> Lettering:
    """The fonts for all that stands on a page, which then looks as one."""
    return Lettering("\n".join(text for group in texts for text in group) + "…")
