"""The readers of known layouts, and which of them a folder is for, or nearest to."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from limner.data.readers.apart import Apart
from limner.data.readers.celeba import CelebA, MultiModalCelebA
from limner.data.readers.class_folders import ClassFolders
from limner.data.readers.coco import CocoCaptions, Karpathy
from limner.data.readers.flickr import Flickr
from limner.data.readers.reader import Reader, recognises
from limner.data.tree import Tree
from limner.data.zipped import laid_out

READERS: Sequence[Reader] = (MultiModalCelebA(), CelebA(), ClassFolders(), Karpathy(), CocoCaptions(), Flickr(), Apart())
"""In the order in which they are asked: those that know more of a layout come first."""


def reader_for(tree: Tree) -> Reader | None:
    """The reader that recognises a folder.

    None where none does, and where the owner has said more himself: by a table that is read as it is, or by captions next to most pictures.
    """
    folders = tree.folders.values()
    captioned = sum(len(folder.pairing.texts) for folder in folders)
    if any(folder.tables for folder in folders) or (captioned and 2 * captioned >= sum(len(folder.pictures) for folder in folders)):
        return None
    return next((reader for reader in READERS if recognises(reader, tree)), None)


def nearest(sources: Sequence[Path]) -> str | None:
    """Which known layout sources that cannot be used come nearest to, and what they lack for it; None where none is near."""
    for source in sources:
        if source.is_dir():
            near = _nearest(Tree(source), source)
        elif zipfile.is_zipfile(source):
            with laid_out(source) as laid:
                near = _nearest(Tree(laid.root), source)
        else:
            continue
        if near:
            return near
    return None


def _nearest(tree: Tree, source: Path) -> str | None:
    for reader in READERS:
        marks = reader.marks(tree)
        lacks = [mark for mark, there in marks.items() if not there]
        if lacks and next(iter(marks)) not in lacks:  # the first mark is what no other layout has
            return f"{source} is nearest to {reader.name}, and lacks {' and '.join(lacks)}"
    return None
