"""`limner explore redescribe`: what a model reads in its own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.explore.splits import check_png
from limner.cli.models import Device, open_model
from limner.core.files import save_whole

DESCRIPTION = """Paint captions and let the model's captioner say what the pictures show: both sentences, and how far they agree,
which is the share of the caption's words, and of its pairs of neighbouring words, that were said again.

examples:
  limner explore redescribe runs/mirrorgan "a red flower with five round petals" --out read.png
  limner explore redescribe runs/mirrorgan "a white flower" "a blue flower" --count 4 --out read.png
  limner explore redescribe runs/attngan "a red flower" --reader runs/mirrorgan --out read.png"""


@dataclass(frozen=True, kw_only=True)
class RedescribeArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder or model folder that paints."""
    captions: Annotated[Positional[tuple[str, ...]], arg(metavar="CAPTION ...")]
    """What to paint, each caption in quotes."""
    reader: Annotated[str | None, arg(metavar="MODEL")] = None
    """Whose captioner reads the pictures: a run or model folder of mirrorgan. By default the model's own."""
    count: Annotated[int, arg(metavar="N")] = 1
    """Pictures of each caption."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The noise."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The picture to write."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(RedescribeArguments, argv, prog="limner explore redescribe", description=DESCRIPTION)
    from limner.core.errors import SettingsError
    from limner.explore.redescribe import agreement, redescribe, redescribed_page

    check_png(arguments.out)
    if not arguments.captions:
        raise SettingsError("no caption: say what to paint, in quotes")
    model = open_model(arguments.model, arguments.device)
    reader = None if arguments.reader is None else open_model(arguments.reader, arguments.device)
    found = redescribe(model, arguments.captions, count=arguments.count, seed=arguments.seed, reader=reader)
    for one in found:
        print(f"{one.caption}\n  read: {one.said or '(nothing)'}\n  {agreement(one)}")
    if len(found) > 1:
        words, pairs = (sum(getattr(one, name) for one in found) / len(found) for name in ("words", "pairs"))
        print(f"mean: {words:.0%} of words, {pairs:.0%} of pairs")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(redescribed_page(found), arguments.out)
    print(arguments.out)
    return 0
