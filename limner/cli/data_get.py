"""`limner data get`: a known data set from its authors."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.outputs import check_folder
from limner.cli.progress import progress_bar
from limner.core.errors import SettingsError, unknown_name

DESCRIPTION = """Fetch a known data set from its authors, resume what broke off, check it and unpack it.

Without a NAME it lists the sets. The terms of use are shown first; nothing is fetched before --agree. Files that their authors
give out behind a form or a page are named, with where to put them. Without a network, put the files into DIR/downloads.

examples:
  limner data get
  limner data get cub --out sets/cub
  limner data get coco --out sets/coco --agree --mirror /media/disk/coco"""


@dataclass(frozen=True, kw_only=True)
class GetArguments:
    name: Annotated[Positional[str | None], arg(metavar="NAME")] = None
    """The set."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """Where to put it: downloads in DIR/downloads, what is unpacked in DIR/unpacked."""
    agree: bool = False
    """Agree to the terms that are shown, and fetch the set."""
    mirror: Annotated[str | None, arg(metavar="ADDRESS|DIR")] = None
    """An address or a folder that holds the set's files under their names, in place of the official addresses."""
    unchecked: bool = False
    """Take what comes whatever its size and checksum, for a set that was published anew."""


def main(argv: Sequence[str]) -> int:
    """Run `limner data get` and return its exit code."""
    arguments = parse(GetArguments, argv, prog="limner data get", description=DESCRIPTION)
    from limner.data.known_sets import KNOWN, get

    if arguments.name is None:
        for name, known in KNOWN.items():
            by_hand = sum(file.by_hand for file in known.files)
            more = f", {by_hand} of its {len(known.files)} files by hand" if by_hand else ""
            print(f"{name:<10} {known.title} ({_size(known.size)}{more})")
        print("limner data get NAME --out DIR shows the terms of a set")
        return 0
    if arguments.name not in KNOWN:
        raise unknown_name("known set", arguments.name, KNOWN)
    if arguments.out is None:
        raise SettingsError(f"missing --out: for example limner data get {arguments.name} --out sets/{arguments.name}")
    check_folder(arguments.out)
    known = KNOWN[arguments.name]
    print(f"{known.title}\n  page   {known.home}\n  terms  {known.terms}")
    for file in known.files:
        size = f"{file.size:,} bytes" if file.size else "size not published"
        print(f"  file   {file.name}, {size}, {'by hand from ' if file.by_hand else ''}{file.url}")
    if not arguments.agree:
        raise SettingsError(
            f"nothing has been fetched: read the terms above, and pass --agree to accept them and fetch {_size(known.size)}"
        )
    with progress_bar() as progress:
        folder = get(arguments.name, arguments.out, mirror=arguments.mirror, unchecked=arguments.unchecked, progress=progress, tell=print)
    print(f"next: limner data prepare {shlex.quote(str(folder))} --out prepared/{arguments.name} --resolution 64")
    return 0


def _size(size: int) -> str:
    """The files whose size is known, in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
