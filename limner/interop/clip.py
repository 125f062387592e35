"""CLIP's weights as OpenAI and open_clip store them.

OpenAI's files are TorchScript archives in half precision; open_clip's are state dicts (`.pt`, `.bin`), training checkpoints that hold one,
or safetensors. All name their tensors alike. Sizes follow from shapes; what does not show in them is the nonlinearity, and how many heads
the picture tower of three large open_clip models has.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from limner.core.errors import CheckpointError, SettingsError
from limner.core.files import sha256
from limner.interop.importer import File, Importer, ImportOptions
from limner.interop.state_dicts import read_state_dict

if TYPE_CHECKING:
    from torch import Tensor

    from limner.matching.models.clip import CLIP, CLIPSettings
    from limner.text.byte_pairs import BytePairTokenizer
    from limner.text.transformer import Activation

VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
SOURCE = f"github.com/openai/CLIP, clip/{VOCABULARY}"
HEAD_WIDTH = 64
_HEADS = {1280: 16}
"""Of open_clip's ViT-H, whose picture tower has heads of width 80."""
_BESIDE = {"input_resolution", "context_length", "vocab_size", "attn_mask"}
"""What some files hold next to the weights."""

_STEM = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3", "7": "bn3"}
_BLOCK = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "7": "conv3", "8": "bn3"}
_RENAMED: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^encoder\.embedding\.", "token_embedding."),
    (r"^encoder\.positions$", "positional_embedding"),
    (r"^encoder\.norm\.", "ln_final."),
    (r"^encoder\.to_sentence$", "text_projection"),
    (r"^encoder\.", ""),
    (r"^log_scale$", "logit_scale"),
    (r"^picture_side\.", "visual."),
    # a transformer's blocks
    (r"\.blocks\.", ".resblocks."),
    (r"\.attention_norm\.", ".ln_1."),
    (r"\.attention_in\.", ".attn.in_proj_"),
    (r"\.attention_out\.", ".attn.out_proj."),
    (r"\.perceptron_norm\.", ".ln_2."),
    (r"\.perceptron_in\.", ".mlp.c_fc."),
    (r"\.perceptron_out\.", ".mlp.c_proj."),
    # the vision transformer
    (r"^visual\.to_patches\.", "visual.conv1."),
    (r"^visual\.class_token$", "visual.class_embedding"),
    (r"^visual\.positions$", "visual.positional_embedding"),
    (r"^visual\.norm_before\.", "visual.ln_pre."),
    (r"^visual\.norm_after\.", "visual.ln_post."),
    (r"^visual\.to_embedding$", "visual.proj"),
    # the residual network
    (r"^visual\.stem\.(\d)\.", lambda found: f"visual.{_STEM[found[1]]}."),
    (r"^visual\.stages\.(\d)\.", lambda found: f"visual.layer{int(found[1]) + 1}."),
    (r"\.change\.(\d)\.", lambda found: f".{_BLOCK[found[1]]}."),
    (r"\.shortcut\.(\d)\.", lambda found: f".downsample.{int(found[1]) - 1}."),
    (r"^visual\.pool\.positions$", "visual.attnpool.positional_embedding"),
    (r"^visual\.pool\.(q|k|v)[a-z]+\.", lambda found: f"visual.attnpool.{found[1]}_proj."),
    (r"^visual\.pool\.to_embedding\.", "visual.attnpool.c_proj."),
)


@dataclass(frozen=True, kw_only=True)
class Options(ImportOptions):
    """What `limner import clip` takes."""

    file: File
    """OpenAI's archive (ViT-B-32.pt), or open_clip's .pt, .bin or .safetensors."""
    vocabulary: Annotated[
        str | None, arg(metavar="FILE|none", constructor=str, help_behavior_hint="(default: the one in the folder of FILE)")
    ] = None
    """bpe_simple_vocab_16e6.txt.gz of github.com/openai/CLIP; `none`: the model reads no captions."""
    activation: Literal["quick-gelu", "gelu"] | None = None
    """The nonlinearity that the weights were trained with; known for OpenAI's archives, to be told for others."""


def their_name(name: str) -> str:
    """What the authors call a tensor of a `CLIP`."""
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def import_clip(
    file: Path, out: Path, vocabulary: str | None = None, activation: Activation | None = None, *, within: Sequence[str] = ()
) -> CLIP:
    """Write a model folder from a file of OpenAI's or open_clip's, and return the model.

    vocabulary: the file of byte pairs, by default the one next to `file`; "none" for a model that looks at pictures and reads no captions.
    activation: known for OpenAI's own archives, to be given for others. within: as `read_state_dict` takes it.
    Raises CheckpointError for a file that is not a CLIP, SettingsError where something must be given, DataError for a wrong vocabulary.
    """
    from limner.core.trainable import Conditions
    from limner.interop.torchscript import is_torchscript
    from limner.matching.models.clip import CLIP, text_settings
    from limner.matching.saving import save_matching
    from limner.text.clip_text import ClipText

    tensors = read_tensors(file, within)
    if activation is None:
        if not is_torchscript(file):
            raise SettingsError(
                "the nonlinearity does not show in the file: add --activation quick-gelu (OpenAI's weights, and models named -quickgelu) "
                "or --activation gelu (LAION's and open_clip's others)"
            )
        activation = "quick-gelu"
    settings, resolution, size = _sizes(tensors, file, activation)
    tokenizer = _tokenizer(file, vocabulary, size, settings.context_length)
    encoder = ClipText(tokenizer, text_settings(settings, size))
    model = CLIP(settings, Conditions(resolution=resolution, sentence_width=settings.width), encoder)
    model.load_state_dict(_ours(model, tensors, file))
    digest = sha256(file)
    about = {"imported": file.name, "sha256": digest}
    save_matching(out, "clip", model.eval(), about, _card(model, file, digest))
    return model


def described(model: CLIP) -> str:
    """A model in words."""
    settings, count = model.settings, sum(parameter.numel() for parameter in model.parameters())
    layers = ", ".join(map(str, settings.picture_layers))
    tower = f"vision transformer, patches of {settings.patch} px" if settings.tower == "vit" else "modified residual network"
    return (
        f"CLIP of {count:,} parameters: {tower}, width {settings.picture_width}, {layers} blocks, pictures of {model.resolution} px; "
        f"text transformer of width {settings.text_width}, {settings.text_layers} blocks; {settings.width} numbers in common"
    )


def read_tensors(file: Path, within: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of a CLIP file by the authors' names, in float32. Raises CheckpointError for any other file."""
    from limner.interop.torchscript import is_torchscript, read_torchscript

    if file.is_file() and is_torchscript(file):
        tensors = read_torchscript(file)
    else:
        tensors = read_state_dict(file, _is_clip, within=within, wanted="give CLIP weights of OpenAI or open_clip")
    tensors = {name.removeprefix("text."): value for name, value in tensors.items()}  # open_clip's models with a text tower of their own
    tensors = {name: value for name, value in tensors.items() if name.rpartition(".")[2] not in _BESIDE}
    for name, why in (("logit_bias", "a SigLIP model"), ("visual.trunk.", "a model with a tower of timm's")):
        if any(key.startswith(name) for key in tensors):
            raise _not_one(file, f"it is {why}, which Limner does not have")
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _is_clip(tensors: Mapping[str, Tensor]) -> bool:
    return any(f"{tower}token_embedding.weight" in tensors for tower in ("", "text.")) and any(
        name.startswith("visual.") for name in tensors
    )


def _sizes(tensors: Mapping[str, Tensor], file: Path, activation: Activation) -> tuple[CLIPSettings, int, int]:
    """Settings, resolution and number of ids, from the tensors' shapes."""
    from limner.matching.models.clip import CLIPSettings
    from limner.text.byte_pairs import FEWEST

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in tensors:
            raise _not_one(file, f"it lacks '{name}'")
        if tensors[name].ndim != dimensions or 0 in tensors[name].shape:
            raise _not_one(file, f"'{name}' has the shape {tuple(tensors[name].shape)}")
        return tuple(tensors[name].shape)

    def blocks(pattern: str) -> int:
        return len({found[1] for found in map(re.compile(pattern).match, tensors) if found})

    vocabulary, text_width = shape("token_embedding.weight", 2)
    common: dict[str, Any] = {
        "width": shape("text_projection", 2)[1],
        "text_width": text_width,
        "text_layers": blocks(r"transformer\.resblocks\.(\d+)\."),
        "text_heads": max(text_width // HEAD_WIDTH, 1),
        "context_length": shape("positional_embedding", 2)[0],
        "merges": max(vocabulary - FEWEST, 0),
        "activation": activation,
    }
    if "visual.proj" in tensors:
        width, _, patch, _ = shape("visual.conv1.weight", 4)
        side = round((shape("visual.positional_embedding", 2)[0] - 1) ** 0.5)
        picture: dict[str, Any] = {
            "tower": "vit",
            "picture_width": width,
            "picture_layers": (blocks(r"visual\.transformer\.resblocks\.(\d+)\."),),
            "picture_heads": _HEADS.get(width, max(width // HEAD_WIDTH, 1)),
            "patch": patch,
        }
        return CLIPSettings(**common, **picture), side * patch, vocabulary
    stages = blocks(r"visual\.layer(\d)\.")
    places, features = shape("visual.attnpool.positional_embedding", 2)
    picture = {
        "tower": "resnet",
        "picture_width": shape("visual.conv3.weight", 4)[0],
        "picture_layers": tuple(blocks(rf"visual\.layer{stage + 1}\.(\d+)\.") for stage in range(stages)),
        "picture_heads": max(features // HEAD_WIDTH, 1),
        "beta2": 0.999,
        "epsilon": 1e-8,
    }
    return CLIPSettings(**common, **picture), round((places - 1) ** 0.5) * 2 ** (stages + 1), vocabulary


def _ours(model: CLIP, tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The file's tensors by our names, each of the right shape."""
    own = model.state_dict()
    expected = {their_name(name): name for name in own}
    for theirs in sorted(expected.keys() | tensors.keys()):
        if theirs not in tensors:
            raise _not_one(file, f"it lacks '{theirs}'")
        if theirs not in expected:
            raise _not_one(file, f"it holds '{theirs}' too")
        found, wanted = tensors[theirs].shape, own[expected[theirs]].shape
        if found != wanted:
            raise _not_one(file, f"'{theirs}' has the shape {tuple(found)} where {tuple(wanted)} fits the rest")
    return {name: tensors[theirs] for theirs, name in expected.items()}


def _tokenizer(file: Path, vocabulary: str | None, size: int, context_length: int) -> BytePairTokenizer | None:
    if vocabulary == "none":
        return None
    from limner.text.byte_pairs import BytePairTokenizer

    path = Path(vocabulary) if vocabulary else file.with_name(VOCABULARY)
    if vocabulary is None and not path.exists():
        raise SettingsError(
            f"captions need the vocabulary, which the weights come without: get {SOURCE}, and give it as --vocabulary FILE "
            "(or --vocabulary none, for pictures alone)"
        )
    return BytePairTokenizer.from_file(path, size, context_length)


def _card(model: CLIP, file: Path, digest: str) -> str:
    return f"""# CLIP, imported

{described(model)}.
{model.paper}.

Imported by `limner import clip` from `{file.name}` (sha256 `{digest}`), with the nonlinearity `{model.settings.activation}`.
Its weights belong to whoever trained them, under their terms.
"""


def _not_one(file: Path, why: str) -> CheckpointError:
    examples = "ViT-B-32.pt or open_clip_model.safetensors"
    return CheckpointError(f"{file} is not a CLIP of OpenAI or open_clip ({why}): give one such as {examples}")


def _import(options: Options) -> list[str]:
    model = import_clip(options.file, options.out, options.vocabulary, options.activation, within=options.within)
    use = f"limner explore classify {shlex.quote(str(options.out))} PICTURE --labels cat dog"
    return [f"{options.out}: {described(model)}", f"use it: {use}"]


IMPORTER = Importer(
    name="clip",
    help="OpenAI's or open_clip's weights of CLIP: a matching model, which also classifies pictures",
    description="Turn CLIP weights of OpenAI or open_clip into a matching model.",
    examples=(
        "limner import clip ViT-B-32.pt --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/clip",
        "limner import clip open_clip_model.safetensors --activation gelu --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/laion",
        "limner explore classify models/clip picture.jpg --labels cat dog",
    ),
    options=Options,
    read=_import,
)
