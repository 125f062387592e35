"""`limner import`: checkpoints of other projects become Limner's own folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.core.errors import CheckpointError, unknown_name

HELP = """usage: limner import KIND FILE --out DIR [OPTIONS]

Turn a checkpoint of the authors' code, or of a port of it, into a folder that Limner reads.

  char-cnn-rnn  the text encoder of Reed et al. (CVPR 2016): a .pth file of the PyTorch port, for --text.encoder
  dcgan-cls     generator and discriminator of the PyTorch port of GAN-CLS: gen_N.pth, disc_N.pth
  clip          OpenAI's or open_clip's weights of CLIP: a matching model, which also classifies pictures
  damsm         AttnGAN's text encoder, alone or with its image encoder: text_encoderN.pth, image_encoderN.pth

example:
  limner import char-cnn-rnn flowers.pth --out encoders/flowers
  limner import dcgan-cls gen_200.pth --encoder encoders/flowers --out models/flowers
  limner import clip ViT-B-32.pt --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/clip"""

CHAR_CNN_RNN = """Turn a char-CNN-RNN of the PyTorch port (martinduartemore/char_cnn_rnn_pytorch) into a text encoder.

examples:
  limner import char-cnn-rnn flowers.pth --out encoders/flowers
  limner train gan-cls --data prepared/flowers --text.encoder encoders/flowers --out runs/flowers"""


DCGAN_CLS = """Turn networks of the PyTorch port (aelnouby/Text-to-Image-Synthesis) into Limner's dcgan-cls.

examples:
  limner import dcgan-cls gen_200.pth --encoder encoders/flowers --out models/flowers
  limner import dcgan-cls gen_200.pth disc_200.pth --out networks/flowers"""

CLIP = """Turn CLIP weights of OpenAI or open_clip into a matching model.

examples:
  limner import clip ViT-B-32.pt --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/clip
  limner import clip open_clip_model.safetensors --activation gelu --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/laion
  limner explore classify models/clip picture.jpg --labels cat dog"""

DAMSM = """Turn AttnGAN's encoders (taoxugit/AttnGAN) into a text encoder or, both together, into a matching model.
The words are part of the weights: give those of the captions.pickle that belongs to them, one a line, in the order of their ids from 1.

examples:
  limner import damsm text_encoder200.pth --words words.txt --out encoders/birds
  limner import damsm text_encoder200.pth image_encoder200.pth --words words.txt --out models/birds-damsm"""


@dataclass(frozen=True, kw_only=True)
class CharCnnRnnArguments:
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """The port's .pth file: a state dict."""
    out: Annotated[Path, arg(metavar="DIR")]
    """The folder to write; it must not exist yet."""
    unknown: Literal["space", "nothing"] = "space"
    """How a character outside the alphabet is read: as a space (the port), or as nothing at all (the authors' ICML demo)."""
    case: Literal["lower", "kept"] = "lower"
    """Whether captions are put in lower case first (the port), or capitals are characters outside the alphabet (the authors' ICML demo)."""


@dataclass(frozen=True, kw_only=True)
class DCGANCLSArguments:
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...")]
    """The port's gen_N.pth, disc_N.pth or both."""
    out: Annotated[Path, arg(metavar="DIR")]
    """The folder to write; it must not exist yet."""
    encoder: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The text encoder that the generator was trained with: makes a model that paints captions. Without it the networks alone are kept."""
    objective: Literal["cross-entropy", "wasserstein"] = "cross-entropy"
    """Which of the port's types trained them: gan_cls or wgan_cls."""


@dataclass(frozen=True, kw_only=True)
class ClipArguments:
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """OpenAI's archive (ViT-B-32.pt), or open_clip's .pt, .bin or .safetensors."""
    out: Annotated[Path, arg(metavar="DIR")]
    """The folder to write; it must not exist yet."""
    vocabulary: Annotated[str | None, arg(metavar="FILE|none")] = None
    """bpe_simple_vocab_16e6.txt.gz of github.com/openai/CLIP, by default the one beside FILE; `none`: the model reads no captions."""
    activation: Literal["quick-gelu", "gelu"] | None = None
    """The nonlinearity that the weights were trained with; known for OpenAI's archives, to be told for others."""


@dataclass(frozen=True, kw_only=True)
class DAMSMArguments:
    text: Annotated[Positional[Path], arg(metavar="TEXT_ENCODER")]
    """The authors' text_encoderN.pth: a state dict."""
    image: Annotated[Positional[Path | None], arg(metavar="IMAGE_ENCODER")] = None
    """Their image_encoderN.pth: makes a matching model. Without it the text encoder alone is kept."""
    words: Annotated[Path, arg(metavar="FILE")]
    """The vocabulary that they were trained with: one word a line, that of id 1 first."""
    out: Annotated[Path, arg(metavar="DIR")]
    """The folder to write; it must not exist yet."""
    maximum_words: Annotated[int, arg(metavar="N")] = 18
    """Words of a caption that are read."""
    resize: Literal["corners", "half-pixel"] = "corners"
    """How pictures are brought to 299 px: as PyTorch did when the weights were made, or as it does today."""


def main(argv: Sequence[str]) -> int:
    """Run `limner import KIND ...` and return its exit code."""
    kinds = {"char-cnn-rnn": char_cnn_rnn, "dcgan-cls": dcgan_cls, "clip": clip, "damsm": damsm}
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if argv[0] not in kinds:
        raise unknown_name("kind of file to import", argv[0], kinds)
    return kinds[argv[0]](argv[1:])


def char_cnn_rnn(argv: Sequence[str]) -> int:
    """`limner import char-cnn-rnn`: a file of the port to a text encoder folder."""
    arguments = parse(CharCnnRnnArguments, argv, prog="limner import char-cnn-rnn", description=CHAR_CNN_RNN)
    refuse_existing(arguments.out)
    from limner.interop.char_cnn_rnn import card, described, read_char_cnn_rnn
    from limner.text.char_cnn_rnn import ALPHABET, LENGTH
    from limner.text.saving import save_encoder
    from limner.text.tokenizers import CharacterTokenizer

    unknown = " " if arguments.unknown == "space" else None
    tokenizer = CharacterTokenizer(ALPHABET, LENGTH, unknown=unknown, lower_case=arguments.case == "lower")
    encoder = read_char_cnn_rnn(arguments.file, tokenizer)
    save_encoder(encoder, arguments.out, card(encoder, arguments.file))
    print(f"{arguments.out}: {described(encoder.settings, LENGTH)}")
    print(f"use it: limner train METHOD --data DIR --text.encoder {arguments.out} --out RUN")
    return 0


def dcgan_cls(argv: Sequence[str]) -> int:
    """`limner import dcgan-cls`: files of the port to a model folder, or to one of networks."""
    arguments = parse(DCGANCLSArguments, argv, prog="limner import dcgan-cls", description=DCGAN_CLS)
    refuse_existing(arguments.out)
    from limner.interop.dcgan_cls import import_dcgan_cls
    from limner.training.text import named_encoder

    encoder = named_encoder(arguments.encoder) if arguments.encoder else None
    import_dcgan_cls(arguments.files, arguments.out, encoder, arguments.objective)
    if encoder is None:
        print(f"{arguments.out}: the networks, without a text encoder; a model that paints captions needs --encoder")
    else:
        print(f'{arguments.out}: a model; use it: limner generate {arguments.out} "..." --out pictures')
    return 0


def clip(argv: Sequence[str]) -> int:
    """`limner import clip`: a file of OpenAI's or open_clip's to the folder of a matching model."""
    arguments = parse(ClipArguments, argv, prog="limner import clip", description=CLIP)
    refuse_existing(arguments.out)
    from limner.interop.clip import described, import_clip

    model = import_clip(arguments.file, arguments.out, arguments.vocabulary, arguments.activation)
    print(f"{arguments.out}: {described(model)}")
    print(f"use it: limner explore classify {arguments.out} PICTURE --labels cat dog")
    return 0


def damsm(argv: Sequence[str]) -> int:
    """`limner import damsm`: files of AttnGAN's authors to a text encoder folder, or to that of a matching model."""
    arguments = parse(DAMSMArguments, argv, prog="limner import damsm", description=DAMSM)
    refuse_existing(arguments.out)
    from limner.interop import damsm as files
    from limner.matching.saving import save_matching
    from limner.text.saving import save_encoder

    words = files.read_words(arguments.words)
    if arguments.image is None:
        encoder = files.read_text_encoder(arguments.text, words, arguments.maximum_words)
        save_encoder(encoder, arguments.out, files.text_card(encoder, arguments.text))
        print(f"{arguments.out}: a text encoder of {len(words):,} words, {encoder.sentence_width} numbers a sentence")
    else:
        corners = arguments.resize == "corners"
        model = files.read_damsm(arguments.text, arguments.image, words, arguments.maximum_words, align_corners=corners)
        card = files.model_card(model, arguments.text, arguments.image)
        save_matching(arguments.out, "damsm", model, files.about(arguments.text, arguments.image), card)
        print(f"{arguments.out}: a matching model of {len(words):,} words; score it: limner evaluate {arguments.out} --data DIR")
    print(f"use it: limner train METHOD --data DIR --text.encoder {arguments.out} --out RUN")
    return 0


def refuse_existing(out: Path) -> None:
    """Raise CheckpointError where the folder to write is there already: what it holds may be wanted."""
    if out.exists():
        raise CheckpointError(f"--out {out} exists already: give another folder, or remove that one")
