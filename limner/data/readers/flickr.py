"""Flickr8k and Flickr30k as they were given out: `Flickr8k.token.txt`, `results_20130124.token`, and Kaggle's `results.csv`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from limner.core.errors import DataError
from limner.data.readers.reader import Account, Marks, Reader, lines_of, missing, said_lines, samples_of, twice
from limner.data.sources import SPLIT_NAMES, Labels, Sample, left_alone
from limner.data.tree import Tree

_TOKEN = re.compile(r"(?P<name>[^\t]+?)#\d+\t(?P<text>.*)")
_PIPES = re.compile(r"(?P<name>[^|]+?\.\w+)\s*\|\s*\d+\s*\|?\s*(?P<text>.*)")
"""A line of results.csv; one line of the file that is in use lacks its second bar."""
_LIST = re.compile(r"flickr_?\d+k?\.(\w+?)images\.txt")


class Flickr(Reader):
    """Reads lists of captions of which each line names its picture."""

    name = "Flickr8k or Flickr30k"

    def marks(self, tree: Tree) -> Marks:
        lists = _lists(tree)
        return {
            "Flickr8k.token.txt, results_20130124.token or results.csv": bool(lists),
            "pictures in the same source": bool(lists) and any(folder.pictures for folder in tree.folders.values()),
        }

    def read(self, tree: Tree) -> Iterator[Sample]:
        account, index = Account(), tree.index(tree.root)
        splits = _splits(tree, account)
        account.labels_of = lambda path: Labels(split=splits.get(path.name))
        first, *others = _lists(tree)
        account.read.update([first, *others])
        for other in others:
            yield left_alone(tree.name(other), tree.root.name, "second list of captions")
        lines: dict[str, list[str]] = {}
        numbers: dict[str, int] = {}
        for number, name, text in _lines(first):
            lines.setdefault(name, []).append(text)
            numbers.setdefault(name, number)
        for name, captions in lines.items():
            found, problem = index.find(name)
            where = f"{first.name}, line {numbers[name]}"
            if found is None:
                account.lost.append((name, problem, where) if problem else missing(name, where))
            else:
                account.say(tree.root / found, said_lines(captions, Labels(split=splits.get(name)), where), twice(name, where))
        yield from samples_of(tree, account, self.name)


def _lists(tree: Tree) -> list[Path]:
    """Lists of captions; those of lemmas hold the same captions in pieces."""
    found = []
    for folder in tree.folders.values():
        for file in folder.files:
            path, name = folder.path / file, file.lower()
            if "lemma" in name or not (name.endswith((".token", ".token.txt")) or name == "results.csv"):
                continue
            if _form(path, _first(path)) is not None:
                found.append(path)
    return sorted(found)


def _first(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            lines = [stream.readline(4096), stream.readline(4096)]
    except OSError:
        return ""
    return lines[1].rstrip("\n") if path.name.lower() == "results.csv" else lines[0].rstrip("\n")


def _form(path: Path, line: str) -> re.Pattern[str] | None:
    pattern = _PIPES if path.name.lower() == "results.csv" else _TOKEN
    return pattern if pattern.fullmatch(line) else None


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, picture and caption of each line; DataError for a line of another form."""
    pattern = _PIPES if path.name.lower() == "results.csv" else _TOKEN
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it again as UTF-8") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == 1 and pattern is _PIPES):
            continue
        found = pattern.fullmatch(line.rstrip("\r"))
        if found is None:
            form = "NAME.jpg| NUMBER| CAPTION" if pattern is _PIPES else "NAME.jpg#NUMBER, a tab and the caption"
            raise DataError(f"{path}, line {number} is not {form}: correct or remove the line")
        yield number, found["name"].strip(), found["text"]


def _splits(tree: Tree, account: Account) -> dict[str, str]:
    """The split of each picture, where lists such as `Flickr_8k.trainImages.txt` lie in the folder; DataError for one in two splits."""
    found: dict[str, str] = {}
    for folder in tree.folders.values():
        for file in folder.files:
            named = _LIST.fullmatch(file.lower())
            if named and named[1] in SPLIT_NAMES:
                account.read.add(folder.path / file)
                for name in lines_of(folder.path / file):
                    split = SPLIT_NAMES[named[1]]
                    if found.setdefault(name, split) != split:
                        raise DataError(f"{folder.path / file} has {name}, which another list puts into {found[name]}: take it out of one")
    return found
