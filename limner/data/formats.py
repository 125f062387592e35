"""Which files hold pictures, captions, tables and packed archives, as their suffixes say, and which of them can be read."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

from PIL import Image

from limner.data.sources import SPLIT_NAMES

Image.init()  # before threads start; else Pillow loads the readers of WebP and MPO only after others have failed

_NO_DECODER = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"}
"""Formats that Pillow has a name for, but no reader of its own."""
_USUAL = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF")  # tried first, for a file's content decides and not its name
PICTURE_FORMATS = tuple(dict.fromkeys(name for name in (*_USUAL, *sorted(Image.OPEN)) if name in Image.OPEN and name not in _NO_DECODER))
PICTURE_SUFFIXES = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in PICTURE_FORMATS)
"""Suffixes of pictures that are read: what the Pillow at hand reads."""
OTHER_PICTURES = frozenset(
    ".ai .arw .avif .avifs .bpg .cr2 .cr3 .dng .emf .eps .exr .hdr .heic .heif .hif .jp2 .jxl .jxr .nef .orf .pef .psb .raf .raw .rw2 "
    ".srw .svg .svgz .webp .wmf .xcf".split()
).difference(PICTURE_SUFFIXES)
"""Suffixes of pictures that are not read."""
CAPTION_SUFFIXES = (".txt", ".caption", ".captions", ".text")
"""Suffixes of a picture's own captions, one a line; where a picture has several such files, the first of these counts."""
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
"""Suffixes of tables of captions that are read. A `.json` of a picture's name is about that picture alone."""
_UNREAD = {
    ".zip": "packed archive: unpack it, or give it as a source of its own",
    **dict.fromkeys((".gz", ".tgz", ".bz2", ".tbz", ".xz", ".txz", ".zst", ".7z", ".rar"), "packed archive: unpack it"),
    **dict.fromkeys((".xls", ".xlsx", ".ods", ".numbers"), "spreadsheet: save it as CSV in UTF-8"),
    **dict.fromkeys((".arrow", ".feather"), "table that is not read: write it as parquet or JSON lines"),
    **dict.fromkeys((".xml", ".yaml", ".yml"), "file that is not read: write its captions as metadata.jsonl"),
}


def suffix_of(name: str | PurePath) -> str:
    """The last suffix in small letters, with its dot."""
    return os.path.splitext(name)[1].lower()  # many times faster than pathlib, and asked several times of each file


def stem_of(name: str | PurePath) -> str:
    """The name of a file without its folders and its last suffix."""
    return os.path.splitext(os.path.basename(name))[0]


def unread_picture(name: str) -> str | None:
    """Why a file that must be a picture by its name is not read; None for pictures that are, and for other files."""
    suffix = suffix_of(name)
    return f"{suffix} picture that is not read (convert it to JPEG or PNG)" if suffix in OTHER_PICTURES else None


def unread_file(name: str) -> str | None:
    """What a file is, and what to do, if it may hold captions or pictures and is of a kind that is never read."""
    return _UNREAD.get(suffix_of(name))


def unread_companion(name: str) -> str:
    """What a file of a picture's name is that nothing is known of: it may hold captions."""
    return f"{suffix_of(name)} file of a picture's name that is not read (captions stand in .txt files)"


_NOTES = frozenset(
    "about attribution authors author captions changelog citation class classes copying copyright credits description files images "
    "index info labels licence licences license licenses list log metadata names note notes notice prompts readme requirements source "
    "sources tags todo urls".split()
) | set(SPLIT_NAMES)
"""First words of files of text that come with a set and are no picture's captions."""


def is_note(name: str) -> bool:
    """Whether a file of text without a picture is a note on the set by its name."""
    return re.split(r"[\W_\d]", stem_of(name).lower(), maxsplit=1)[0] in _NOTES
