"""AttnGAN's text and image encoders as the authors store them (taoxugit/AttnGAN: `text_encoder200.pth`, `image_encoder200.pth`)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from limner.core.errors import CheckpointError
from limner.core.files import sha256
from limner.interop.captions_pickle import read_vocabulary
from limner.interop.importer import Importer, ImportOptions
from limner.interop.state_dicts import read_state_dict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from limner.matching.models.damsm import DAMSM
    from limner.text.lstm import LSTMEncoder

_HEADS = {"emb_features.": "to_regions.", "emb_cnn_code.": "to_picture."}


@dataclass(frozen=True, kw_only=True)
class Options(ImportOptions):
    """What `limner import damsm` takes."""

    text: Annotated[Positional[Path], arg(metavar="TEXT_ENCODER")]
    """The authors' text_encoderN.pth: a state dict."""
    image: Annotated[Positional[Path | None], arg(metavar="IMAGE_ENCODER")] = None
    """Their image_encoderN.pth: makes a matching model. Without it the text encoder alone is kept."""
    words: Annotated[Path, arg(metavar="FILE")]
    """The vocabulary that they were trained with: its captions.pickle, or a text of one word a line, that of id 1 first."""
    maximum_words: Annotated[int, arg(metavar="N")] = 18
    """Words of a caption that are read."""
    resize: Literal["corners", "half-pixel"] = "corners"
    """How pictures are brought to 299 px: as PyTorch did when the weights were made, or as it does today."""


def import_damsm(options: Options) -> list[str]:
    """Write a text encoder, or with the image encoder a matching model; returns lines that say what it is and how to use it."""
    from limner.matching.saving import save_matching
    from limner.text.saving import save_encoder

    text, image, out, words = options.text, options.image, options.out, read_words(options.words)
    if image is None:
        encoder = read_text_encoder(text, words, options.maximum_words, within=options.within)
        save_encoder(encoder, out, text_card(encoder, text))
        made = f"a text encoder of {len(words):,} words, {encoder.sentence_width} numbers a sentence"
    else:
        model = read_damsm(text, image, words, options.maximum_words, options.resize == "corners", within=options.within)
        save_matching(out, "damsm", model, about(text, image), model_card(model, text, image))
        made = f"a matching model of {len(words):,} words; score it: limner evaluate {shlex.quote(str(out))} --data DIR"
    return [f"{out}: {made}", f"use it: limner train METHOD --data DIR --text.encoder {out} --out RUN"]


def read_words(path: Path) -> list[str]:
    """The words of a vocabulary file in the order of their ids from 1, as `read_vocabulary` finds them."""
    return read_vocabulary(path)


def read_text_encoder(
    path: Path, words: Sequence[str] | None = None, maximum_words: int = 18, *, within: Sequence[str] = ()
) -> LSTMEncoder:
    """The text encoder that a file of the authors holds, in evaluation mode.

    words: its vocabulary in the order of ids from 1; without it the encoder reads ids alone (`LSTMEncoder.read`).
    within: as `read_state_dict` takes it. Raises CheckpointError for any other file, and where the words are not as many as the file's.
    """
    from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
    from limner.text.words import splitting_of

    tensors = read_state_dict(path, lambda tensors: {"encoder.weight", "rnn.weight_hh_l0"} <= tensors.keys(), within=within)
    for name, dimensions in (("encoder.weight", 2), ("rnn.weight_hh_l0", 2)):
        if name not in tensors or tensors[name].ndim != dimensions:
            raise _not_one(path, "text encoder", f"it has no matrix '{name}'")
    ids, embedding = tensors["encoder.weight"].shape
    if words is not None and len(words) != ids - 1:
        raise CheckpointError(
            f"{path} knows {ids - 1:,} words besides padding and the list has {len(words):,}: give the vocabulary that it was trained with"
        )
    named = [f"word {number}" for number in range(1, ids)] if words is None else words  # with a space inside, no caption's word is one
    settings = LSTMSettings(word_embedding=embedding, width=2 * tensors["rnn.weight_hh_l0"].shape[1])
    encoder = LSTMEncoder(Vocabulary(named, maximum_words, splitting_of(named)), settings)
    renamed = {name.replace("encoder.", "embedding.", 1).replace("rnn.", "reader.", 1): value for name, value in tensors.items()}
    _fill(encoder, renamed, path, "text encoder")
    return encoder.eval()


def read_damsm(
    text: Path, image: Path, words: Sequence[str], maximum_words: int = 18, align_corners: bool = True, *, within: Sequence[str] = ()
) -> DAMSM:
    """Text and image encoder together as a matching model that holds its Inception-v3, in evaluation mode."""
    from limner.core.trainable import Conditions
    from limner.matching.models.damsm import DAMSM, INSIDE, DAMSMSettings

    encoder = read_text_encoder(text, words, maximum_words, within=within)
    settings = DAMSMSettings(
        pictures=INSIDE,
        align_corners=align_corners,
        width=encoder.sentence_width,
        word_embedding=encoder.settings.word_embedding,
        maximum_words=maximum_words,
    )
    model = DAMSM(settings, Conditions(resolution=256, sentence_width=settings.width, word_width=settings.width), encoder)
    renamed = {}
    heads = {"emb_features.weight", "emb_cnn_code.weight"}
    for name, value in read_state_dict(image, lambda tensors: heads <= tensors.keys(), within=within).items():
        if name.startswith(("AuxLogits.", "fc.")):
            continue
        head = next((ours + name.removeprefix(theirs) for theirs, ours in _HEADS.items() if name.startswith(theirs)), None)
        renamed[head or f"network.{name}"] = value
    _fill(model.picture_side, renamed, image, "image encoder")
    model.eval().requires_grad_(False)
    return model


def about(text: Path, image: Path) -> dict[str, str]:
    """Where a model comes from: the two files and their hashes."""
    return {"imported_from": f"{text.name}, {image.name}", "text_sha256": sha256(text), "image_sha256": sha256(image)}


def text_card(encoder: LSTMEncoder, path: Path) -> str:
    """The card of an imported text encoder."""
    return f"""# AttnGAN's text encoder, imported

A bidirectional LSTM: {len(encoder.vocabulary.words):,} words, {encoder.sentence_width} numbers a word and a sentence.
Xu et al.: *AttnGAN*, CVPR 2018, arXiv:1711.10485.

Imported by `limner import damsm` from `{path.name}` (sha256
`{sha256(path)}`). Its weights belong to whoever trained them, under their terms.

Captions are cut after {encoder.vocabulary.maximum_words} words; words that the vocabulary lacks are left out.
"""


def model_card(model: DAMSM, text: Path, image: Path) -> str:
    """The card of an imported matching model."""
    words = model.encoder.config()["vocabulary"]["words"]
    resize = "by their corners, as PyTorch before 0.4 did" if model.settings.align_corners else "by half pixels, as PyTorch does today"
    return f"""# DAMSM, imported

Says how well a caption fits a picture: a bidirectional LSTM over {len(words):,} words,
an Inception-v3 that this folder holds, {model.settings.width} numbers. Xu et al.: *AttnGAN*, CVPR 2018, arXiv:1711.10485.

Imported by `limner import damsm` from `{text.name}` (sha256 `{sha256(text)}`) and `{image.name}`
(sha256 `{sha256(image)}`). Its weights belong to whoever trained them, under their terms.

Pictures are brought to 299 px {resize}.
Captions are cut after {model.settings.maximum_words} words; words that the vocabulary lacks are left out.
"""


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path, what: str) -> None:
    expected = module.state_dict()
    given = dict(tensors)
    for name, value in expected.items():
        if name.endswith("num_batches_tracked"):  # old files lack it
            given.setdefault(name, value)
    for name in sorted(expected.keys() | given.keys()):
        if name not in given:
            raise _not_one(path, what, f"it lacks '{name}'")
        if name not in expected:
            raise _not_one(path, what, f"it holds '{name}' too")
        if given[name].shape != expected[name].shape:
            raise _not_one(path, what, f"'{name}' is {list(given[name].shape)} where {list(expected[name].shape)} fits the rest")
    module.load_state_dict(given)


def _not_one(path: Path, what: str, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is not the {what} of AttnGAN ({why}): give a .pth file that the authors' pretrain_DAMSM.py saved")


IMPORTER = Importer(
    name="damsm",
    help="AttnGAN's text encoder, alone or with its image encoder: text_encoderN.pth, image_encoderN.pth",
    description="""Turn AttnGAN's encoders (taoxugit/AttnGAN) into a text encoder or, both together, into a matching model.
The words are part of the weights: give the captions.pickle that belongs to them, or its words one a line, in the order of their ids
from 1.""",
    examples=(
        "limner import damsm text_encoder200.pth --words captions.pickle --out encoders/birds",
        "limner import damsm text_encoder200.pth image_encoder200.pth --words captions.pickle --out models/birds-damsm",
    ),
    options=Options,
    read=import_damsm,
)
