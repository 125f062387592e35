"""char-CNN-RNN text encoders as their PyTorch port stores them (martinduartemore/char_cnn_rnn_pytorch, `.pth`).

The port keeps weights under names of its own. Its gated network mixes up the rows of a batch, which Limner's does not: there the two agree
on one caption at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from limner.core.errors import CheckpointError
from limner.interop.importer import File, Importer, ImportOptions
from limner.interop.state_dicts import read_state_dict

if TYPE_CHECKING:
    from torch import Tensor

    from limner.text.char_cnn_rnn import CharCnnRnn, CharCnnRnnSettings
    from limner.text.tokenizers import CharacterTokenizer

_PARTS = {
    "convolutions.0": "conv1",
    "convolutions.1": "conv2",
    "convolutions.2": "conv3",
    "reader.input": "rnn.i2h",
    "reader.hidden": "rnn.h2h",
    "reader.input_update": "rnn.i2h_update",
    "reader.hidden_update": "rnn.h2h_update",
    "reader.input_reset": "rnn.i2h_reset",
    "reader.hidden_reset": "rnn.h2h_reset",
    "to_sentence": "emb_proj",
}


@dataclass(frozen=True, kw_only=True)
class Options(ImportOptions):
    """What `limner import char-cnn-rnn` takes."""

    file: File
    """The port's .pth file: a state dict."""
    unknown: Literal["space", "nothing"] = "space"
    """How a character outside the alphabet is read: as a space (the port), or as nothing at all (the authors' ICML demo)."""
    case: Literal["lower", "kept"] = "lower"
    """Whether captions are put in lower case first (the port), or capitals are characters outside the alphabet (the authors' ICML demo)."""


def import_char_cnn_rnn(options: Options) -> list[str]:
    """Write the encoder that a file of the port holds to a folder; returns lines that say what it is and how to use it."""
    from limner.text.char_cnn_rnn import ALPHABET, LENGTH
    from limner.text.saving import save_encoder
    from limner.text.tokenizers import CharacterTokenizer

    unknown = " " if options.unknown == "space" else None
    tokenizer = CharacterTokenizer(ALPHABET, LENGTH, unknown=unknown, lower_case=options.case == "lower")
    encoder = read_char_cnn_rnn(options.file, tokenizer, within=options.within)
    save_encoder(encoder, options.out, card(encoder, options.file))
    return [
        f"{options.out}: {described(encoder.settings, LENGTH)}",
        f"use it: limner train METHOD --data DIR --text.encoder {options.out} --out RUN",
    ]


def port_name(name: str) -> str:
    """What the port calls a tensor of a `CharCnnRnn`."""
    part, _, kind = name.rpartition(".")
    return f"{_PARTS[part]}.{kind}"


def read_char_cnn_rnn(path: Path, tokenizer: CharacterTokenizer | None = None, *, within: Sequence[str] = ()) -> CharCnnRnn:
    """Build the encoder that a file of the port holds, in evaluation mode.

    Widths follow from the tensors' shapes. Whether the third convolution is pooled does not show in them: as published, it is before the
    plain recurrent network and is not before the gated one. within: as `read_state_dict` takes it.
    Raises CheckpointError in one line for any other file.
    """
    from limner.text.char_cnn_rnn import CharCnnRnn

    tensors = read_state_dict(path, lambda tensors: {"conv1.weight", "emb_proj.weight"} <= tensors.keys(), within=within)
    encoder = CharCnnRnn(_settings(tensors, path), tokenizer)
    expected = {port_name(name): (name, value.shape) for name, value in encoder.state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise _not_one(path, f"it lacks '{name}'")
        if name not in expected:
            raise _not_one(path, f"it holds '{name}' too")
        shape, wanted = tensors[name].shape, expected[name][1]
        if shape != wanted:
            raise _not_one(path, f"'{name}' has the shape {tuple(shape)} where {tuple(wanted)} fits the rest")
    encoder.load_state_dict({name: tensors[theirs] for theirs, (name, _) in expected.items()})
    return encoder.eval()


def described(settings: CharCnnRnnSettings, length: int) -> str:
    """An encoder in words, with the published networks that are built like it."""
    from limner.text.char_cnn_rnn import VARIANTS

    names = [name for name, published in VARIANTS.items() if published == settings]
    kind = {"relu": "ReLU", "gru": "gated"}[settings.recurrent]
    like = f"built as published for {' and '.join(names)}" if names else "of no published size"
    return (
        f"char-CNN-RNN {like}: convolutions {', '.join(map(str, settings.convolutions))}; "
        f"{settings.steps(length)} steps of a {kind} recurrent network; sentences of {settings.sentence_width:,} numbers"
    )


def card(encoder: CharCnnRnn, path: Path) -> str:
    """The card of an imported encoder: what it is, where it comes from, how it reads."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    tokenizer = encoder.tokenizer
    others = "are read as spaces" if tokenizer.unknown == " " else "are read as nothing"
    case = "in lower case" if tokenizer.lower_case else "in their own case"
    return f"""# A char-CNN-RNN text encoder, imported

{described(encoder.settings, tokenizer.length)}.
Reed, Akata, Schiele, Lee: *Learning Deep Representations of Fine-grained Visual Descriptions*, CVPR 2016, arXiv:1605.05395.

Imported by `limner import char-cnn-rnn` from `{path.name}` (sha256
`{digest}`). Its weights belong to whoever trained them, under their terms.

Captions are read {case}, {tokenizer.length} characters at most; characters outside the alphabet {others}.
"""


def _settings(tensors: Mapping[str, Tensor], path: Path) -> CharCnnRnnSettings:
    from limner.text.char_cnn_rnn import ALPHABET, CharCnnRnnSettings

    widths = []
    for name, dimensions in (("conv1.weight", 3), ("conv2.weight", 3), ("conv3.weight", 3), ("emb_proj.weight", 2)):
        if name not in tensors:
            raise _not_one(path, f"it lacks '{name}'")
        if tensors[name].ndim != dimensions or 0 in tensors[name].shape:
            raise _not_one(path, f"'{name}' has the shape {tuple(tensors[name].shape)}")
        widths.append(tensors[name].shape[0])
    alphabet = tensors["conv1.weight"].shape[1]
    if alphabet != len(ALPHABET):
        raise _not_one(path, f"it reads {alphabet} characters, the published alphabet has {len(ALPHABET)}")
    first, second, third, sentence = widths
    gated = any(name.startswith("rnn.i2h_update.") for name in tensors)
    return CharCnnRnnSettings(
        convolutions=(first, second, third), recurrent="gru" if gated else "relu", third_pool=not gated, sentence_width=sentence
    )


def _not_one(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is not a char-CNN-RNN of the PyTorch port ({why}): give a .pth file that its sje_train.py saved")


IMPORTER = Importer(
    name="char-cnn-rnn",
    help="the text encoder of Reed et al. (CVPR 2016): a .pth file of the PyTorch port, for --text.encoder",
    description="Turn a char-CNN-RNN of the PyTorch port (martinduartemore/char_cnn_rnn_pytorch) into a text encoder.",
    examples=(
        "limner import char-cnn-rnn flowers.pth --out encoders/flowers",
        "limner train gan-cls --data prepared/flowers --text.encoder encoders/flowers --out runs/flowers",
    ),
    options=Options,
    read=import_char_cnn_rnn,
)
