"""Painted pictures as HTML: galleries, rows and films, each picture a PNG that can be saved."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
"""[H, W, 3]."""


def gallery(pictures: Sequence[Picture], labels: Sequence[str], title: str = "", file: str = "") -> str:
    """Pictures in a grid, with a label under each. file: what their files are called, before the label."""
    figures = "".join(_figure(picture, label, file) for picture, label in zip(pictures, labels, strict=True))
    return f'<section class="shown">{_heading(title)}<div class="gallery">{figures}</div></section>'


def numbered(count: int) -> list[str]:
    """Labels of pictures: 1, 2, ..."""
    return [str(place) for place in range(1, count + 1)]


def rows(titles: Sequence[str], shown: Sequence[Sequence[Picture]], labels: Sequence[Sequence[str]], file: str = "") -> str:
    """A row of pictures under each title. file: what their files are called, before title and label."""
    parts = "".join(gallery(row, own, title, f"{file} {title}") for title, row, own in zip(titles, shown, labels, strict=True))
    return f'<div class="rows">{parts}</div>'


def table(corner: str, across: Sequence[Picture], down: Sequence[Picture], inside: Sequence[Sequence[Picture]]) -> str:
    """Pictures where those of the first row and the first column meet."""
    head = "".join(f"<th>{_image(picture, f'column {number}')}</th>" for number, picture in enumerate(across, 1))
    body = "".join(
        f"<tr><th>{_image(own, f'row {number}')}</th>"
        + "".join(f"<td>{_image(picture, f'row {number}, column {place}')}</td>" for place, picture in enumerate(row, 1))
        + "</tr>"
        for number, (own, row) in enumerate(zip(down, inside, strict=True), 1)
    )
    return f'<div class="crossed"><table><tr><th class="corner">{html.escape(corner)}</th>{head}</tr>{body}</table></div>'


_SHOW = (
    "const film=this.closest('.film');"
    "film.querySelectorAll('figure').forEach((one,number)=>{one.hidden=number!=this.value});"
    "this.setAttribute('aria-valuetext',film.querySelectorAll('figcaption span')[this.value].textContent)"
)
"""What moving the slider of a film does; a script of its own would not run in HTML that is put in later."""


def film(pictures: Sequence[Picture], labels: Sequence[str], title: str = "", at: int = 0) -> str:
    """One picture at a time, with a slider that goes through them."""
    frames = "".join(
        _figure(picture, label, hidden=number != at) for number, (picture, label) in enumerate(zip(pictures, labels, strict=True))
    )
    slider = (
        f'<input type="range" min="0" max="{len(pictures) - 1}" step="1" value="{at}" aria-label="{html.escape(title or "picture")}" '
        f'aria-valuetext="{html.escape(labels[at])}" oninput="{_SHOW}">'
    )
    return f'<section class="shown film">{_heading(title)}{frames}{slider}</section>'


def walk(pictures: Sequence[Picture]) -> str:
    """Pictures on the way from the first to the last: a film, and all of them."""
    labels = [f"{place / (len(pictures) - 1):.0%} of the way" for place in range(len(pictures))]
    return film(pictures, labels, "On the way", at=len(pictures) // 2) + gallery(pictures, labels)


def said(text: str, kind: str = "note") -> str:
    """A line about what was done, or why it was not. kind: "note", "remark" or "error"."""
    return f'<p class="said {kind}" role="status">{html.escape(" ".join(text.split()))}</p>' if text else ""


def _heading(title: str) -> str:
    return f"<h3>{html.escape(title)}</h3>" if title else ""


def _figure(picture: Picture, label: str, file: str = "", hidden: bool = False) -> str:
    address, words = address_of(picture), html.escape(label)
    file = re.sub(r"\W+", "-", f"{file[:60]} {label}".lower()).strip("-")[:80].strip("-") or "picture"
    return (
        f'<figure{" hidden" if hidden else ""}><img src="{address}" alt="{words}">'
        f'<figcaption><span>{words}</span><a href="{address}" download="{file}.png" title="Save as PNG">save</a></figcaption></figure>'
    )


def _image(picture: Picture, description: str) -> str:
    return f'<img src="{address_of(picture)}" alt="{html.escape(description)}">'


def saved(content: bytes, kind: str, file: str, words: str) -> str:
    """A link that saves a file of this media type."""
    return f'<a href="{_address(content, kind)}" download="{html.escape(file)}">{html.escape(words)}</a>'


def address_of(picture: Picture) -> str:
    """A picture as the address of a PNG that holds all of it."""
    return _address(png_of(picture), "image/png")


def png_of(picture: Picture) -> bytes:
    """A picture as the content of a .png file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def _address(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
