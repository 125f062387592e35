"""Checkpoints of T2F and of pro_gan_pytorch, the package it is built upon, become Limner's `t2f`.

Files of T2F: GAN_GEN_*.pth or GAN_GEN_SHADOW_*.pth, GAN_DIS_*.pth, Condition_Augmentor_*.pth, Encoder_*.pth. Files of pro_gan_pytorch are
the same without the last two, or one .bin file from version 3 on; its generators read no captions. The versions differ:

- 1.x (T2F): names such as `conv_1.conv.weight`. The scales of its layers are not in its files: each is the root mean square of the random
  weights that training began with. What they are expected to be, 1 / sqrt(fan_in), takes their place, which is within a few percent;
- 2.x: names such as `conv_1.weight`, and scales sqrt(2 / fan_in), as from then on;
- 3.x: the latent is normalised within the generator, a LeakyReLU follows a picture's first convolution, and four pictures are compared at a
  time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from limner.core.errors import CheckpointError, DataError, SettingsError
from limner.interop.importer import EncoderOptions, Files, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.methods.t2f import T2F
    from limner.text.encoder import TextEncoder

    Tensors = Mapping[str, Tensor]

REFUSAL = "not a network of T2F or pro_gan_pytorch: give a generator, a discriminator, a Condition_Augmentor or an Encoder"
GROUP = 4
"""Pictures that version 3 compares at a time."""
EXPECTED = (
    "the scales of version 1's layers are not in its files: the expected ones, 1 / sqrt(fan_in), took their place, so that pictures are "
    "near to those of the training that wrote the files, and not the same"
)


@dataclass(frozen=True, kw_only=True)
class Options(EncoderOptions):
    """What `limner import t2f` takes."""

    needs = "--encoder, or T2F's Encoder file with --words"
    files: Files
    """The generator with its Condition_Augmentor, the discriminator, T2F's Encoder: one or more, in any order."""
    words: Annotated[Path | None, arg(metavar="FILE")] = None
    """The words of T2F's Encoder, one a line in the order of their numbers from 2 on (0 is padding, 1 an unknown word)."""
    depth: Annotated[int | None, arg(metavar="D")] = None
    """Doublings from 4 px that the training had reached, where it stopped before the last: the first number of T2F's file names."""

    def text_encoder(self) -> TextEncoder | None:
        """The encoder that was asked for, or T2F's own. Raises SettingsError, DataError or CheckpointError where there is none."""
        if self.words is None:
            return super().text_encoder()
        if self.encoder:
            raise SettingsError("--words is for T2F's own Encoder: leave it or --encoder out")
        return read_encoder(self.files, self.words, within=self.within)


def read_encoder(files: Sequence[Path], words: Path, *, within: Sequence[str] = ()) -> TextEncoder:
    """T2F's LSTM, from the one of these files that holds it, and its words, from a text file with one a line."""
    from limner.text.summary_lstm import LetterTokenizer, SummaryLSTM, SummarySettings

    states = [found["encoder"] for path in files if "encoder" in (found := read_networks(path, _which, REFUSAL, within=within))]
    if len(states) != 1:
        raise SettingsError(f"--words is given, and {len(states) or 'none'} of the files is T2F's Encoder: give one")
    state = {re.sub(r"^network\.0\.", "embedding.", re.sub(r"^network\.1\.", "reader.", key)): value for key, value in states[0].items()}
    try:
        vocabulary = words.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {words} ({error}): give a text file in UTF-8, one word a line") from error
    vocabulary = vocabulary[:-1] if vocabulary[-1] == "" else vocabulary
    count, width = _shape("Encoder", state, "embedding.weight", 2)
    if len(vocabulary) != count - 2:
        raise DataError(
            f"{words} holds {len(vocabulary)} words, and T2F's Encoder has {count - 2} apart from padding and the "
            "unknown one: give the words of its training"
        )
    layers = sum(key.startswith("reader.weight_ih") for key in state)
    settings = SummarySettings(word_embedding=width, width=_shape("Encoder", state, "reader.weight_hh_l0", 2)[1], layers=layers)
    encoder = SummaryLSTM(LetterTokenizer(vocabulary, maximum_words=100), settings)
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError("the Encoder is not T2F's (weights of other shapes): give another file") from error
    return encoder.eval()


def read_t2f(files: Sequence[Path], depth: int | None = None, *, within: Sequence[str] = ()) -> tuple[T2F, list[str]]:
    """The files as a method in evaluation mode, and the players whose weights they held; another player's network is fresh.

    depth: doublings that the training had reached, by default all. within: as `read_networks` takes it.
    """
    from limner.core.trainable import Conditions
    from limner.methods.t2f import T2F, T2FSettings

    found: dict[str, Tensors] = {}
    for path in files:
        for name, state in read_networks(path, _which, REFUSAL, within=within).items():
            if name in found:
                raise SettingsError(f"{path} is a second {name}: give one of each")
            found[name] = state
    networks: dict[str, Tensors] = {str(name): found[name] for name in ("generator", "discriminator") if name in found}
    if not networks:
        raise SettingsError("no generator and no discriminator among the files: give one or both")
    if "augmentor" in found and "generator" not in found:
        raise SettingsError("a Condition_Augmentor goes with its generator: give that file, too")
    versions = {_version(state) for state in networks.values()}
    if len(versions) > 1:
        raise CheckpointError("generator and discriminator are of different versions of pro_gan_pytorch: give two files of one training")
    (version,) = versions
    values: dict[str, Any] = {"scaling": "unit" if version == 1 else "he", "own_encoder": "encoder" in found, "condition_width": 0}
    if version == 3:
        values |= {"normalize_latent": True, "colour_activation": True, "deviation_group": GROUP}
    renamed = {name: _renamed(state, version) for name, state in networks.items()}
    sizes = {_widths(state) for state in renamed.values()}
    if len(sizes) > 1:
        raise CheckpointError("generator and discriminator are of different sizes: give two files of one training")
    (widths,) = sizes
    values |= {"channels": widths[0], "full_blocks": max(widths.count(widths[0]), 1 if len(set(widths)) > 1 else 4)}
    sentence_width = 0
    if (generator := renamed.get("generator")) is not None:
        values["latent_width"] = _shape("generator", generator, "network.first.transposed.weight", 4)[0]
        if (augmentor := found.get("augmentor")) is not None:
            wide, sentence_width = _shape("Condition_Augmentor", augmentor, "transformer.linear.weight", 2)
            values["condition_width"] = wide // 2
            names = {"weight": "transformer.linear.weight", "bias": "transformer.bias"}
            generator |= {f"augmentation.linear.{own}": augmentor[theirs] for own, theirs in names.items()}
    if "last.compression.weight" in (discriminator := renamed.get("discriminator", {})):
        compressed, reading = _shape("discriminator", discriminator, "last.compression.weight", 2)
        if generator is not None and "augmentor" not in found:
            raise SettingsError("the discriminator reads captions, so its generator does: give the Condition_Augmentor file, too")
        if sentence_width not in (0, reading):
            raise CheckpointError("generator and discriminator read sentences of different widths: give files of one training")
        values["compressed_width"], sentence_width = compressed, reading
        values["condition_width"] = values["condition_width"] or 1  # nobody knows it without the generator
    elif "discriminator" in found and "augmentor" in found:
        raise SettingsError("the discriminator reads no captions, and the Condition_Augmentor does: give files of one training")
    resolution = 4 << (len(widths) - 1)
    if depth is not None and not 0 <= depth < len(widths):
        raise SettingsError(f"--depth is {depth}, and these networks grow to {resolution} px: choose from 0 to {len(widths) - 1}")
    method = filled(
        T2F(T2FSettings(**values), Conditions(resolution=resolution, sentence_width=sentence_width)),
        renamed,
        lambda player, detail: f"the {player} is not T2F's or pro_gan_pytorch's ({detail}): give another file",
    )
    method.depth = len(widths) - 1 if depth is None else depth
    return method, [name for name in ("generator", "discriminator") if name in networks]


def _which(tensors: Tensors) -> str | None:
    """What network these tensors are of."""
    if any(key.startswith("rgb_converters.") for key in tensors) and "layers.0.conv_1.bias" in tensors:
        return None if any(key.startswith("rgb_to_features") for key in tensors) else "generator"
    if any(key.startswith(("rgb_to_features.", "from_rgb.")) for key in tensors):
        return "discriminator"
    if tensors.keys() == {"transformer.bias", "transformer.linear.weight"}:
        return "augmentor"
    return "encoder" if {"network.0.weight", "network.1.weight_ih_l0"} <= tensors.keys() else None


def _version(tensors: Tensors) -> int:
    if any(key.endswith(".conv.weight") for key in tensors):
        return 1
    return 2 if any(key.startswith(("initial_block.", "final_block.")) for key in tensors) else 3


def _renamed(tensors: Tensors, version: int) -> dict[str, Tensor]:
    """A network under Limner's names."""
    if any("label_embedder" in key for key in tensors):
        raise CheckpointError("the discriminator reads classes and no captions: give the generator's file alone")
    last = max((int(found[1]) for key in tensors if (found := re.match(r"layers\.(\d+)\.", key))), default=-1)
    paints = any(key.startswith("rgb_converters.") for key in tensors)
    result = {}
    for key, value in tensors.items():
        name = re.sub(r"\.(?:conv|deconv|linear)\.weight$", ".weight", key)
        if paints:
            if version == 3:
                name = re.sub(r"^layers\.(\d+)", lambda found: f"layers.{int(found[1]) - 1}" if found[1] != "0" else "initial_block", name)
            name = name.replace("initial_block.conv_1", "first.transposed").replace("initial_block.conv_2", "first.convolution")
            name = "network." + name.replace("layers.", "blocks.").replace("rgb_converters.", "colours.")
        else:
            if version == 3:  # from the full size down, the final block among the others
                name = name.replace(f"layers.{last}.", "final_block.")
                name = re.sub(r"^(layers|from_rgb)\.(\d+)", lambda found: f"{found[1]}.{_mirrored(found, last)}", name)
                name = re.sub(r"^from_rgb\.(\d+)\.0\.", r"rgb_to_features.\1.", name)
            name = _of_last_block(name, conditional="final_block.conv_4.bias" in tensors)
            name = name.replace("layers.", "blocks.").replace("rgb_to_features.", "colours.")
        result[name.replace(".conv_1.", ".first.").replace(".conv_2.", ".second.")] = value
    return result


def _mirrored(found: re.Match[str], last: int) -> int:
    return last - int(found[2]) - (found[1] == "layers")


def _of_last_block(name: str, *, conditional: bool) -> str:
    parts = {"conv_1": "first", "conv_2": "second", "conv_3": "score"}
    if conditional:
        parts = {"conv_1": "first", "conv_2": "joint", "conv_3": "second", "conv_4": "score", "compressor": "compression"}
    return re.sub(r"^final_block\.(\w+)", lambda found: f"last.{parts.get(found[1], found[1])}", name)


def _shape(network: str, tensors: Tensors, name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a weight. Raises CheckpointError where a network has none of that name and so many dimensions."""
    if name not in tensors or tensors[name].ndim != dimensions:
        raise CheckpointError(
            f"the {network} is not T2F's or pro_gan_pytorch's (no weights '{name}' of {dimensions} dimensions): give another file"
        )
    return tuple(tensors[name].shape)


def _widths(tensors: Tensors) -> tuple[int, ...]:
    """Channels of the maps of each depth. Raises CheckpointError for networks that do not halve them one by one."""
    from limner.families.progressive.layers import block_widths

    prefix = "network." if any(key.startswith("network.") for key in tensors) else ""
    paints, widths = bool(prefix), list[int]()
    while (name := f"{prefix}colours.{len(widths)}.weight") in tensors:
        widths.append(_shape("generator" if paints else "discriminator", tensors, name, 4)[1 if paints else 0])
    full = widths.count(widths[0]) if widths else 0
    if not widths or widths != block_widths(widths[0], len(widths), full):
        raise CheckpointError(f"the widths of the network's maps, {widths}, are not those of a ProGAN: give another file")
    return tuple(widths)


class T2FImporter(NetworkImporter):
    """The importer, which also says what was lost."""

    def run(self, options: Any, progress: Callable[[int, int, str], None] | None = None) -> Sequence[str]:
        """Import what the options name, and say what was made. Raises LimnerError for what cannot be imported."""
        from limner.core import folder

        lines = [*super().run(options, progress)]
        settings = folder.describe(options.out)["settings"]
        return [*lines, EXPECTED] if settings["scaling"] == "unit" else lines


IMPORTER = T2FImporter(
    name="t2f",
    help="T2F's and pro_gan_pytorch's networks: GAN_GEN_*.pth, GAN_DIS_*.pth, Condition_Augmentor_*.pth, Encoder_*.pth, *.bin",
    description="Turn networks of T2F (akanimax/T2F) or pro_gan_pytorch 1.x to 3.x into Limner's t2f.",
    examples=(
        "limner import t2f GAN_GEN_SHADOW_6_40.pth Condition_Augmentor_6_40.pth Encoder_6_40.pth --words words.txt --out models/faces",
        "limner import t2f GAN_GEN_SHADOW_8.pth --out models/progan",
        "limner import t2f checkpoint.bin --within shadow_generator --out models/progan-3",
    ),
    options=Options,
    read=read_t2f,
    source="github.com/akanimax/T2F and github.com/akanimax/pro_gan_pytorch",
)
import_t2f = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
