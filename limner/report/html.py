"""The pieces of which Limner's pages are made: one style, no network, readable by eye, ear and keyboard."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from importlib import resources

from PIL import Image

from limner import __version__

LOSSLESS = 128
"""Pictures up to this many pixels wide are kept as they are; wider ones are stored with small losses."""


def document(title: str, sections: Sequence[str]) -> str:
    """A whole page that needs nothing but itself; sections are HTML."""
    style = resources.files("limner.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)} - Limner</title><style>\n{style}</style></head><body>"
        f'<a class="skip" href="#content">Skip to the content</a><main id="content">\n{"".join(sections)}'
        f'<footer class="faint">Written by Limner {__version__}.</footer></main></body></html>\n'
    )


def header(title: str, sentence: str, facts: Mapping[str, str]) -> str:
    """A page's head: its title, a sentence, and figures by name."""
    shown = "".join(f"<div><b>{text(value)}</b><span>{text(name)}</span></div>" for name, value in facts.items())
    return f'<header><div class="mark">Limner</div><h1>{text(title)}</h1><p>{text(sentence)}</p><div class="facts">{shown}</div></header>\n'


def scrolling(label: str, inner: str, kind: str = "card") -> str:
    """A box whose content may be wider than the page: it scrolls by itself, by keyboard too."""
    return f'<div class="{kind} scroll" role="region" aria-label="{text(label)}" tabindex="0">{inner}</div>'


def caption(words: str) -> str:
    """A table's caption, which stays in sight where the table is wider than its box."""
    return f"<caption><span>{text(words)}</span></caption>"


def commands(steps: Sequence[tuple[str, str]]) -> str:
    """Commands to copy, each under what it is for."""
    return "".join(f'<p>{text(why)}</p><pre tabindex="0">{text(command)}</pre>' for why, command in steps)


def image(picture: Image.Image, alt: str) -> str:
    """A picture inside the page."""
    stream = io.BytesIO()
    if picture.width <= LOSSLESS:
        picture.save(stream, "PNG", optimize=True)
        return embedded(stream.getvalue(), "png", alt, picture.size)
    picture.convert("RGB").save(stream, "JPEG", quality=88)
    return embedded(stream.getvalue(), "jpeg", alt, picture.size)


def embedded(data: bytes, kind: str, alt: str, size: tuple[int, int]) -> str:
    """A picture file inside the page; `size` lets a browser keep its place."""
    width, height = size
    return f'<img alt="{text(alt)}" width="{width}" height="{height}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def text(value: str) -> str:
    """Text that may stand in a page, or within the quotes of an attribute."""
    return html.escape(value, quote=True)
