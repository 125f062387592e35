"""Checkpoints of github.com/tobran/DF-GAN (`state_epoch_NNN.pth`) become Limner's `df-gan`; what else is in the file is left there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from limner.core.errors import CheckpointError
from limner.core.trainable import Conditions
from limner.families.stacked import FIRST_SIDE
from limner.interop.networks import keep_imported
from limner.interop.state_dicts import read_networks
from limner.methods.df_gan import DFGAN, DFGANSettings
from limner.text.encoder import TextEncoder

NAME = "df-gan"
SOURCE = "github.com/tobran/DF-GAN"
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


def import_df_gan(file: Path, out: Path, encoder: TextEncoder | None = None, *, within: Sequence[str] = ()) -> None:
    """Turn a checkpoint of the authors into a Limner folder.

    out: the folder, which must not exist or be empty. encoder: the text encoder that the generator was trained with, AttnGAN's (256
    numbers a sentence). With it, `out` is a model folder that paints captions; without it `out` holds the networks, for `load_networks`.
    within: as `read_networks` takes it.
    Raises CheckpointError for a file that is not the authors', SettingsError for an encoder that does not fit.
    """
    method, players = _read(file, within)
    keep_imported(NAME, method, players, [file], out, encoder, SOURCE)


def read_df_gan(file: Path, *, within: Sequence[str] = ()) -> DFGAN:
    """The networks of a checkpoint of the authors, in evaluation mode; of a file without a discriminator, that is fresh."""
    return _read(file, within)[0]


def _read(file: Path, within: Sequence[str]) -> tuple[DFGAN, list[str]]:
    """The method, and the players whose weights the file held."""
    refusal = f"{_NONE} (no weights 'fc.weight' in it): {_WANTED}"
    theirs = read_networks(file, _network, refusal, within=within)
    generator, discriminator = theirs.get("netG", {}), theirs.get("netD", {}) | theirs.get("netC", {})
    settings, conditions = _sizes(file, generator, discriminator)
    method = DFGAN(settings, conditions)
    players = {player: tensors for player, tensors in (("generator", generator), ("discriminator", discriminator)) if tensors}
    for player, tensors in players.items():
        module = method.players()[player].module
        renamed = {limner_name(player, name): value for name, value in tensors.items()}
        for name in without_use(tensors):
            del renamed[limner_name(player, name)]
        try:
            module.load_state_dict(renamed)
        except RuntimeError as error:
            detail = " ".join(str(error).split("\n\t")[1:2]).strip()
            raise CheckpointError(f"{file} is {_NONE} ({player}: {detail}): {_WANTED}") from error
    return method.eval(), list(players)


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
