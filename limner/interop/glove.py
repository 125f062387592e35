"""Word vectors as a text encoder: files of GloVe, word2vec and fastText, cut down to the words that captions need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from limner.core.errors import SettingsError
from limner.interop.importer import File, Importer, Place, Progress
from limner.interop.needed_words import card, keep_words, needed_words
from limner.interop.word_vectors import Format


@dataclass(frozen=True, kw_only=True)
class WordOptions(Place):
    """Which words of a file of word vectors are kept, and how captions are cut."""

    data: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The data whose captions' words are kept, of all its splits: a prepared folder, or garden."""
    vocabulary: Annotated[Path | None, arg(metavar="FILE")] = None
    """A text file of more words to keep, one a line."""
    first: Annotated[int, arg(metavar="N")] = 0
    """Also keep the file's first N words, the most frequent ones of its language, for captions that are not written yet."""
    minimum_count: Annotated[int, arg(metavar="N")] = 1
    """Leave out words that the captions hold less often; 1 leaves out none."""
    format: Format = "auto"
    """What the file is: found by its first bytes; GloVe's text; word2vec's text or binary form; fastText's .vec. Any may be gzipped."""
    cutting: Literal["words", "spaces"] = "words"
    """How captions are cut: into words in lower case without punctuation, or at spaces alone, as in the code that the encoder is from."""
    maximum_words: Annotated[int, arg(metavar="N")] = 100
    """Words of a caption that are read."""

    def __post_init__(self) -> None:
        for name, least in (("first", 0), ("minimum_count", 1), ("maximum_words", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"--{name.replace('_', '-')} is {getattr(self, name)}, but must be at least {least}")
        if self.data is None and self.vocabulary is None and not self.first:
            raise SettingsError("no word is needed: give --data DIR, --vocabulary FILE or --first N")
        if self.data is None and self.minimum_count > 1:
            raise SettingsError("--minimum-count counts words of captions: give --data DIR, or leave it out")


@dataclass(frozen=True, kw_only=True)
class Options(WordOptions):
    """What `limner import glove` takes."""

    file: File
    """A file of word vectors, such as glove.6B.100d.txt, GoogleNews-vectors-negative300.bin or wiki.en.vec."""
    pooling: Literal["sum", "mean"] = "sum"
    """Whether a sentence is the sum of its words' vectors, as in keras-text-to-image, or their mean."""


def import_glove(options: Options, progress: Progress | None = None) -> list[str]:
    """Write a text encoder of word vectors to a folder; returns lines that say what was kept, what is missing, and how to use it."""
    from limner.text.glove import Glove, GloveSettings
    from limner.text.saving import save_encoder
    from limner.text.word_vectors import WordVectors

    settings = GloveSettings(pooling=options.pooling, cutting=options.cutting, maximum_words=options.maximum_words)
    cutter = Glove(WordVectors.empty({"words": [], "width": 1}), settings)
    needed = needed_words(cutter.words, options.data, options.vocabulary, options.minimum_count)
    kept = keep_words(options.file, options.format, needed, cutting=options.cutting, first=options.first, progress=progress)
    encoder = Glove(kept.table, settings).eval()
    cut = "in lower case without punctuation" if options.cutting == "words" else "at single spaces, in lower case, with punctuation"
    reads = (
        f"A sentence of {encoder.sentence_width} numbers is the {options.pooling} of the vectors of its words, of which "
        f"{options.maximum_words} are read; captions are cut {cut}; words without a vector are left out."
    )
    save_encoder(encoder, options.out, card("A text encoder of word vectors", kept, options.file, reads))
    return [
        f"{options.out}: a text encoder: the {options.pooling} of word vectors, {encoder.sentence_width} numbers a sentence",
        *kept.lines,
        f"use it: limner train METHOD --data DIR --text.encoder {options.out} --out RUN",
    ]


IMPORTER = Importer(
    name="glove",
    help="word vectors as a text encoder: files of GloVe, word2vec and fastText, for --text.encoder",
    description="Turn a file of word vectors into a text encoder that knows the words of your captions.",
    examples=(
        "limner import glove glove.6B.100d.txt --data prepared/mine --out encoders/glove",
        "limner import glove wiki.en.vec --data prepared/mine --first 20000 --pooling mean --out encoders/fasttext",
        "limner train keras-text-to-image --data prepared/mine --text.encoder encoders/glove --out runs/mine",
    ),
    options=Options,
    read=import_glove,
)
