"""Checkpoints of github.com/akanimax/BMSG-GAN (`GAN_GEN_N.pth`, `GAN_GEN_SHADOW_N.pth`, `GAN_DIS_N.pth`) become Limner's `msg-gan`.

Those of a GPU have `module.` in their names: before all names of a generator, and within those of a discriminator's layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from limner.core.errors import CheckpointError, SettingsError
from limner.interop.importer import Files, ImportOptions, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.msg_gan import MSGGAN, MSGGANSettings
    from limner.text.encoder import TextEncoder

NAMES: dict[str, dict[str, str | Callable[[re.Match[str]], str]]] = {
    "generator": {
        r"^layers\.0\.conv_1\.": "blocks.0.transposed.",
        r"^layers\.0\.conv_2\.": "blocks.0.convolution.",
        r"^layers\.(\d+)\.conv_1\.": r"blocks.\1.first.",
        r"^layers\.(\d+)\.conv_2\.": r"blocks.\1.second.",
        r"^rgb_converters\.": "pictures.",
    },
    "discriminator": {
        r"^final_converter\.": "pictures.0.",
        r"^rgb_to_features\.(\d+)\.": lambda found: f"pictures.{int(found[1]) + 1}.",
        r"^layers\.(\d+)\.conv_1\.": r"blocks.\1.first.",
        r"^layers\.(\d+)\.conv_2\.": r"blocks.\1.second.",
        r"^final_block\.conv_1\.": "last.first.",
        r"^final_block\.conv_2\.": "last.second.",
        r"^final_block\.conv_3\.": "last.score.",
    },
}
"""What the code calls the parts of each network, as patterns, and what Limner does."""
PARTS = {"generator": {"layers", "rgb_converters"}, "discriminator": {"layers", "rgb_to_features", "final_converter", "final_block"}}
_WANTED = "give GAN_GEN_N.pth or GAN_GEN_SHADOW_N.pth, GAN_DIS_N.pth, or one of each kind"


@dataclass(frozen=True, kw_only=True)
class Options(ImportOptions):
    """What `limner import msg-gan` takes."""

    needs: ClassVar[str] = "the generator's file"
    files: Files
    """A generator (GAN_GEN_SHADOW_N.pth, the running average, or GAN_GEN_N.pth), a discriminator (GAN_DIS_N.pth) or both."""

    def text_encoder(self) -> TextEncoder | None:
        """None: these generators read no text."""
        return None


def read_msg_gan(files: Sequence[Path], *, within: Sequence[str] = ()) -> tuple[MSGGAN, list[str]]:
    """The files as a method in evaluation mode, and the players whose weights they held; another player's network is fresh.

    files: a generator, a discriminator or both, in any order. within: as `read_networks` takes it.
    """
    from limner.methods.msg_gan import MSGGAN

    states: dict[str, dict[str, Tensor]] = {}
    for path in files:
        refusal = f"not a network of BMSG-GAN: {_WANTED}"
        for player, state in read_networks(path, _player, refusal, within=within).items():
            if player in states:
                raise SettingsError(f"{path} is a second {player}: {_WANTED}")
            states[player] = {limner_name(player, name): value for name, value in state.items()}
    if not states:
        raise SettingsError(f"no file to import: {_WANTED}")
    settings, conditions = _sizes(states)
    method = filled(MSGGAN(settings, conditions), states, lambda player, detail: f"the {player} is not BMSG-GAN's ({detail}): {_WANTED}")
    return method, sorted(states, reverse=True, key=lambda player: player == "generator")


def limner_name(player: str, name: str) -> str:
    """What Limner calls a weight of the files, with `module.` in its name or without."""
    name = _bare(name)
    for pattern, ours in NAMES[player].items():
        name = re.sub(pattern, ours, name)
    return name


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "module")


def _player(tensors: Mapping[str, Tensor]) -> str | None:
    """The player whose network these tensors are."""
    found = {_bare(name).partition(".")[0] for name in tensors}
    return next((player for player, parts in PARTS.items() if parts == found), None)


def _sizes(states: Mapping[str, Mapping[str, Tensor]]) -> tuple[MSGGANSettings, Conditions]:
    """Every width, from the shapes of the weights; what a missing network would say stays as published."""
    from limner.core.trainable import Conditions
    from limner.families.progressive.layers import FIRST_SIDE
    from limner.methods.msg_gan import MSGGANSettings

    values: dict[str, Any] = {}
    depths = set()
    for player, state in states.items():
        name, dimension = ("blocks.0.transposed.weight", 1) if player == "generator" else ("last.first.weight", 0)
        if name not in state or state[name].ndim != 4:
            raise CheckpointError(f"the {player} is not BMSG-GAN's (no weights '{name}' of four dimensions): {_WANTED}")
        values[f"{player}_channels"] = state[name].shape[dimension]
        if player == "generator":
            values["noise_width"] = state[name].shape[0]
        depths.add(len({key.split(".")[1] for key in state if key.startswith("pictures.")}))
    if len(depths) > 1:
        raise CheckpointError("generator and discriminator have different numbers of scales: give two files of one training")
    (depth,) = depths
    return MSGGANSettings(**values), Conditions(resolution=FIRST_SIDE * 2 ** (depth - 1), sentence_width=0)


IMPORTER = NetworkImporter(
    name="msg-gan",
    help="generator and discriminator of BMSG-GAN: GAN_GEN_SHADOW_N.pth, GAN_DIS_N.pth",
    description="Turn networks of BMSG-GAN (akanimax/BMSG-GAN, MSG-GAN on ProGAN's networks) into Limner's msg-gan.",
    examples=(
        "limner import msg-gan GAN_GEN_SHADOW_100.pth --out models/faces",
        "limner import msg-gan GAN_GEN_100.pth GAN_DIS_100.pth --out models/faces",
    ),
    options=Options,
    read=read_msg_gan,
    source="github.com/akanimax/BMSG-GAN",
)
import_msg_gan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
