"""Checkpoints of github.com/tobran/DF-GAN (`state_epoch_NNN.pth`) become Limner's `df-gan`; what else is in the file is left there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from limner.core.errors import CheckpointError
from limner.interop.importer import EncoderOptions, File, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.df_gan import DFGAN, DFGANSettings

NAMES: dict[str, dict[str, str | Callable[[re.Match[str]], str]]] = {
    "generator": {
        r"^fc\.": "first.",
        r"^to_rgb\.": "last.",
        r"^GBlocks\.(\d+)\.c1\.": r"blocks.\1.first.",
        r"^GBlocks\.(\d+)\.c2\.": r"blocks.\1.second.",
        r"^GBlocks\.(\d+)\.c_sc\.": r"blocks.\1.shortcut.",
        r"^GBlocks\.(\d+)\.fuse1\.": r"blocks.\1.first_fusion.",
        r"^GBlocks\.(\d+)\.fuse2\.": r"blocks.\1.second_fusion.",
        r"\.affine(\d+)\.fc_(gamma|beta)\.": r".affines.\1.\2.",
        r"\.linear1\.": ".0.",
        r"\.linear2\.": ".2.",
    },
    "discriminator": {
        r"^conv_img\.": "picture.0.",
        r"^DBlocks\.(\d+)\.": lambda found: f"picture.{int(found[1]) + 1}.",
        r"\.conv_r\.": ".residual.",
        r"\.conv_s\.": ".shortcut.",
        r"^joint_conv\.": "joint.",
    },
}
"""What the authors call the parts of each network, as patterns, and what Limner does."""
_NONE, _WANTED = "no DF-GAN of the authors' CVPR code", "give the authors' state_epoch_NNN.pth"


@dataclass(frozen=True, kw_only=True)
class Options(EncoderOptions):
    """What `limner import df-gan` takes."""

    files: File
    """The authors' state_epoch_NNN.pth, which holds all networks."""
    encoder: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The text encoder that the generator was trained with, AttnGAN's for its data set (`limner import damsm`): makes a model that paints
    captions. Without it the networks alone are kept."""


def read_df_gan(file: Path, *, within: Sequence[str] = ()) -> tuple[DFGAN, list[str]]:
    """A checkpoint of the authors as a method in evaluation mode, and the players whose weights it held; another's network is fresh.

    within: as `read_networks` takes it.
    """
    from limner.methods.df_gan import DFGAN

    refusal = f"{_NONE} (no weights 'fc.weight' in it): {_WANTED}"
    theirs = read_networks(file, _network, refusal, within=within)
    generator, discriminator = theirs.get("netG", {}), theirs.get("netD", {}) | theirs.get("netC", {})
    settings, conditions = _sizes(file, generator, discriminator)
    states: dict[str, dict[str, Tensor]] = {}
    for player, tensors in (("generator", generator), ("discriminator", discriminator)):
        unused = without_use(tensors)
        states[player] = {limner_name(player, name): value for name, value in tensors.items() if name not in unused}
    states = {player: state for player, state in states.items() if state}
    method = filled(DFGAN(settings, conditions), states, lambda player, detail: f"{file} is {_NONE} ({player}: {detail}): {_WANTED}")
    return method, list(states)


def limner_name(player: str, name: str) -> str:
    """What Limner calls a weight of the authors' file."""
    for pattern, ours in NAMES[player].items():
        name = re.sub(pattern, ours, name)
    return name


def without_use(tensors: Mapping[str, Tensor]) -> list[str]:
    """Weights of 1x1 convolutions that the authors' discriminator has and never calls: where a block keeps its width."""
    return [
        name
        for name in tensors
        if (block := re.match(r"(DBlocks\.\d+\.)conv_s\.", name))
        and (first := tensors.get(f"{block[1]}conv_r.0.weight")) is not None
        and first.shape[0] == first.shape[1]
    ]


def _network(tensors: Mapping[str, Tensor]) -> str | None:
    """What the authors call the network whose tensors these are."""
    first = {name.partition(".")[0] for name in tensors}
    return next((network for network, part in {"netG": "GBlocks", "netD": "DBlocks", "netC": "joint_conv"}.items() if part in first), None)


def _sizes(file: Path, generator: Mapping[str, Tensor], discriminator: Mapping[str, Tensor]) -> tuple[DFGANSettings, Conditions]:
    """Every width, from the shapes of the weights; what a missing discriminator would say stays as published."""
    from limner.core.trainable import Conditions
    from limner.families.stacked import FIRST_SIDE
    from limner.methods.df_gan import DFGANSettings

    wanted = {"fc.weight": 2, "to_rgb.1.weight": 4, "GBlocks.0.fuse1.affine0.fc_gamma.linear1.weight": 2}
    wanted |= {"conv_img.weight": 4} if discriminator else {}
    shapes = {name: value.shape for name, value in {**discriminator, **generator}.items()}
    for name, dimensions in wanted.items():
        if len(shapes.get(name, ())) != dimensions:
            raise CheckpointError(f"{file} is {_NONE} (no weights '{name}' in it): {_WANTED}")
    noise_width = shapes["fc.weight"][1]
    blocks = {name.split(".")[1] for name in generator if name.startswith("GBlocks.")}
    settings = DFGANSettings(
        noise_width=noise_width,
        generator_channels=shapes["to_rgb.1.weight"][1],
        discriminator_channels=shapes["conv_img.weight"][0] if discriminator else DFGANSettings.discriminator_channels,
    )
    sentence_width = shapes["GBlocks.0.fuse1.affine0.fc_gamma.linear1.weight"][1] - noise_width
    return settings, Conditions(resolution=FIRST_SIDE * 2 ** len(blocks), sentence_width=sentence_width)


IMPORTER = NetworkImporter(
    name="df-gan",
    help="DF-GAN of its authors, painter and discriminator in one file: state_epoch_NNN.pth",
    description="Turn a checkpoint of DF-GAN's authors (tobran/DF-GAN, the CVPR code) into Limner's df-gan.",
    examples=(
        "limner import df-gan state_epoch_1220.pth --encoder encoders/birds --out models/birds",
        "limner import df-gan state_epoch_1220.pth --out networks/birds",
    ),
    options=Options,
    read=read_df_gan,
    source="github.com/tobran/DF-GAN",
)
import_df_gan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
