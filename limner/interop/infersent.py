"""InferSent's encoders as their authors store them (facebookresearch/InferSent: `infersent1.pkl`, `infersent2.pkl`, state dicts both)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import UseAppendAction, arg

from limner.core.errors import CheckpointError, SettingsError
from limner.core.files import sha256
from limner.interop.glove import WordOptions
from limner.interop.importer import File, Importer, Progress
from limner.interop.needed_words import card, keep_words, needed_words
from limner.interop.state_dicts import read_state_dict

if TYPE_CHECKING:
    from torch import Tensor

    from limner.text.infersent import InferSent, InferSentSettings
    from limner.text.word_vectors import WordVectors

PREFIX = "enc_lstm."
_WANTED = "give infersent1.pkl or infersent2.pkl of github.com/facebookresearch/InferSent, or a state dict of the same names"


@dataclass(frozen=True, kw_only=True)
class Options(WordOptions):
    """What `limner import infersent` takes."""

    file: File
    """The encoder's weights: a state dict with enc_lstm.weight_ih_l0 and so on."""
    vectors: Annotated[Path, arg(metavar="FILE")]
    """The word vectors that it was trained with: GloVe's 840B for version 1, fastText's crawl for version 2."""
    version: Literal[1, 2]
    """The released version, which the weights do not tell: 1 (with GloVe) or 2 (with fastText)."""
    pooling: Literal["max", "mean"] = "max"
    """How a sentence is made of the states at its words: their maximum, as published, or their mean."""
    padding: Literal["left-out", "in-the-maximum"] = "left-out"
    """Whether the zeros after shorter captions of a batch take part in the maximum, as they do in the released version 1, where a caption's
    embedding depends on its neighbours."""
    within: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="KEY")] = ()
    """The entry of the file that holds the weights, where several fit; dots lead further in. May be given several times."""


def import_infersent(options: Options, progress: Progress | None = None) -> list[str]:
    """Write InferSent's encoder with the vectors of the needed words to a folder; returns lines on what is there and how to use it."""
    from limner.text.infersent import MARKS, InferSentSettings
    from limner.text.saving import save_encoder
    from limner.text.word_vectors import cut_caption

    state = read_weights(options.file, within=options.within)
    needed = needed_words(lambda text: cut_caption(text, options.cutting), options.data, options.vocabulary, options.minimum_count)
    kept = keep_words(
        options.vectors,
        options.format,
        needed,
        cutting=options.cutting,
        first=options.first,
        marks=MARKS[options.version],
        progress=progress,
    )
    settings = InferSentSettings(
        version=options.version,
        hidden=hidden_of(state),
        pooling=options.pooling,
        padding="left out" if options.padding == "left-out" else "in the maximum",
        cutting=options.cutting,
        maximum_words=options.maximum_words,
    )
    encoder = built(options.file, state, kept.table, settings)
    reads = (
        f"InferSent, version {settings.version}: one bidirectional LSTM over word vectors, {settings.pooling} over time, "
        f"{encoder.sentence_width:,} numbers a sentence; its weights are those of `{options.file.name}` (sha256 `{sha256(options.file)}`), "
        "whose terms, where it is the released file, are CC BY-NC 4.0: no commercial use."
    )
    save_encoder(encoder, options.out, card("InferSent, imported", kept, options.vectors, reads))
    return [
        f"{options.out}: InferSent, version {settings.version}, {encoder.sentence_width:,} numbers a sentence",
        *kept.lines,
        f"use it: limner train METHOD --data DIR --text.encoder {options.out} --out RUN",
    ]


def read_weights(path: Path, *, within: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of the LSTM of a file, under PyTorch's names for them. Raises CheckpointError for any other file."""
    tensors = read_state_dict(path, lambda tensors: f"{PREFIX}weight_ih_l0" in tensors, within=within, wanted=_WANTED)
    state = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    names = {f"{part}_{way}_l0{back}" for part in ("weight", "bias") for way in ("ih", "hh") for back in ("", "_reverse")}
    if state.keys() != names:
        wrong = sorted(state.keys() ^ names)[0]
        raise CheckpointError(
            f"{path} is not an InferSent encoder ('{PREFIX}{wrong}' is {'missing' if wrong in names else 'unknown'}): {_WANTED}"
        )
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if state[name].ndim != 2:
            raise CheckpointError(f"{path} is not an InferSent encoder ('{PREFIX}{name}' is not a matrix): {_WANTED}")
    return state


def hidden_of(state: Mapping[str, Tensor]) -> int:
    """States in each direction."""
    return int(state["weight_hh_l0"].shape[-1])


def built(path: Path, state: Mapping[str, Tensor], table: WordVectors, settings: InferSentSettings) -> InferSent:
    """The encoder with these weights, in evaluation mode. Raises SettingsError for vectors of another width than it was trained with."""
    from limner.text.infersent import InferSent

    width = int(state["weight_ih_l0"].shape[-1])
    if width != table.width:
        raise SettingsError(
            f"{path} reads vectors of {width} numbers, and these have {table.width}: give the file that it was trained with"
        )
    encoder = InferSent(table, settings)
    try:
        encoder.reader.load_state_dict(dict(state))
    except RuntimeError as error:
        detail = " ".join(str(error).split("\n\t")[1:2]).strip()
        raise CheckpointError(f"{path} is not an InferSent encoder ({detail}): {_WANTED}") from error
    return encoder.eval()


IMPORTER = Importer(
    name="infersent",
    help="the sentence encoders of Conneau et al. (EMNLP 2017): infersent1.pkl, infersent2.pkl with their word vectors",
    description="Turn InferSent's encoder (facebookresearch/InferSent) and its word vectors into a text encoder.",
    examples=(
        "limner import infersent infersent1.pkl --version 1 --vectors glove.840B.300d.txt --data prepared/mine --out encoders/infersent",
        "limner train df-gan --data prepared/mine --text.encoder encoders/infersent --out runs/mine",
    ),
    options=Options,
    read=import_infersent,
)
