"""Checkpoints of github.com/ypxie/HDGan (`G_epochN.pth`, `D_epochN.pth`) become Limner's `hdgan`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import CheckpointError, SettingsError
from limner.interop.importer import EncoderOptions, Files, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.hdgan import HDGAN, HDGANSettings

SOURCE = "github.com/ypxie/HDGan"
NAMES = {
    "generator": [
        (r"condEmbedding\.", "augmentation."),
        (r"vec_to_tensor\.out\.", "project."),
        (r"scale_(\d+)\.(\d+)\.res_block\.", r"scales.\1.\2.layers."),
        (r"scale_(\d+)\.", r"scales.\1."),
        (r"tensor_to_img_(\d+)\.", r"pictures.\1."),
    ],
    "discriminator": [
        (r"img_encoder_(\d+)\.node\.", r"\1.picture."),
        (r"context_emb_pipe_(\d+)\.", r"\1.text."),
        (r"pair_disc_(\d+)\.node\.", r"\1.joint."),
        (r"local_img_disc_(\d+)\.", r"\1.local."),
        (r"pre_encode\.", "256.shrink."),  # the one side that has it
    ],
}
"""What the authors call the parts of each network, and what Limner does; the first that fits is taken."""
SECOND = "second generator"


@dataclass(frozen=True, kw_only=True)
class Options(EncoderOptions):
    """What `limner import hdgan` takes."""

    files: Files
    """The authors' G_epochN.pth, D_epochN.pth or both."""


def read_hdgan(files: Sequence[Path], *, within: Sequence[str] = ()) -> tuple[HDGAN, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held; another player's network is fresh.

    files: a generator, a discriminator or both, in any order. within: as `read_networks` takes it.
    """
    from limner.methods.hdgan import HDGAN

    states: dict[str, dict[str, Tensor]] = {}
    for path in files:
        found = read_networks(path, _player, f"no generator or discriminator of {SOURCE}: give another file", within=within)
        if SECOND in found:
            raise CheckpointError(
                f"{path} is the authors' second generator, of 512 px, which stands on a frozen one and is another network than Limner's: "
                "give a G_epochN.pth of 256 px"
            )
        for player, state in found.items():
            if player in states:
                raise SettingsError(f"{path} is a second {player}: give one generator, one discriminator or one of each")
            states[player] = {limner_name(key, NAMES[player]): value for key, value in state.items()}
    if not states:
        raise SettingsError("no file to import: give the authors' G_epochN.pth, D_epochN.pth or both")
    method = filled(
        HDGAN(*_sizes(states)),
        states,
        lambda player, detail: f"the {player} is not of HDGAN's published form ({detail}): give another file",
    )
    return method, sorted(states, reverse=True)


def _player(tensors: Mapping[str, Tensor]) -> str | None:
    """The player whose network these tensors are, or SECOND."""
    if any(name.startswith("generator_256.") for name in tensors):
        return SECOND
    return next((player for player, names in NAMES.items() if all(limner_name(key, names) for key in tensors)), None)


def limner_name(key: str, names: Sequence[tuple[str, str]]) -> str:
    """Limner's name, or an empty one for a key that none of the names fits."""
    return next((re.sub(before, after, key, count=1) for before, after in names if re.match(before, key)), "")


def _sizes(states: Mapping[str, Mapping[str, Tensor]]) -> tuple[HDGANSettings, Conditions]:
    """Every width, from the shapes of the weights; what a missing network would say stays as published."""
    from limner.core.trainable import Conditions
    from limner.methods.hdgan import HDGANSettings

    values: dict[str, Any] = {}
    sides, sentences = set(), set()
    for player, state in states.items():
        try:
            found, judged, sentence = _of_generator(state) if player == "generator" else _of_discriminator(state)
        except (KeyError, ValueError, IndexError) as error:
            raise CheckpointError(f"the {player} is not of HDGAN's published form ({error}): give another file") from error
        values |= found
        sides.add(judged)
        sentences.add(sentence)
    if len(sides) > 1 or len(sentences) > 1:
        raise CheckpointError("generator and discriminator are of different sizes: give two files of one training")
    ((*nested, resolution),), (sentence_width,) = sides, sentences
    return HDGANSettings(nested=tuple(nested), **values), Conditions(resolution=resolution, sentence_width=sentence_width)


def _of_generator(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], tuple[int, ...], int]:
    """Settings, sides of the pictures and width of the sentences that a generator tells."""
    twice, sentence = state["augmentation.linear.weight"].shape
    first, inputs = state["project.0.weight"].shape
    blocks = {key.split(".layers.")[0] for key in state if key.startswith("scales.4.")}
    values = {
        "condition_width": twice // 2,
        "noise_width": inputs - twice // 2,
        "generator_channels": first // 16,
        "residual_blocks": len(blocks),
        # a side's first layer enlarges; where the next one is not a residual block, the channels halve
        "halved_at": tuple(sorted(int(key.split(".")[1]) for key in state if re.fullmatch(r"scales\.\d+\.1\.1\.weight", key))),
    }
    return values, _sides(state, r"pictures\.(\d+)\."), sentence


def _of_discriminator(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], tuple[int, ...], int]:
    """Settings, sides of the pictures and width of the sentences that a discriminator tells."""
    sides = _sides(state, r"(\d+)\.picture\.")
    width, sentence = state[f"{sides[0]}.text.0.weight"].shape
    values = {
        "text_width": width,
        "discriminator_channels": state[f"{sides[0]}.picture.0.0.weight"].shape[0] * sides[0] // 64,
        "code_channels": state[f"{sides[0]}.joint.1.weight"].shape[1],
    }
    return values, sides, sentence


def _sides(state: Mapping[str, Tensor], pattern: str) -> tuple[int, ...]:
    found = {int(match.group(1)) for key in state if (match := re.match(pattern, key))}
    if not found:
        raise ValueError("no side of its pictures can be told")
    return tuple(sorted(found))


IMPORTER = NetworkImporter(
    name="hdgan",
    help="generator and discriminator of HDGAN's authors: G_epochN.pth, D_epochN.pth",
    description="Turn networks of the authors' HDGAN (ypxie/HDGan) into Limner's hdgan.",
    examples=(
        "limner import hdgan G_epoch500.pth --encoder encoders/birds --out models/birds",
        "limner import hdgan G_epoch500.pth D_epoch500.pth --out networks/birds",
    ),
    options=Options,
    read=read_hdgan,
    source=SOURCE,
)
import_hdgan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
