"""`limner explore story`: a picture for each sentence of a story."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, open_model
from limner.cli.outputs import check_file
from limner.core.errors import SettingsError
from limner.core.files import save_whole, write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DESCRIPTION = """Tell a story: one picture for each sentence, as a strip (.png), an animation (.gif) or a page (.html).

A method that tells stories, such as storygan, wants as many sentences as the stories it was trained on have. Any other one paints frame
by frame, each from all sentences so far and from the same noise. With --swap a second row shows the story with names exchanged and
from the same noise: exactly the two characters should change.

examples:
  limner explore story runs/storygan "Rosa is a large red flower." "She stands in a meadow." "Iris comes." "It is night." --out story.png
  limner explore story runs/storygan --file story.txt --swap "Rosa=Iris" --count 3 --out story.html"""


@dataclass(frozen=True, kw_only=True)
class StoryArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder, a model folder or a shipped name such as 'garden'."""
    sentences: Annotated[Positional[tuple[str, ...]], arg(metavar="SENTENCE")] = ()
    """The story, each sentence in quotes."""
    file: Annotated[Path | None, arg(metavar="FILE.txt")] = None
    """A text file with the story, a sentence on each line, in place of sentences."""
    swap: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="A=B")] = ()
    """Tell the story again with these names exchanged. May be given several times."""
    count: Annotated[int, arg(name="count", aliases=("-n",), metavar="N")] = 1
    """Tellings, each from a noise of its own."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The noise: the same story and seed give the same pictures."""
    out: Annotated[Path, arg(metavar="FILE.png|FILE.gif|FILE.html")]
    """The strip, animation or page."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(StoryArguments, argv, prog="limner explore story", description=DESCRIPTION)
    from limner.explore.story import animation, check_format, read_story, save_animation, strip, swaps_of, tell

    check_format(arguments.out)
    check_file(arguments.out)
    if arguments.file is not None and arguments.sentences:
        raise SettingsError("give sentences or --file, not both")
    sentences = list(arguments.sentences) if arguments.file is None else read_story(arguments.file)
    if not sentences:
        raise SettingsError('there is no story: give a "SENTENCE" in quotes for each picture, or --file')
    model = open_model(arguments.model, arguments.device)
    swaps = swaps_of(model, sentences, arguments.swap)
    tellings = tell(model, sentences, swaps, count=arguments.count, seed=arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    ending = arguments.out.suffix.lower()
    if ending == ".gif":
        save_animation(animation(tellings), arguments.out)
    elif ending == ".png":
        save_whole(strip(tellings), arguments.out)
    else:
        write_whole(arguments.out, page(arguments, tellings, swaps))
    print(arguments.out)
    return 0


def page(arguments: StoryArguments, tellings: Sequence[tuple[list[str], NDArray[np.uint8]]], swaps: Sequence[tuple[str, str]]) -> str:
    """The story as a page that needs nothing but itself: a table for each telling, with a sentence under each picture."""
    from PIL import Image

    from limner.report.html import document, header, image, scrolling, text

    exchanged = ", ".join(f"{before} and {after}" for before, after in swaps)
    titles = ["The story", f"The same with {exchanged} exchanged"]
    sections = [
        header(
            "A story",
            f"Told by {arguments.model}, a picture for each sentence.",
            {"sentences": str(len(tellings[0][0])), "tellings": str(arguments.count), "seed": str(arguments.seed)},
        )
    ]
    for title, (sentences, pictures) in zip(titles, tellings, strict=False):
        side = max(144, pictures.shape[2])
        rows = [
            "".join(
                f"<td>{image(Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS), sentence)}</td>"
                for frame, sentence in zip(row, sentences, strict=True)
            )
            for row in pictures
        ]
        said = "".join(f'<th scope="col" style="max-width:{side}px">{text(sentence)}</th>' for sentence in sentences)
        table = f"<table><thead><tr>{said}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"
        sections.append(f"<section><h2>{text(title)}</h2>{scrolling(title, table)}</section>")
    return document("A story", sections)
