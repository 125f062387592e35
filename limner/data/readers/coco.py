"""Lists of captions in JSON: COCO's `captions_train2014.json`, and Karpathy's `dataset_coco.json` and `dataset_flickr8k.json`."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from limner.core.errors import DataError
from limner.data.readers.reader import Account, Marks, Reader, missing, said_lines, samples_of, twice
from limner.data.sources import SPLIT_NAMES, Labels, Sample, left_alone
from limner.data.tree import Tree

_OTHERS = ("image_info", "instances", "panoptic", "person_keypoints", "stuff")
"""How COCO's lists begin that hold no captions."""
_FIX = "download it again, or take it out of the folder"


class _Sentence(msgspec.Struct):
    raw: str


class _Described(msgspec.Struct):
    filename: str
    sentences: list[_Sentence]
    filepath: str = ""
    split: str = ""


class _KarpathyList(msgspec.Struct):
    images: list[_Described]


class _Image(msgspec.Struct):
    id: int | str
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int | str
    caption: str


class _CocoList(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]


_List = TypeVar("_List", _KarpathyList, _CocoList)


class Karpathy(Reader):
    """Reads `{"images": [{"filename": ..., "split": ..., "sentences": [{"raw": ...}]}]}`."""

    name = "Karpathy's lists"

    def marks(self, tree: Tree) -> Marks:
        lists = _lists(tree, b'"sentences"')
        return {
            "a dataset_NAME.json with images and their sentences": bool(lists),
            "pictures in the same source": bool(lists) and any(folder.pictures for folder in tree.folders.values()),
        }

    def read(self, tree: Tree) -> Iterator[Sample]:
        account, finder = Account(), _Finder(tree)
        for path in _lists(tree, b'"sentences"'):
            account.read.add(path)
            found = []
            for number, image in enumerate(_load(path, _KarpathyList).images):
                split = image.split.strip().lower()
                if split and split != "restval" and split not in SPLIT_NAMES:
                    raise DataError(
                        f"{path}, image {number} is in the split '{image.split[:40]}' (known: train, restval, val, test): correct it"
                    )
                name = f"{image.filepath}/{image.filename}" if image.filepath else image.filename
                # What Karpathy calls restval is for training too.
                found.append((name, [each.raw for each in image.sentences], "train" if split == "restval" else SPLIT_NAMES.get(split)))
            yield from _take(tree, path, found, finder, account)
        yield from samples_of(tree, account, self.name)


class CocoCaptions(Reader):
    """Reads `{"images": [{"id": ..., "file_name": ...}], "annotations": [{"image_id": ..., "caption": ...}]}`."""

    name = "COCO's captions"

    def marks(self, tree: Tree) -> Marks:
        lists = _caption_lists(tree)
        return {
            "a captions_NAME.json, such as annotations/captions_train2014.json": bool(lists),
            "pictures in the same source, such as train2014/": bool(lists) and any(folder.pictures for folder in tree.folders.values()),
        }

    def read(self, tree: Tree) -> Iterator[Sample]:
        account, finder = Account(), _Finder(tree)
        for path in _caption_lists(tree):
            account.read.add(path)
            content = _load(path, _CocoList)
            names: dict[int | str, str] = {}
            for image in content.images:
                if names.setdefault(image.id, image.file_name) != image.file_name:
                    raise DataError(f"{path} has the image {image.id} twice, as '{names[image.id]}' and '{image.file_name}': {_FIX}")
            lines: dict[int | str, list[str]] = {number: [] for number in names}
            for number, entry in enumerate(content.annotations):
                if entry.image_id not in lines:
                    raise DataError(f"{path}, annotation {number} is of image {entry.image_id}, which the list does not have: {_FIX}")
                lines[entry.image_id].append(entry.caption)
            split = next((SPLIT_NAMES[word] for word in re.findall("[a-z]+", path.stem.lower()) if word in SPLIT_NAMES), None)
            yield from _take(tree, path, [(name, lines[number], split) for number, name in names.items()], finder, account)
        yield from samples_of(tree, account, self.name)


class _Finder:
    """Finds the pictures of a list."""

    def __init__(self, tree: Tree) -> None:
        self.root, self._index = tree.root, tree.index(tree.root)

    def path(self, name: str) -> tuple[Path | None, str | None]:
        """The picture of a name, or what is wrong with the name, if anything but that there is none."""
        found, problem = self._index.find(name)
        if found is None and problem is None:  # train2014/a.jpg may lie in images/train2014
            found, problem = self._index.find(name.rpartition("/")[2])
        return (None if found is None else self.root / found), problem


def _take(tree: Tree, path: Path, entries: list[tuple[str, list[str], str | None]], finder: _Finder, account: Account) -> Iterator[Sample]:
    """Put what a list says to the account; a list of which no picture is there is left alone."""
    own = Account()
    for number, (name, lines, split) in enumerate(entries):
        picture, problem = finder.path(name)
        where = f"{path.name}, image {number}"
        if picture is None:
            own.lost.append((name, problem, where) if problem else missing(name, where))
            continue
        if picture in account.said:
            own.lost.append(twice(name, where))
            continue
        own.say(picture, said_lines(lines, Labels(split=split), where), twice(name, where))
    if not own.said:
        yield left_alone(tree.name(path), tree.root.name, f"list of {len(entries):,} pictures of which none is there")
        return
    account.said.update(own.said)
    account.homes |= own.homes
    account.lost += own.lost


def _lists(tree: Tree, sign: bytes) -> list[Path]:
    """JSON files that begin as a list of pictures with this sign in it."""
    return [path for path in _candidates(tree) if sign in _start(path)]


def _caption_lists(tree: Tree) -> list[Path]:
    found = []
    for path in _candidates(tree):
        if path.name.lower().startswith("captions_"):
            found.append(path)
        elif not path.name.lower().startswith(_OTHERS) and b'"sentences"' not in _start(path):
            try:
                captioned = bool(_load(path, _CocoList).annotations)
            except DataError:
                continue
            if captioned:
                found.append(path)
    return found


def _candidates(tree: Tree) -> list[Path]:
    paths = [folder.path / file for folder in tree.folders.values() for file in folder.files if file.lower().endswith(".json")]
    return [path for path in paths if b'"images"' in _start(path) or b'"annotations"' in _start(path)]


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(1 << 16)
    except OSError:
        return b""


def _load(path: Path, form: type[_List]) -> _List:
    try:
        return msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8), type=form)
    except (OSError, ValueError, RecursionError) as error:  # msgspec's own errors among them
        raise DataError(f"{path} cannot be read as the list it seems to be ({' '.join(str(error).split())[:100]}): {_FIX}") from None
