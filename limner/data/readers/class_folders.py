"""Captions in a folder for each class, the pictures elsewhere: CUB-200-2011 and Oxford-102 with the captions of Reed et al. (CVPR 2016).

CUB-200-2011: `images/001.Black_footed_Albatross/NAME.jpg` with `text/CLASS/NAME.txt` or `text_c10/CLASS/NAME.txt`, ten captions each.
Oxford-102: `jpg/image_00001.jpg` with `text_c10/class_00001/image_00001.txt`. Sets of one's own in this form are read too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from limner.data.formats import suffix_of
from limner.data.names import plain
from limner.data.readers.reader import Account, Marks, Reader, Said, files_called, lines_of, missing, samples_of
from limner.data.sources import SPLIT_NAMES, Labels, Sample, decode_captions, left_alone, system_reason
from limner.data.tree import Folder, Tree

_TEXTS = ("text_c10", "text", "captions", "texts")
_LISTS = {"trainvalclasses.txt": "train", "trainclasses.txt": "train", "valclasses.txt": "val", "testclasses.txt": "test"}
"""Reed's lists of classes, those that say less first."""


class ClassFolders(Reader):
    """Reads captions that stand in a folder for each class."""

    name = "captions in class folders (CUB-200-2011, Oxford-102)"

    def marks(self, tree: Tree) -> Marks:
        texts = _text_folders(tree)
        return {
            "a folder text or text_c10 with a folder of .txt files for each class": bool(texts),
            "pictures of the captions' names, in images/CLASS/ or jpg/": bool(texts) and any(_pictures(tree, texts).values()),
        }

    def read(self, tree: Tree) -> Iterator[Sample]:
        account, texts = Account(), _text_folders(tree)
        splits = _splits(tree, account)
        pictures = _pictures(tree, texts)
        classes = {plain(folder.path.name): folder.path.name for folder in texts}

        def labels_of(path: Path) -> Labels:
            own, split = plain(path.parent.name), tree.split(path)
            return _labels(classes.get(own, path.parent.name), splits, split) if own in classes or own in splits else Labels(split=split)

        account.labels_of = labels_of
        if "train" in splits.values():
            for own in sorted(classes.keys() - splits.keys()):
                yield left_alone(classes[own], tree.root.name, "class that no list of classes has, which is trained on")
        for folder in texts:
            labels = _labels(folder.path.name, splits, tree.split(folder.path / "any"))
            for file in _captions(folder):
                path = folder.path / file
                account.read.add(path)
                fits, lost = pictures[folder.path, file[:-4]], missing(f"{folder.path.name}/{file[:-4]}", tree.name(path))
                if len(fits) == 1:
                    account.say(fits[0], _said(tree, path, labels), lost)
                else:
                    account.lost.append(lost)
        known = "CUB-200-2011" if any(re.match(r"\d{3}\.", folder.path.name) for folder in texts) else "the set"
        yield from samples_of(tree, account, "Oxford-102" if any(_is_oxford(folder) for folder in texts) else known)


def _is_oxford(folder: Folder) -> bool:
    return re.fullmatch(r"class_\d+", folder.path.name) is not None


def _said(tree: Tree, path: Path, labels: Labels) -> Said:
    try:
        captions, problem = decode_captions(path.read_bytes())
    except OSError as error:
        captions, problem = (), f"caption file that {system_reason(error)}"
    return Said(captions, labels, problem, tree.name(path) if problem else "")


def _captions(folder: Folder) -> list[str]:
    return [file for file in folder.files if suffix_of(file) == ".txt"]


def _text_folders(tree: Tree) -> list[Folder]:
    """The class folders of captions: of `text_c10` where there are both."""
    found: dict[str, list[Folder]] = defaultdict(list)
    for folder in tree.folders.values():
        above = folder.path.parent.name.lower()
        if above in _TEXTS and folder.path != tree.root and folder.path.name.lower() not in SPLIT_NAMES and _captions(folder):
            found[above].append(folder)
    return next((found[name] for name in _TEXTS if found[name]), [])


def _pictures(tree: Tree, texts: list[Folder]) -> dict[tuple[Path, str], list[Path]]:
    """For each caption file, by its folder and its name, the pictures that it may be of: those of its class, else those of none."""
    classes = {plain(folder.path.name) for folder in texts}
    by_class: dict[tuple[str, str], list[Path]] = defaultdict(list)
    loosely: dict[tuple[str, str], list[Path]] = defaultdict(list)
    by_name: dict[str, list[Path]] = defaultdict(list)
    for folder in tree.folders.values():
        own = plain(folder.path.name)
        for file in folder.pictures:
            path, stem = folder.path / file, file.rpartition(".")[0]
            by_class[folder.path.name, stem].append(path)
            loosely[own, stem].append(path)
            if own not in classes:  # the pictures of a class have captions in its own folder, or none
                by_name[stem].append(path)
    found = {}
    for folder in texts:
        name = folder.path.name
        for stem in (file[:-4] for file in _captions(folder)):
            fits = by_class.get((name, stem)) or loosely.get((plain(name), stem)) or by_name.get(stem) or []
            found[folder.path, stem] = _likely(fits)
    return found


def _likely(fits: list[Path]) -> list[Path]:
    """Of several pictures of one name the photograph, where masks of the same name lie in other folders."""
    if len(fits) < 2:
        return fits
    return [path for path in fits if {"images", "jpg"} & set(path.parts[-3:-1])] or fits


def _splits(tree: Tree, account: Account) -> dict[str, str]:
    """The split of each class, by its plain name, where Reed's lists lie with the captions."""
    found: dict[str, str] = {}
    lists = {path.name.lower(): path for path in files_called(tree, _LISTS.keys())}
    for name, split in _LISTS.items():
        if name in lists:
            account.read.add(lists[name])
            found.update(dict.fromkeys(map(plain, lines_of(lists[name])), split))
    return found


def _labels(name: str, splits: dict[str, str], split: str | None) -> Labels:
    """The class of a folder: `001.Black_footed_Albatross` is number 1, Black footed Albatross. split: of a folder above it."""
    numbered = re.fullmatch(r"(\d+)\.(.+)", name)
    oxford = re.fullmatch(r"class_(\d+)", name)
    number = numbered or oxford
    called = numbered[2].replace("_", " ") if numbered else name
    return Labels(split=splits.get(plain(name), split), class_id=int(number[1]) if number else None, class_name=called)
