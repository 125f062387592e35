"""Checkpoints of ControlGAN's authors (mrlibw/ControlGAN: `netG_epoch_N.pth`, `netD0.pth` to `netD2.pth`).

Every stage of theirs owns the word projections of both stages, in the spatial attention too: three of four are never called, and are left
in the file (15.7 million weights of the birds model's 28.6 million).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.core.errors import CheckpointError
from limner.interop import attngan, trees
from limner.interop.networks import keep_imported
from limner.methods.controlgan import NAME, ControlGAN, ControlGANSettings
from limner.text.encoder import TextEncoder

TITLE, SOURCE = "ControlGAN", "github.com/mrlibw/ControlGAN"
GENERATOR: trees.Names = [
    (r"h_net(\d)\.att\.conv_context\.weight", r"spatial.{\1-2}.project.weight"),
    (r"h_net2\.channel_att\.conv_context2\.weight", "channel.0.project.weight"),
    (r"h_net3\.channel_att\.conv_context3\.weight", "channel.1.project.weight"),
    (r"h_net\d\.(?:channel_)?att\.conv_context[23]\.weight", trees.UNUSED),
    *attngan.GENERATOR,
]
"""As AttnGAN's; the authors' channel attention takes its second projection at 64 px and its third at 128."""


def import_controlgan(
    files: Sequence[Path], out: Path, encoder: TextEncoder | None = None, *, mixed_padding: bool = False, within: Sequence[str] = ()
) -> None:
    """Turn the authors' files into a Limner folder.

    files: a generator, with any of its discriminators. out: the folder, which must not exist or be empty. encoder: the text encoder that
    they were trained with (`limner.interop.damsm.read_text_encoder`), which makes `out` a model that paints captions. mixed_padding:
    whether it treats padding as the authors' code did, in places and channels.
    within: as `read_networks` takes it.
    Raises CheckpointError for a file that is not theirs, SettingsError for a combination that cannot work.
    """
    method, players = read_controlgan(files, mixed_padding=mixed_padding, within=within)
    if method.settings.reads_words:
        trees.check_words(encoder, method.conditions)
    keep_imported(NAME, method, players, files, out, encoder, SOURCE)


def read_controlgan(files: Sequence[Path], *, mixed_padding: bool = False, within: Sequence[str] = ()) -> tuple[ControlGAN, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held; another player's weights are 0."""
    states = trees.read_players(files, lambda path: attngan.read_file(path, GENERATOR, TITLE, within), "the authors' netG_epoch_N.pth")
    if not any(key.startswith("channel.") for key in states["generator"]):
        raise CheckpointError("the generator has no channel attention: give ControlGAN's, or import AttnGAN's with limner import attngan")
    values, conditions = attngan.sizes(states, "spatial.0", TITLE)
    if values.pop("last_picture_only"):
        raise CheckpointError("the generator lacks pictures of its coarse stages: give the authors' netG_epoch_N.pth")
    # The authors' word-level discriminator is no network: no file has one.
    settings = ControlGANSettings(**values, mixed_padding=mixed_padding, padded_channels=mixed_padding, word_discriminator="none")
    return trees.filled(lambda: ControlGAN(settings, conditions), states, TITLE), trees.order(states)
