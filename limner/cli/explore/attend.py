"""`limner explore attend`: where the generator looked for each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.explore.splits import check_png
from limner.cli.models import Device, open_model
from limner.cli.outputs import check_file
from limner.core.errors import SettingsError
from limner.core.files import save_whole, write_whole

DESCRIPTION = """Show where a generator with attention to words looked for each word of a caption: a row for each of its stages, a column
for each word, bright where it looked. A web page of the same name is written next to the picture.

examples:
  limner explore attend runs/attngan "a red flower with five round petals" --out attend.png
  limner explore attend models/birds "a small bird with a yellow belly" --seed 3 --out attend.png"""


@dataclass(frozen=True, kw_only=True)
class AttendArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder or model folder of a method that attends to words, such as attngan."""
    caption: Annotated[Positional[str], arg(metavar="CAPTION")]
    """What to paint, in quotes."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The noise."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The picture; a page with the same name and .html is written too."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(AttendArguments, argv, prog="limner explore attend", description=DESCRIPTION)
    from limner.explore.attend import attend, attention_grid, attention_page

    check_png(arguments.out)
    page = arguments.out.with_suffix(".html")
    if page.is_dir():
        raise SettingsError(f"--out {arguments.out}: its page would be {page}, which is a folder; give another name")
    check_file(page)
    attended = attend(open_model(arguments.model, arguments.device), arguments.caption, seed=arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(attention_grid(attended), arguments.out)
    write_whole(page, attention_page([attended]))
    print(f"{arguments.out}\n{page}")
    return 0
