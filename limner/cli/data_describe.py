"""`limner data describe`: what a set holds, in numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from limner.cli.arguments import parse
from limner.cli.datasets import Looked
from limner.cli.outputs import check_file
from limner.cli.progress import progress_bar
from limner.core.files import write_whole

DESCRIPTION = """Count what a prepared set, or the garden, holds: words, colours and things named, lengths, left and right, classes,
duplicates and near-duplicates of pictures and captions, and what text encoders would cut.

examples:
  limner data describe prepared/mine
  limner data describe prepared/mine --split train --out words.json
  limner data describe prepared/mine --model garden"""


@dataclass(frozen=True, kw_only=True)
class DescribeArguments:
    data: Looked
    split: Annotated[str, arg(metavar="NAME")] = "all"
    """Which pictures: train, val, test or all."""
    count: Annotated[int, arg(metavar="N")] = 12
    """How many words of each list are shown."""
    pictures: Annotated[int, arg(metavar="N")] = 1000
    """How many pictures of a built-in world are looked at, since it has no end."""
    model: Annotated[str | None, arg(metavar="MODEL")] = None
    """A trained model, or garden, to count which captions its text encoder would cut, and which words it does not know."""
    out: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Where to write all numbers."""


def main(argv: Sequence[str]) -> int:
    """Run `limner data describe` and return its exit code."""
    arguments = parse(DescribeArguments, argv, prog="limner data describe", description=DESCRIPTION)
    from limner.model.requests import check_count

    check_count("--count", arguments.count)
    check_count("--pictures", arguments.pictures)
    if arguments.out is not None:
        check_file(arguments.out)
    from limner.data.catalog import BUILT_IN, open_data
    from limner.data.describing import describe, sentences
    from limner.data.prepared import PreparedPictures

    split = "train" if arguments.data in BUILT_IN and arguments.split == "all" else arguments.split
    length = arguments.pictures if arguments.data in BUILT_IN else None
    pictures = open_data(arguments.data, split, 64 if length else 8, length=length)
    names, splits = None, list[tuple[str, int]]()
    if isinstance(pictures, PreparedPictures):
        names = pictures.class_names
        splits = list(pictures.card.splits.items()) if split == "all" else []
    encoder = None
    if arguments.model is not None:
        from limner.cli.models import open_model

        encoder = open_model(arguments.model, "cpu").encoder
    with progress_bar() as progress:
        about = describe(pictures, class_names=names, splits=splits, encoder=encoder, progress=progress)
    print("\n".join(sentences(about, arguments.count)))
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(arguments.out, json.dumps(about.as_json(), ensure_ascii=False, indent=1) + "\n")
        print(f"all numbers: {arguments.out}")
    return 0
