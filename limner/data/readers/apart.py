"""Pictures in one folder and captions of their names in another: `images/` and `captions/`, alone or within each split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from limner.data.formats import CAPTION_SUFFIXES, PICTURE_SUFFIXES, is_note, suffix_of
from limner.data.names import plain, without_suffix
from limner.data.readers.reader import Account, Marks, Reader, Said, below, missing, samples_of
from limner.data.sources import SPLIT_NAMES, Labels, Sample, decode_captions, left_alone, system_reason
from limner.data.tree import Tree

_PICTURES = frozenset("image images img imgs jpg jpgs jpeg jpegs photo photos picture pictures png pngs".split())
_CAPTIONS = frozenset(
    "annotation annotations caption captions desc description descriptions label labels prompt prompts sentence sentences "
    "tag tags text texts txt".split()
)


class Apart(Reader):
    """Reads pictures and captions that have the same path but for one folder each, such as `images/a.jpg` and `captions/a.txt`."""

    name = "images/ and captions/"

    def marks(self, tree: Tree) -> Marks:
        captions = _captions(tree)
        pictures = _pictures(tree) if captions else {}
        paired = sum(len(pictures.get(key, ())) == 1 for key in captions)
        return {
            "a folder captions, texts, prompts or the like with .txt files": bool(captions),
            "pictures of the same names in a folder images, or above the captions": bool(captions) and 2 * paired >= len(captions),
        }

    def read(self, tree: Tree) -> Iterator[Sample]:
        account, pictures = Account(labels_of=lambda path: Labels(split=_split(_key(below(path, tree.root), _PICTURES)))), _pictures(tree)
        for key, paths in _captions(tree).items():
            fits = pictures.get(key, [])
            account.read.update(paths)
            lost = missing("/".join(key), tree.name(paths[0]))
            if len(fits) == 1:
                account.say(fits[0], _said(tree, paths[0], _split(key)), lost)
                for second in paths[1:]:
                    yield left_alone(tree.name(second), tree.root.name, "second caption file of a picture")
            elif is_note(paths[0].name) and not fits:
                yield left_alone(tree.name(paths[0]), tree.root.name, "note on the set")
            else:
                account.lost.append(lost)
        yield from samples_of(tree, account, self.name)


def _said(tree: Tree, path: Path, split: str | None) -> Said:
    try:
        captions, problem = decode_captions(path.read_bytes())
    except OSError as error:
        captions, problem = (), f"caption file that {system_reason(error)}"
    return Said(captions, Labels(split=split), problem, tree.name(path) if problem else "")


def _split(key: tuple[str, ...]) -> str | None:
    """The split that the first folder of a key names."""
    return next((SPLIT_NAMES[part] for part in key[:1] if part in SPLIT_NAMES and len(key) > 1), None)


def _key(parts: tuple[str, ...], own: frozenset[str]) -> tuple[str, ...]:
    """A path as both sides have it: without the last folder of these names, and without suffixes."""
    *folders, name = map(plain, parts)
    place = next((place for place in reversed(range(len(folders))) if folders[place] in own), None)
    rest = folders if place is None else [*folders[:place], *folders[place + 1 :]]
    return *rest, without_suffix(name.rpartition(".")[0] if suffix_of(name) in CAPTION_SUFFIXES else name)


def _pictures(tree: Tree) -> dict[tuple[str, ...], list[Path]]:
    found: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for folder in tree.folders.values():
        for file in folder.pictures:
            found[_key(below(folder.path / file, tree.root), _PICTURES)].append(folder.path / file)
    return found


def _captions(tree: Tree) -> dict[tuple[str, ...], list[Path]]:
    """Caption files within folders for them, those first whose suffix counts first."""
    found: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for suffix in CAPTION_SUFFIXES:
        for folder in tree.folders.values():
            if _CAPTIONS.isdisjoint(map(plain, below(folder.path, tree.root))):
                continue
            for file in folder.files:
                if suffix_of(file) == suffix and suffix_of(file) not in PICTURE_SUFFIXES:
                    found[_key(below(folder.path / file, tree.root), _CAPTIONS)].append(folder.path / file)
    return found
