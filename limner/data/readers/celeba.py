"""Faces: CelebA and CelebA-HQ by their attributes, and Multi-Modal-CelebA-HQ by its captions.

CelebA: `img_align_celeba/000001.jpg` with `list_attr_celeba.txt` (or Kaggle's `.csv`) and, for the splits, `list_eval_partition.txt`.
CelebAMask-HQ: `CelebA-HQ-img/0.jpg` with `CelebAMask-HQ-attribute-anno.txt`. Multi-Modal-CelebA-HQ: `images/0.jpg` with
`text/celeba-caption/0.txt`, ten captions each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from limner.core.errors import DataError
from limner.data.formats import suffix_of
from limner.data.readers.face_captions import ATTRIBUTES, captions
from limner.data.readers.reader import Account, Marks, Reader, Said, files_called, missing, pictures_by_stem, samples_of, twice
from limner.data.sources import Labels, Sample, decode_captions, left_alone, system_reason
from limner.data.tree import Folder, Tree

_ATTRIBUTES = frozenset(("list_attr_celeba.txt", "list_attr_celeba.csv", "celebamask-hq-attribute-anno.txt"))
_PARTITIONS = frozenset(("list_eval_partition.txt", "list_eval_partition.csv"))
_SPLITS = {"0": "train", "1": "val", "2": "test"}
_ALIGNED = ("img_align_celeba", "img_align_celeba_png", "celeba-hq-img")
"""Folders of the pictures that the lists speak of, where others hold pictures of the same names."""


class CelebA(Reader):
    """Reads lists of attributes, and makes captions of them."""

    name = "CelebA"

    def marks(self, tree: Tree) -> Marks:
        lists = files_called(tree, _ATTRIBUTES)
        return {
            "list_attr_celeba.txt, list_attr_celeba.csv or CelebAMask-HQ-attribute-anno.txt": bool(lists),
            "pictures in img_align_celeba/ or CelebA-HQ-img/": bool(lists) and any(folder.pictures for folder in tree.folders.values()),
        }

    def read(self, tree: Tree) -> Iterator[Sample]:
        account, pictures = Account(), _by_name(tree)
        first, *others = sorted(files_called(tree, _ATTRIBUTES))
        for other in others:
            yield left_alone(tree.name(other), tree.root.name, "second list of attributes")
        partitions = files_called(tree, _PARTITIONS)
        account.read.update([first, *others, *partitions])
        splits = {name: split for each in partitions for name, split in _partition(each)}
        account.labels_of = lambda path: Labels(split=splits.get(path.name, splits.get(f"{path.stem}.jpg")))
        rows = _table(first, 1)
        names = next(rows, (0, []))[1]
        if not ATTRIBUTES.intersection(names):
            raise DataError(f"{first} does not begin with the names of CelebA's attributes: download it again")
        known = frozenset(names)
        for number, cells in rows:
            if len(cells) != len(names) + 1 or not {*cells[1:]} <= {"1", "-1", "0"}:
                raise DataError(f"{first}, line {number} is not a picture's name and {len(names)} times 1 or -1: download it again")
            fits, where = pictures.get(cells[0], []), f"{first.name}, line {number}"
            if len(fits) != 1:
                problem = f"file_name fits {len(fits)} files" if fits else None
                account.lost.append((cells[0], problem, where) if problem else missing(cells[0], where))
                continue
            has = frozenset(name for name, value in zip(names, cells[1:]) if value == "1")
            account.say(fits[0], Said(captions(has, known), Labels(split=splits.get(cells[0])), None, where), twice(cells[0], where))
        yield from samples_of(tree, account, self.name)


def _by_name(tree: Tree) -> dict[str, list[Path]]:
    """Pictures by their file's name, and by that of the .jpg that they were as PNG; aligned ones where there are any."""
    folders = list(tree.folders.values())
    aligned = [folder for folder in folders if not set(_ALIGNED).isdisjoint(part.lower() for part in folder.path.parts[-2:])]
    if not any(folder.pictures for folder in aligned):
        aligned = folders
    found: dict[str, list[Path]] = {}
    for stem, paths in pictures_by_stem(tree, aligned).items():
        for name in {f"{stem}.jpg", *(path.name for path in paths)}:
            found[name] = [path for path in paths if path.name == name] or paths
    return found


def _partition(path: Path) -> Iterator[tuple[str, str]]:
    """The split of each picture of a list; DataError for a line that names none."""
    for number, cells in _table(path, 1):
        if number == 1 and path.suffix.lower() == ".csv":  # image_id,partition
            continue
        if len(cells) != 2 or cells[1] not in _SPLITS:
            raise DataError(f"{path}, line {number} is not a picture's name and 0, 1 or 2: download it again, or take it out of the folder")
        yield cells[0], _SPLITS[cells[1]]


def _table(path: Path, header: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line of a table by blanks or commas, without the count that may stand above it."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: download it again") from None
    comma = path.suffix.lower() == ".csv"
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line.split(",")] if comma else line.split()
        if comma and number <= header:
            cells = cells[1:]  # image_id
        if cells and not (number == 1 and len(cells) == 1 and cells[0].isdigit()):
            yield number, cells


class MultiModalCelebA(Reader):
    """Reads the captions of Multi-Modal-CelebA-HQ."""

    name = "Multi-Modal-CelebA-HQ"

    def marks(self, tree: Tree) -> Marks:
        texts = _texts(tree)
        return {
            "text/celeba-caption/ with a .txt for each picture": bool(texts),
            "pictures of the same numbers, in images/": bool(texts) and bool(_homes(tree, texts)),
        }

    def read(self, tree: Tree) -> Iterator[Sample]:
        account, texts = Account(), _texts(tree)
        pictures = pictures_by_stem(tree, _homes(tree, texts))
        for folder in texts:
            for file in (file for file in folder.files if suffix_of(file) == ".txt"):
                path = folder.path / file
                account.read.add(path)
                fits, lost = pictures.get(file[:-4], []), missing(file[:-4], tree.name(path))
                if len(fits) != 1:
                    account.lost.append(lost)
                    continue
                try:
                    lines, problem = decode_captions(path.read_bytes())
                except OSError as error:
                    lines, problem = (), f"caption file that {system_reason(error)}"
                account.say(fits[0], Said(lines, Labels(), problem, tree.name(path) if problem else ""), lost)
        yield from samples_of(tree, account, self.name)


def _texts(tree: Tree) -> list[Folder]:
    return [folder for folder in tree.folders.values() if folder.path.name.lower() in ("celeba-caption", "celeba-captions")]


def _homes(tree: Tree, texts: list[Folder]) -> list[Folder]:
    """The folder with most pictures that captions speak of: masks and sketches have the same numbers, and `image` in no name."""
    spoken = {file.rpartition(".")[0] for folder in texts for file in folder.files}
    counts = [(sum(name in spoken for name in folder.stems), folder) for folder in tree.folders.values() if folder.pictures]
    likely = [entry for entry in counts if any(word in str(entry[1].path.name).lower() for word in ("image", "img", "face"))] or counts
    best = max(likely, key=lambda entry: entry[0], default=(0, None))
    return [best[1]] if best[0] and best[1] is not None else []
