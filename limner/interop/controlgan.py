"""Checkpoints of ControlGAN's authors (mrlibw/ControlGAN: `netG_epoch_N.pth`, `netD0.pth` to `netD2.pth`).

Every stage of theirs owns the word projections of both stages, in the spatial attention too: three of four are never called, and are left
in the file (15.7 million weights of the birds model's 28.6 million).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limner.core.errors import CheckpointError
from limner.interop import attngan, trees
from limner.interop.importer import NetworkImporter

if TYPE_CHECKING:
    from limner.methods.controlgan import ControlGAN

TITLE = "ControlGAN"
GENERATOR: trees.Names = [
    (r"h_net(\d)\.att\.conv_context\.weight", r"spatial.{\1-2}.project.weight"),
    (r"h_net2\.channel_att\.conv_context2\.weight", "channel.0.project.weight"),
    (r"h_net3\.channel_att\.conv_context3\.weight", "channel.1.project.weight"),
    (r"h_net\d\.(?:channel_)?att\.conv_context[23]\.weight", trees.UNUSED),
    *attngan.GENERATOR,
]
"""As AttnGAN's; the authors' channel attention takes its second projection at 64 px and its third at 128."""


@dataclass(frozen=True, kw_only=True)
class Options(trees.TreeOptions):
    """What `limner import controlgan` takes."""

    mixed_padding: bool = False
    """Treat padding as the authors' code does, which mixes the captions of a batch and shows it to channels: pictures depend on it."""


def read_controlgan(files: Sequence[Path], *, mixed_padding: bool = False, within: Sequence[str] = ()) -> tuple[ControlGAN, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held; another player's weights are 0.

    mixed_padding: whether it treats padding as the authors' code does, in places and channels. within: as `read_networks` takes it.
    """
    from limner.methods.controlgan import ControlGAN, ControlGANSettings

    states = trees.read_players(files, lambda path: attngan.read_file(path, GENERATOR, TITLE, within), "the authors' netG_epoch_N.pth")
    if not any(key.startswith("channel.") for key in states["generator"]):
        raise CheckpointError("the generator has no channel attention: give ControlGAN's, or import AttnGAN's with limner import attngan")
    values, conditions = attngan.sizes(states, "spatial.0", TITLE)
    if values.pop("last_picture_only"):
        raise CheckpointError("the generator lacks pictures of its coarse stages: give the authors' netG_epoch_N.pth")
    # The authors' word-level discriminator is not a network: no file has one.
    settings = ControlGANSettings(**values, mixed_padding=mixed_padding, padded_channels=mixed_padding, word_discriminator="none")
    return trees.built(lambda: ControlGAN(settings, conditions), states, TITLE), trees.order(states)


IMPORTER = NetworkImporter(
    name="controlgan",
    help="ControlGAN's generator, with its text encoder and discriminators: netG_epoch_N.pth, netD0.pth ...",
    description=f"""Turn networks of ControlGAN's authors (mrlibw/ControlGAN) into Limner's controlgan.
{trees.WITH_TEXT}.""",
    examples=(
        "limner import controlgan netG_epoch_600.pth --text text_encoder200.pth --words captions.pickle --out models/birds",
        "limner import controlgan netG_epoch_600.pth netD0.pth netD1.pth netD2.pth --out networks/birds",
    ),
    options=Options,
    read=read_controlgan,
    source="github.com/mrlibw/ControlGAN",
)
import_controlgan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
