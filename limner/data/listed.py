"""The pictures of a folder that a table lists, such as metadata.csv or metadata.jsonl."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from limner.core.errors import DataError
from limner.data.columns import CLASSES, captions_of_field, read_labels
from limner.data.formats import PICTURE_SUFFIXES, suffix_of, unread_picture
from limner.data.sources import BARE_TABLE, SPLIT_NAMES, Labels, Sample, clean_captions, left_alone
from limner.data.tables import Row, read_table
from limner.data.tree import Tree


@dataclass
class _Listed:
    """What a table says of one picture, gathered over its rows."""

    where: str
    lines: list[str] = field(default_factory=list)
    labels: Labels = Labels()
    given: set[str] = field(default_factory=set)
    """Columns of classes that some row of the picture fills in."""
    spoken_for: bool = False
    problem: str | None = None

    def complain(self, problem: str | None, where: str) -> None:
        """Note what is wrong, if anything; the first counts."""
        if problem and not self.problem:
            self.problem, self.where = problem, where

    def add(self, row: Row) -> None:
        """Join a row to those before it."""
        value = row.value("text")
        if value is not None:
            captions, problem = captions_of_field(value)
            self.spoken_for = True
            self.lines.extend(captions)
            # An empty cell next to full ones is not a loss: it is judged when all rows of the picture are together.
            self.complain(problem if captions or value not in ("", []) else None, row.where)
        labels = read_labels(row.fields, row.columns)
        self.complain(labels.problem, row.where)
        for name in ("split", "class_id", "class_name", "story", "frame", "attributes", "categories", "things"):
            mine, theirs = getattr(self.labels, name), getattr(labels, name)
            if mine is None:
                self.labels = replace(self.labels, **{name: theirs})
            elif theirs is not None and mine != theirs:
                self.complain(
                    f"another {'layout' if name == 'things' else name.partition('_')[0]} than an earlier row of the same picture has",
                    row.where,
                )
        self.given.update(name for name in CLASSES if row.value(name) not in (None, ""))


def listed_samples(tree: Tree, table: Path) -> Iterator[Sample]:
    """The samples of a table in its order. Pictures that it gives no captions take those of a file of their own.

    Tables that are not called metadata leave pictures alone that have a caption file. Raises DataError for a table that
    cannot be read, and for two tables that differ on a picture.
    """
    listed: dict[str, _Listed] = {}
    unread: dict[str, None] = {}
    for row in read_table(table, tree.reading.columns):
        listed.setdefault(row.file_name, _Listed(row.where)).add(row)
        unread.update(dict.fromkeys(row.columns.surplus(row.fields)))
    for name in set().union(*(entry.given for entry in listed.values())):
        for entry in listed.values():
            entry.complain(None if name in entry.given else f"no {name}, which other rows of the table have", entry.where)
    name, source = tree.name(table), tree.root.name
    twice = own = 0
    for entry, (path, problem) in zip(listed.values(), _paths(tree, table.parent, list(listed))):
        folder = tree.folders.get(os.path.normpath(path.parent))
        text = folder.pairing.texts.get(path.name) if folder and not problem else None
        if text and table.stem.lower() != "metadata" and not tree.reading.columns:
            own += 1
            continue
        sample = _sample(tree, table, entry, path, problem)
        known = tree.listed.get(os.path.normpath(path)) if not problem else None
        if known is not None:
            other, said = known
            if said != (entry.lines, entry.labels):
                raise DataError(f"{tree.root}: {other} and {name} differ in what they say of {tree.name(path)}: remove it from one of them")
            twice += 1
            continue
        if text and entry.spoken_for:
            text_file = tree.name(path.parent / text)
            tree.unread.append(left_alone(text_file, source, f"captions of a picture that {table.name} has captions of"))
        if not problem:
            tree.listed[os.path.normpath(path)] = name, (entry.lines, entry.labels)
        yield sample
    if twice:
        yield left_alone(name, source, f"table of which {twice:,} pictures are listed by another one too")
    if own:
        yield left_alone(name, source, f"table of which {own:,} pictures have caption files, which are taken")
    if unread:
        table_of = "table" if any(entry.spoken_for for entry in listed.values()) else BARE_TABLE
        yield left_alone(name, source, f"{table_of} with columns that are not read: {', '.join(unread)[:200]}")


def _sample(tree: Tree, table: Path, entry: _Listed, path: Path, problem: str | None) -> Sample:
    captions, wrong = clean_captions(entry.lines) if entry.spoken_for else ((), None)
    split = entry.labels.split or tree.split(path) or SPLIT_NAMES.get(table.stem.lower())
    where = entry.where
    if not entry.spoken_for and not problem:
        words = tree.words(path)
        captions, wrong, where = words.captions, words.problem, words.where or where
    picture, unreadable = (None, problem) if problem else tree.picture(path)
    if suffix_of(path) not in PICTURE_SUFFIXES:
        not_one = f"file_name is not that of a picture ({path.suffix or 'it has no suffix'})"
        picture, unreadable = None, unread_picture(path.name) or problem or not_one
    problem = unreadable or entry.problem or wrong
    return Sample(
        key=tree.key(path),
        source=tree.root.name,
        picture=picture,
        captions=() if problem else captions,
        labels=replace(entry.labels, split=split),
        problem=problem,
        file=tree.name(path),
        where=where,
    )


def _paths(tree: Tree, folder: Path, names: list[str]) -> list[tuple[Path, str | None]]:
    """The path of each name in a table, and what is wrong with the name.

    A name that leads to a file is taken to the letter; for one that leads to none, a file is taken that no other name means.
    """
    index = tree.index(folder)
    paths: list[tuple[Path, str | None]] = []
    meant: dict[str, set[str]] = defaultdict(set)
    guessed = {}
    for name in names:
        path = Path(os.path.normpath(folder / name))
        problem = None
        if os.path.isabs(name) or not (tree.has(path) or os.path.isfile(path)):
            found, problem = index.find(name)
            if found is not None:
                path = folder / found
                guessed[name] = path
        if tree.name(path).startswith("../"):
            problem = problem or "file_name leads out of the folder"
        meant[os.path.normpath(path)].add(name)
        paths.append((path, problem))
    for place, (name, (path, problem)) in enumerate(zip(names, paths)):
        if name in guessed and problem is None and len(meant[os.path.normpath(path)]) > 1:
            paths[place] = path, "file_name fits a file that another row names"
    return paths
