"""Lists of captions in JSON: COCO's `captions_train2014.json`, and Karpathy's `dataset_coco.json` and `dataset_flickr8k.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limner.core.errors import DataError
from limner.data.readers.reader import Account, Marks, Reader, missing, said_lines, samples_of
from limner.data.sources import SPLIT_NAMES, Labels, Sample, left_alone
from limner.data.tree import Tree

_OTHERS = ("image_info", "instances", "panoptic", "person_keypoints", "stuff")
"""How COCO's lists begin that hold no captions."""
_FORM = "download it again, or take it out of the folder"


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
            found: list[tuple[str, list[str], str | None]] = []
            for number, image in enumerate(_part(path, _load(path), "images")):
                where = f"{path}, image {number}"
                split = str(_field(where, image, "split")).lower() if "split" in image else ""
                lines = [str(_field(where, sentence, "raw")) for sentence in _field(where, image, "sentences")]
                folder = str(image.get("filepath", ""))
                name = str(_field(where, image, "filename"))
                # What Karpathy calls restval is for training too.
                found.append((f"{folder}/{name}" if folder else name, lines, "train" if split == "restval" else SPLIT_NAMES.get(split)))
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
            content = _load(path)
            names = {
                _field(f"{path}, image {number}", image, "id"): str(_field(f"{path}, image {number}", image, "file_name"))
                for number, image in enumerate(_part(path, content, "images"))
            }
            lines: dict[Any, list[str]] = {image: [] for image in names}
            for number, entry in enumerate(_part(path, content, "annotations")):
                where = f"{path}, annotation {number}"
                image = _field(where, entry, "image_id")
                if image not in lines:
                    raise DataError(f"{where} is of image {image}, which the list does not have: {_FORM}")
                lines[image].append(str(_field(where, entry, "caption")))
            split = next((SPLIT_NAMES[word] for word in re.findall("[a-z]+", path.stem.lower()) if word in SPLIT_NAMES), None)
            yield from _take(tree, path, [(name, lines[image], split) for image, name in names.items()], finder, account)
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
        if picture in account.said or picture in own.said:
            own.lost.append((name, "picture that is listed twice", where))
            continue
        own.say(picture, said_lines(lines, Labels(split=split), where))
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
        if path.name.lower().startswith("captions"):
            found.append(path)
        elif not path.name.lower().startswith(_OTHERS) and b'"sentences"' not in _start(path):
            annotations = _load(path).get("annotations")
            if isinstance(annotations, list) and annotations and isinstance(annotations[0], dict) and "caption" in annotations[0]:
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


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({' '.join(str(error).split())[:100]}): {_FORM}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} is not an object of images and annotations: {_FORM}")
    return content


def _part(path: Path, content: dict[str, Any], name: str) -> list[Any]:
    part = content.get(name)
    if not isinstance(part, list):
        raise DataError(f"{path} has no list '{name}': {_FORM}")
    return part


def _field(where: str, entry: Any, name: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise DataError(f"{where} has no '{name}': {_FORM}")
    return entry[name]
