"""Checkpoints of MirrorGAN's authors (qiaott/MirrorGAN: `netG.pth`, `netD0.pth` to `netD2.pth`, `rnn_decoder.ckpt`).

Their captioner reads what a ResNet-152 saw (`cnn_encoder.ckpt`), which is not among Limner's networks: its decoder can be read
(`read_decoder`), but is not part of an imported model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limner.core.errors import CheckpointError
from limner.interop import attngan, trees
from limner.interop.importer import NetworkImporter
from limner.interop.state_dicts import read_networks, read_state_dict

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.mirrorgan import CaptionDecoder, MirrorGAN, MirrorGANSettings

TITLE = "MirrorGAN"
GENERATOR: trees.Names = [
    *attngan.GENERATOR,
    (r"h_net(\d)\.att\.linear\.(weight|bias)", r"glimpses.{\1-2}.linear.\2"),
    (r"h_net(\d)\.att\.conv_sentence_vis\.weight", r"glimpses.{\1-2}.compare.weight"),
    (r"h_net(\d)\.conv\.weight", r"joins.{\1-2}.weight"),
]
CAPTIONER = "captioner"
DECODER: trees.Names = [
    (r"embed\.weight", "embedding.weight"),
    (r"lstm\.(\w+_l0)", r"reader.\1"),
    (r"linear\.(weight|bias)", r"to_words.\1"),
]


def read_mirrorgan(files: Sequence[Path], *, mixed_padding: bool = False, within: Sequence[str] = ()) -> tuple[MirrorGAN, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held; another player's weights are 0.

    It has no captioner, and so no caption loss. mixed_padding: whether it hides padding as the authors' code does. within: as
    `read_networks` takes it.
    """
    from limner.methods.mirrorgan import MirrorGAN

    states = trees.read_players(files, lambda path: _read(path, within), "the authors' netG.pth")
    settings, conditions = _sizes(states, mixed_padding)
    return trees.built(lambda: MirrorGAN(settings, conditions), states, TITLE), trees.order(states)


def read_decoder(path: Path) -> CaptionDecoder:
    """The decoder of their captioner, in evaluation mode. Raises CheckpointError for a file of something else."""
    from limner.methods.mirrorgan import CaptionDecoder

    unknown = "no decoder of MirrorGAN: give the authors' rnn_decoder.ckpt"
    theirs = read_state_dict(path, lambda tensors: {"embed.weight", "lstm.weight_ih_l0"} <= tensors.keys())
    state = {trees.renamed(key, DECODER, path, unknown): value for key, value in theirs.items()}
    try:
        ids, width = state["embedding.weight"].shape
        decoder = CaptionDecoder(ids, width, state["to_words.weight"].shape[1])
        decoder.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} is {unknown}") from error
    return decoder.eval()


def _player(tensors: Mapping[str, Tensor]) -> str | None:
    """The player whose network these tensors are, or CAPTIONER."""
    return CAPTIONER if "embed.weight" in tensors or "resnet.0.weight" in tensors else trees.player(tensors)


def _read(path: Path, within: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    found = read_networks(path, _player, "not a network of MirrorGAN: give the authors' netG.pth or netD0.pth to netD2.pth", within=within)
    if set(found) == {CAPTIONER}:
        raise CheckpointError(f"{path} is a part of the captioner, which reads pictures by a ResNet-152 that Limner has not: leave it out")
    players = {player: attngan.named_tensors(path, player, found[player], GENERATOR, TITLE) for player in found if player != CAPTIONER}
    generator = players.get("generator", {})
    if any(key.startswith("attention.") for key in generator) and not any(key.startswith("joins.") for key in generator):
        raise CheckpointError(
            f"{path} has no attention to the sentence, as AttnGAN's generators: give MirrorGAN's, or import it as attngan"
        )
    return players


def _sizes(states: Mapping[str, Mapping[str, Tensor]], mixed_padding: bool) -> tuple[MirrorGANSettings, Conditions]:
    """Every width, from the shapes of the weights; what a missing network would say stays as published."""
    from limner.core.trainable import Conditions
    from limner.methods.mirrorgan import MirrorGANSettings

    state = states["generator"]
    try:
        levels, later = trees.count(state, r"first\.layers\.\d"), trees.count(state, r"attention\.\d")
        condition = state["augmentation.linear.weight"].shape[0] // 4
        conditions = Conditions(
            resolution=4 * 2 ** (levels + later),
            sentence_width=state["augmentation.linear.weight"].shape[1],
            word_width=state["attention.0.project.weight"].shape[1] if later else None,
        )
        settings = MirrorGANSettings(
            branches=later + 1,
            mixed_padding=mixed_padding,
            caption_weight=0.0,
            noise_width=state["first.linear.0.weight"].shape[1] - condition,
            condition_width=condition,
            generator_channels=state["pictures.0.0.weight"].shape[1],
            discriminator_channels=trees.common_width(states) or MirrorGANSettings.discriminator_channels,
            residual_blocks=trees.count(state, r"later\.0\.residuals\.\d"),
        )
    except (KeyError, IndexError) as error:
        raise trees.not_one("generator", TITLE, f"it lacks {error}") from error
    return settings, conditions


IMPORTER = NetworkImporter(
    name="mirrorgan",
    help="MirrorGAN's generator, with its text encoder and discriminators: netG.pth, text_encoder.pth, netD0.pth ...",
    description=f"""Turn networks of MirrorGAN's authors (qiaott/MirrorGAN) into Limner's mirrorgan.
{trees.WITH_TEXT}; it cannot read
pictures back, for which theirs needs a ResNet-152 (cnn_encoder.ckpt, rnn_decoder.ckpt).""",
    examples=(
        "limner import mirrorgan netG.pth --text text_encoder.pth --words bird_captions.pickle --out models/birds",
        "limner import mirrorgan netG.pth netD0.pth netD1.pth netD2.pth --out networks/birds",
    ),
    options=trees.TreeOptions,
    read=read_mirrorgan,
    source="github.com/qiaott/MirrorGAN",
)
import_mirrorgan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
