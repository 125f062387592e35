"""Every table of settings on a page of docs says what the settings are: their names, their defaults, and what presets make of them.

A cell is read if it holds nothing but values, in the order of the names in the row's first cell: numbers, `words`, yes or on, no or off,
none; several numbers with spaces between are one value. Fewer values than names are those that differ from the default, or one for all.
An empty cell is the default, which is none in the column of defaults. A cell with words of explanation is not read.
"""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from limner.core import registry

DOCS = Path(__file__).parents[2] / "docs"
TABLE = re.compile(r"^\| `--method\.` \| default(?:.*)\n(?:\|.*\n)+", re.MULTILINE)
FILE = re.compile(r"`limner/(?:methods|matching/models|parts)/(\w+)\.py`")
PAGES = [page for page in sorted(DOCS.glob("*.md")) if TABLE.search(page.read_text(encoding="utf-8"))]
WORDS = {"yes": True, "on": True, "no": False, "off": False, "none": None}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def values(cell: str) -> list[Any] | None:
    """What a cell says; None where it is not read."""
    try:
        return [value(part) for part in re.split("; " if "; " in cell else ", ", cell)]
    except ValueError:
        return None


def value(part: str) -> Any:
    if part in WORDS:
        return WORDS[part]
    if named := re.fullmatch("`([^`]+)`", part):
        return named[1]
    numbers = [float(number.replace(",", "")) for number in part.split()]
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def same(said: Any, has: Any) -> bool:
    if isinstance(has, tuple):
        if isinstance(said, str):
            return said.split() == [str(item) for item in has]
        listed = () if said is None else said if isinstance(said, tuple) else (said,)
        return len(listed) == len(has) and all(same(mine, theirs) for mine, theirs in zip(listed, has, strict=True))
    if isinstance(said, float) and isinstance(has, int | float) and not isinstance(has, bool):
        return math.isclose(said, has)
    return type(said) is type(has) and bool(said == has)


def agrees(said: list[Any], has: list[Any], before: list[Any]) -> bool:
    """Whether a cell's values are those of the settings; before: what holds where a cell is empty."""

    def equal(wanted: list[Any]) -> bool:
        return len(said) == len(wanted) and all(same(one, other) for one, other in zip(said, wanted, strict=True))

    changed = [value for value, former in zip(has, before, strict=True) if value != former]
    listed = isinstance(has[0], tuple) and len(has) == 1 and same(tuple(said), has[0])
    return equal(has) or equal(changed) or listed or (len(said) == 1 and all(same(said[0], value) for value in has))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_a_page_s_settings_are_those_of_its_method(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = FILE.search(text)
    assert found, f"{page.name} names no file of a method"
    trained = registry.get(found[1].replace("_", "-"))
    published = trained.Settings()
    defaults = {item.name: getattr(published, item.name) for item in fields(published)}
    wrong, read, given = [], 0, 0
    for table in TABLE.findall(text):
        head, _, *rows = map(cells, table.splitlines())
        columns = [{}, *(dict(trained.presets[name.strip("`")].method) for name in head[2:-1])]
        for row in rows:
            names = [name.replace("-", "_") for name in re.findall("`([^`]+)`", row[0])]
            unknown = [name for name in names if name not in defaults]
            assert names and not unknown, f"{page.name}: {row[0]} is not a setting of {found[1]}"
            for number, (changes, cell) in enumerate(zip(columns, row[1:-1], strict=True)):
                before = [defaults[name] if number else None for name in names]
                has = [changes.get(name, defaults[name]) for name in names]
                said = values(cell)
                given += 1
                if cell and said is None:
                    continue
                read += 1
                if not (agrees(said or [], has, before) if cell else has == before):
                    wrong.append(f"{row[0]}, {head[number + 1]}: {cell or 'empty'}, and the settings have {has}")
    assert not wrong, f"{page.name}:\n" + "\n".join(wrong)
    assert read > 0.8 * given, f"{page.name}: {read} of {given} cells hold values alone"


def test_there_are_pages() -> None:
    assert len(PAGES) >= 20


@pytest.mark.parametrize(
    ("cell", "has", "before", "right"),
    [
        ("2e-4, 0.5, 0", [2e-4, 0.5, 0.0], [None] * 3, True),
        ("2e-4, 0.9, 0", [2e-4, 0.5, 0.0], [None] * 3, False),
        ("1", [1.0, 8], [0.0, 8], True),
        ("1", [1.0, 16], [0.0, 8], False),
        ("128", [128, 128], [512, 512], True),
        ("on", [False], [None], False),
        ("none", [None], ["vgg16"], True),
        ("8 32", [(8, 32)], [None], True),
        ("16, 14", [(16, 14)], [None], True),
        ("`translation cutout`", [("translation", "cutout")], [()], True),
        ("1,200,000; 8 16; 1", [(1200000,), (8, 16), (1.0,)], [None] * 3, True),
    ],
)
def test_a_cell_is_read_so(cell: str, has: list[Any], before: list[Any], right: bool) -> None:
    said = values(cell)
    assert said is not None and agrees(said, has, before) is right
