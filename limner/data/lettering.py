"""Which font draws which character: Pillow's own, the one that comes with Limner, or one of this machine."""

from __future__ import annotations

import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

from PIL import ImageDraw, ImageFont

from limner.core.errors import LimnerWarning

SIZE = 15
"""Size of all letters, in pixels."""
_BASELINE = 15
"""From the top of a line down to the foot of its letters."""
_UNASSIGNED = "\U0010fffe"  # never a character, so that every font draws its sign for a missing one
_UNSEEN = {"Cc", "Cf"}
_LIKELY = (
    "NotoSans",
    "Noto",
    "DejaVuSans",
    "Arial",
    "PingFang",
    "Hiragino",
    "msyh",
    "YuGoth",
    "malgun",
    "Nirmala",
    "Leelaw",
    "wqy",
    "Droid",
)
"""How the names of fonts of many letters begin, likeliest first."""
_told: set[str] = set()

Font = ImageFont.FreeTypeFont


class Lettering:
    """The fonts for one text: one for all of it as far as it goes, and others for the characters that this one lacks."""

    def __init__(self, text: str) -> None:
        own = (_default(), _shipped())
        characters = set(visible(text))
        missing = [[character for character in characters if not draws(font, character)] for font in own]
        first = 0 if len(missing[0]) <= len(missing[1]) else 1
        self.font, other = own[first], own[1 - first]
        self.others: dict[str, Font] = {}
        for character in sorted(missing[first]):
            found = other if draws(other, character) else _of_system(character)
            if found is not None:
                self.others[character] = found

    def length(self, text: str) -> float:
        """Width of a line in pixels."""
        return sum(font.getlength(part) for font, part in self._runs(text))

    def write(self, draw: ImageDraw.ImageDraw, left: float, top: float, line: str, ink: str) -> None:
        """Draw a line whose upper left corner is there."""
        for font, part in self._runs(line):
            draw.text((left, top + _BASELINE), part, fill=ink, font=font, anchor="ls")
            left += font.getlength(part)

    def _runs(self, text: str) -> Iterator[tuple[Font, str]]:
        """The text in parts that one font draws."""
        part, font = "", self.font
        for character in visible(text):
            wanted = self.others.get(character, self.font)
            if wanted is not font and part:
                yield font, part
                part = ""
            part, font = part + character, wanted
        if part:
            yield font, part


def visible(text: str) -> str:
    """The text with composed accents, and without what is not meant to be seen: controls, joiners and variation selectors."""
    if text.isascii():
        return text
    composed = unicodedata.normalize("NFC", text)
    return "".join(
        character for character in composed if unicodedata.category(character) not in _UNSEEN and not "\ufe00" <= character <= "\ufe0f"
    )


@lru_cache(maxsize=1 << 12)
def draws(font: Font, character: str) -> bool:
    """Whether the font has a glyph for the character, and not only its sign for a missing one."""
    return character.isspace() or _drawn(font, character) != _drawn(font, _UNASSIGNED)


def _drawn(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


@lru_cache
def _default() -> Font:
    """Pillow's own font, the same everywhere: letters, digits and signs of English."""
    font = ImageFont.load_default(SIZE)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@lru_cache
def _shipped() -> Font:
    """DejaVu Sans, as far as it comes with Limner: Latin with all accents, Greek, Cyrillic, punctuation, arrows and some signs."""
    with resources.as_file(resources.files("limner") / "data/fonts/DejaVuSans-subset.ttf") as path:
        return ImageFont.truetype(path, SIZE)


def _of_system(character: str) -> Font | None:
    """A font of this machine that draws the character; says so once for each script that none does."""
    script = _script(character)
    font = next((font for font in _found(script) if draws(font, character)), None) or _search(character)
    if font is not None:
        _found(script).append(font)
    elif script not in _told:
        _told.add(script)
        warnings.warn(
            f"no font on this machine draws {script} characters such as '{character}': pictures show boxes in their place; "
            "install one, for example of the Noto fonts",
            LimnerWarning,
            stacklevel=2,
        )
    return font


@lru_cache
def _found(script: str) -> list[Font]:
    """The fonts that drew characters of this script before."""
    return []


@lru_cache(maxsize=1 << 10)
def _search(character: str) -> Font | None:
    for path in _system_fonts():
        try:
            font = ImageFont.truetype(path, SIZE)
            if draws(font, character):
                return font
        except OSError:  # no font, or one of pictures in a single size
            continue
    return None


@lru_cache
def _system_fonts() -> Sequence[str]:
    """Paths of this machine's fonts: upright and regular ones of many letters first."""
    home = Path.home() if os.environ.get("HOME") or os.name == "nt" else None
    folders = [Path(folder) / "fonts" for folder in os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(os.pathsep)]
    if sys.platform == "win32":
        folders = [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    elif sys.platform == "darwin":
        folders += [Path("/System/Library/Fonts"), Path("/Library/Fonts")]
    if home is not None:
        folders += [home / ".local/share/fonts", home / ".fonts", home / "Library/Fonts"]
    paths = {path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in (".ttf", ".otf", ".ttc")}
    return [str(path) for path in sorted(paths, key=_rank)]


def _rank(path: Path) -> tuple[int, bool, str]:
    likely = next((place for place, name in enumerate(_LIKELY) if path.name.startswith(name)), len(_LIKELY))
    return likely, any(word in path.name for word in ("Bold", "Italic", "Oblique", "Light", "Thin", "Black", "Mono")), str(path)


def _script(character: str) -> str:
    """The name of a character's script, as a user would look for a font of it."""
    if unicodedata.category(character).startswith("S"):
        return "emoji and symbol"
    if unicodedata.east_asian_width(character) in ("W", "F"):
        return "Chinese, Japanese or Korean"
    return unicodedata.name(character, "unnamed").split()[0].capitalize()
