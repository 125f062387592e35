"""`limner words`: the words that a trained model knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.core.errors import SettingsError

if TYPE_CHECKING:
    from limner.text.encoder import TextEncoder

DESCRIPTION = """List the words that a trained model knows, the most frequent ones of its captions first, one a line.

With words or captions, say of each word whether the model knows it, and which known words an unknown one looks like.
The exit code is then 1 where one is unknown.

examples:
  limner words garden
  limner words runs/mine "a yelow bird"
  limner words runs/mine | head -50"""


@dataclass(frozen=True, kw_only=True)
class WordsArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', an exported .onnx file, or the folder of a run, a model, a matching model or a text encoder."""
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="WORD")] = ()
    """Words or whole captions to look up."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(WordsArguments, argv, prog="limner words", description=DESCRIPTION)
    encoder = open_encoder(arguments.model)
    if not encoder.reads:
        raise SettingsError(f"{arguments.model} reads no text: it makes pictures without a caption, and knows no word")
    if not arguments.words:
        if not (known := encoder.known_words()):
            limit = f", at most {encoder.limit} of a caption" if encoder.limit else ""
            raise SettingsError(
                f"{arguments.model} reads what is smaller than words{limit}, and has no list of them: any word can be written"
            )
        print("\n".join(known))
        return 0
    if not (lines := looked_up(encoder, arguments.words)):
        raise SettingsError("the captions contain no words: give words or captions, or leave them out to list all known words")
    width = max(map(len, lines))
    for word, said in lines.items():
        print(f"{word:<{width}}  {said}")
    return int(any(said != "known" for said in lines.values()))


def looked_up(encoder: TextEncoder, texts: Sequence[str]) -> dict[str, str]:
    """Every word of the texts, and what is to be said of it."""
    from limner.text.words import nearest_words

    known, said = encoder.known_words(), {}
    for text in texts:
        unknown = set(encoder.unknown_words(text))
        for word in encoder.words(text):
            nearest = " or ".join(f"'{other}'" for other in nearest_words(word, known)) if word in unknown else ""
            said[word] = "known" if word not in unknown else f"not known: did you mean {nearest}?" if nearest else "not known"
    return said


def open_encoder(name: str) -> TextEncoder:
    """What reads captions in a folder, or in an exported file."""
    import limner
    from limner.text.saving import load_encoder

    return limner.load(name).encoder if name.lower().endswith(limner.EXPORTED) else load_encoder(name)
