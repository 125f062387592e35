"""A model as one HTML file that paints in a browser: onnxruntime-web, the model and the page in one, opened from disk, without a network.

onnxruntime-web is shipped with the package (`web/`, its licence with it), so that a page is made without a network too.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import msgspec

from limner.core.errors import SettingsError
from limner.export import graphs
from limner.export.description import KEY, Description
from limner.export.functions import captions_for
from limner.model import Model
from limner.text.bag_of_words import BagOfWords
from limner.text.char_cnn_rnn import CharCnnRnn
from limner.text.encoder import TextEncoder
from limner.text.glove import Glove
from limner.text.infersent import MARKS, InferSent
from limner.text.lstm import LSTMEncoder
from limner.text.recurrent import RecurrentEncoder
from limner.text.standardized import Standardized
from limner.text.summary_lstm import LetterTokenizer, SummaryLSTM
from limner.text.tokenizers import WordTokenizer

GARDEN_EXAMPLE = "a large pink flower with five round petals and a golden centre in a meadow"
"""What a page of a garden model shows first."""
SUGGESTED = 4_000
"""Words that a page knows to suggest, the most frequent ones."""


@dataclass(frozen=True)
class Reader:
    """How captions become ids, for the page's script."""

    kind: str
    """ "words" or "characters"."""
    ids: dict[str, int]
    maximum: int
    """Words or characters of a caption that are read."""
    cut: str = "words"
    """A key of the script's CUTS."""
    unknown: int | None = 1
    """The id of what is not known; None where it is left out."""
    limit_first: bool = False
    """Whether words that are left out count towards the maximum."""
    empty: tuple[tuple[str, int], ...] = ()
    """What stands for a caption of which nothing is left."""
    before: tuple[tuple[str, int], ...] = ()
    """What stands before every caption."""
    after: tuple[tuple[str, int], ...] = ()
    lower: bool = True


def reader_of(encoder: TextEncoder) -> Reader | None:
    """The rules of a text encoder; None where it reads nothing. Raises SettingsError for one whose rules the page does not have."""
    if not encoder.reads:
        return None
    if isinstance(encoder, Standardized):
        return reader_of(encoder.encoder)
    if isinstance(encoder, (RecurrentEncoder, BagOfWords, SummaryLSTM)):
        return _word_reader(encoder.tokenizer)
    if isinstance(encoder, LSTMEncoder):
        words = encoder.vocabulary
        ids = {word: place + 1 for place, word in enumerate(words.words)}
        return Reader("words", ids, words.maximum_words, _cut(words.splitting), None, empty=(("\ufffd", 0),))
    if isinstance(encoder, CharCnnRnn):
        letters = encoder.tokenizer
        ids = {letter: place + 1 for place, letter in enumerate(letters.alphabet)}
        unknown = 0 if letters.unknown is None else ids[letters.unknown]
        return Reader("characters", ids, letters.length, unknown=unknown, lower=letters.lower_case)
    if isinstance(encoder, (Glove, InferSent)):
        ids = {word: place + 1 for place, word in enumerate(encoder.table.words)}
        maximum = int(encoder.limit.number) if encoder.limit else 0
        words = encoder.settings.cutting == "words"
        if isinstance(encoder, Glove):
            return Reader("words", ids, maximum, "words" if words else "single spaces", None, True, empty=(("\ufffd", 0),))
        begin, end = (((mark, ids.get(mark, 0)),) for mark in MARKS[encoder.settings.version])
        return Reader("words", ids, maximum, "words" if words else "spaces", 0, before=begin, after=end)
    raise SettingsError(f"the page cannot read captions as this model's text encoder ({encoder.kind}) does: use --to onnx")


def _word_reader(tokenizer: WordTokenizer) -> Reader:
    ids = {word: place + 2 for place, word in enumerate(tokenizer.vocabulary)}
    ids = {**{word: ids[known] for word, known in tokenizer.synonyms.items()}, **ids}
    cut = "letters" if isinstance(tokenizer, LetterTokenizer) else _cut(tokenizer.splitting)
    return Reader("words", ids, tokenizer.maximum_words, cut)


def _cut(splitting: str) -> str:
    return "words at spaces" if splitting == "spaces" else "words"


def page(made: Any, model: Model) -> bytes:
    """The page of an ONNX model that `onnx_file.sealed` made. Raises SettingsError where its captions cannot be read on a page."""
    described = msgspec.json.decode({item.key: item.value for item in made.metadata_props}[KEY], type=Description)
    reader = reader_of(model.encoder)
    parts = {name: part.SerializeToString() for name, part in graphs.taken_apart(made).items()}
    attention = sorted((name for name in described.outputs if name.startswith("attention-")), key=lambda name: int(name.split("-")[1]))
    about = {
        "resolution": described.resolution,
        "length": described.length,
        "parts": list(parts),
        "attention": attention,
        "reader": None if reader is None else asdict(reader),
        "words": list(model.encoder.known_words())[:SUGGESTED],
        "example": _example(model),
    }
    data, method = model.about.get("data"), html.escape(described.method)
    made_of = f"{method}, trained on {html.escape(str(data))}" if data else method
    values = {
        "title": made_of,
        "heading": "Say what to paint" if reader else "Painted from noise",
        "summary": f"{made_of}: pictures of {described.resolution} x {described.resolution} pixels.",
        "style": _text("page.css"),
        "footer": f"Made by Limner {described.limner}. Painted by ONNX Runtime Web {runtime_version()}, copyright Microsoft Corporation, "
        "MIT licence: its text is in this page's source. Pictures and model fall under the terms of what the model was trained on.",
        "about": json.dumps(about, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c"),
        "runtime": base64.b64encode(_bytes("ort.wasm.bundle.min.mjs.gz")).decode(),
        "wasm": base64.b64encode(_bytes("ort-wasm-simd-threaded.wasm.gz")).decode(),
        "parts": "\n".join(
            f'<script type="text/plain" id="part-{name}">{base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()}</script>'
            for name, content in parts.items()
        ),
        "licence": _text("LICENSE.onnxruntime"),
        "script": _text("page.js"),
    }
    pieces = _text("page.html").split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [values[name], rest]
    return "".join(filled).encode()


def _example(model: Model) -> str:
    if not model.reads_text:
        return ""
    if model.can_paint(GARDEN_EXAMPLE) and not model.unknown_words(GARDEN_EXAMPLE):
        return GARDEN_EXAMPLE
    return captions_for(model, 2)[1]


def runtime_version() -> str:
    """The version of onnxruntime-web that pages hold."""
    head = gzip.decompress(_bytes("ort.wasm.bundle.min.mjs.gz"))[:200].decode("utf-8", "replace")
    return head.partition("Web v")[2].split()[0]


def _bytes(name: str) -> bytes:
    return resources.files("limner.export").joinpath("web").joinpath(name).read_bytes()


def _text(name: str) -> str:
    return resources.files("limner.export").joinpath("web").joinpath(name).read_text(encoding="utf-8")
