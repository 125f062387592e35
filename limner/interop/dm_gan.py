"""Checkpoints of DM-GAN's authors (MinfengZhu/DM-GAN: `bird_DMGAN.pth`, `netG_epoch_N.pth`, `netD0.pth` to `netD2.pth`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limner.core.errors import CheckpointError
from limner.interop import trees
from limner.interop.importer import NetworkImporter
from limner.interop.state_dicts import read_networks
from limner.interop.trees import count

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.dm_gan import DMGAN, DMGANSettings

TITLE = "DM-GAN"
GENERATOR: trees.Names = [
    *trees.GENERATOR,
    (r"h_net(\d)\.A\.weight", r"memories.{\1-2}.gate_words.weight"),
    (r"h_net(\d)\.B\.weight", r"memories.{\1-2}.gate_map.weight"),
    (r"h_net(\d)\.M_w\.0\.(weight|bias)", r"memories.{\1-2}.write_words.\2"),
    (r"h_net(\d)\.M_r\.0\.(weight|bias)", r"memories.{\1-2}.write_map.\2"),
    (r"h_net(\d)\.(key|value)\.0\.(weight|bias)", r"memories.{\1-2}.\2.\3"),
    (r"h_net(\d)\.response_gate\.0\.(weight|bias)", r"memories.{\1-2}.response.\2"),
]
DISCRIMINATOR: trees.Names = [
    (r"img_code_s16\.(\d)\.(.+)", r"picture.\1.\2"),
    (r"COND_DNET\.jointConv\.0\.(.+)", r"matching.joint.0.\1"),
    (r"UNCOND_DNET\.outlogits\.0\.(weight|bias)", r"reality.logits.\1"),
    (r"COND_DNET\.outlogits\.0\.(weight|bias)", r"matching.logits.\1"),
]
WRAPPED = {".module.weight_bar": ".weight", ".module.bias": ".bias", ".module.weight_u": ".u", ".module.weight_v": ".v"}
"""What the authors' wrapper calls the parts of a convolution of spectral norm; its `module` is not DataParallel's."""
UNKNOWN = "not a network of DM-GAN: give the authors' netG_epoch_N.pth or netD0.pth to netD2.pth"


def read_dm_gan(files: Sequence[Path], *, mixed_padding: bool = False, within: Sequence[str] = ()) -> tuple[DMGAN, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held; another player's weights are 0.

    mixed_padding: whether it hides padding as the authors' code does. within: as `read_networks` takes it.
    """
    from limner.methods.dm_gan import DMGAN

    states = trees.read_players(files, lambda path: _read(path, within), "the authors' netG_epoch_N.pth (or bird_DMGAN.pth)")
    settings, conditions = _sizes(states, mixed_padding)
    return trees.built(lambda: DMGAN(settings, conditions), states, TITLE), trees.order(states)


def _read(path: Path, within: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """The players that a file holds, and their tensors under Limner's names."""
    found = read_networks(path, trees.player, UNKNOWN, within=within)
    return {player: _named(path, player, plain) for player, plain in found.items()}


def _named(path: Path, player: str, plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if player == "generator":
        named = {trees.renamed(key, GENERATOR, path, UNKNOWN): value for key, value in plain.items()}
        return {key: value.flatten(1) if _is_word_wise(key, value) else value for key, value in named.items()}
    if not any(key.endswith(".module.weight_bar") for key in plain):
        raise CheckpointError(f"{path} has no spectral norms, as AttnGAN's discriminators: give DM-GAN's, or import it as attngan")
    first = 8  # how many layers img_code_s16 has
    later = [(rf"{name}\.0\.(.+)", rf"picture.{first + 2 * place}.\1") for place, name in enumerate(trees.trunk(plain))]
    names, state = [*DISCRIMINATOR, *later], {}
    for key, value in plain.items():
        theirs = next((end for end in WRAPPED if key.endswith(end)), "")
        state[trees.renamed(key.removesuffix(theirs) + WRAPPED.get(theirs, ""), names, path, UNKNOWN)] = value
    return state


def _is_word_wise(key: str, value: Tensor) -> bool:
    """Whether a weight is that of a convolution over a line of words, [C, D, 1], for which Limner has a linear layer."""
    return key.startswith("memories.") and value.dim() == 3


def _sizes(states: Mapping[str, Mapping[str, Tensor]], mixed_padding: bool) -> tuple[DMGANSettings, Conditions]:
    """Every width, from the shapes of the weights; what a missing network would say stays as published."""
    from limner.core.trainable import Conditions
    from limner.methods.dm_gan import DMGANSettings

    state = states["generator"]
    try:
        levels, later = count(state, r"first\.layers\.\d"), count(state, r"memories\.\d")
        condition = state["augmentation.linear.weight"].shape[0] // 4
        conditions = Conditions(
            resolution=4 * 2 ** (levels + later),
            sentence_width=state["augmentation.linear.weight"].shape[1],
            word_width=state["memories.0.write_words.weight"].shape[1] if later else None,
        )
        settings = DMGANSettings(
            branches=later + 1,
            mixed_padding=mixed_padding,
            condition_width=condition,
            noise_width=state["first.linear.0.weight"].shape[1] - condition,
            generator_channels=state["pictures.0.0.weight"].shape[1],
            discriminator_channels=trees.common_width(states) or DMGANSettings().discriminator_channels,
            residual_blocks=count(state, r"later\.0\.residuals\.\d"),
        )
    except (KeyError, IndexError) as error:
        raise trees.not_one("generator", TITLE, f"it lacks {error}") from error
    return settings, conditions


IMPORTER = NetworkImporter(
    name="dm-gan",
    help="DM-GAN's generator, with its text encoder and discriminators: bird_DMGAN.pth, text_encoderN.pth, netD0.pth ...",
    description=f"""Turn networks of DM-GAN's authors (MinfengZhu/DM-GAN) into Limner's dm-gan.
{trees.WITH_TEXT}.""",
    examples=(
        "limner import dm-gan bird_DMGAN.pth --text text_encoder200.pth --words captions.pickle --out models/birds",
        "limner import dm-gan netG_epoch_800.pth netD0.pth netD1.pth netD2.pth --out networks/birds",
    ),
    options=trees.TreeOptions,
    read=read_dm_gan,
    source="github.com/MinfengZhu/DM-GAN",
)
import_dm_gan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
