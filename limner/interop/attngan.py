"""Checkpoints of AttnGAN's authors (taoxugit/AttnGAN: `bird_AttnGAN2.pth`, `netG_epoch_N.pth`, `netD0.pth` to `netD2.pth`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.interop import trees
from limner.interop.importer import NetworkImporter
from limner.interop.state_dicts import read_networks
from limner.interop.trees import count

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.attngan import AttnGAN

TITLE = "AttnGAN"
GENERATOR: trees.Names = [
    *trees.GENERATOR,
    (r"h_net(\d)\.att\.conv_context\.weight", r"attention.{\1-2}.project.weight"),
    (r"img_net\.img\.(.+)", r"pictures.0.\1"),
]
DISCRIMINATOR: trees.Names = [
    (r"img_code_s16\.(\d+)\.(.+)", r"picture.\1.\2"),
    (r"UNCOND_DNET\.outlogits\.0\.(.+)", r"reality.logits.\1"),
    (r"COND_DNET\.jointConv\.(\d)\.(.+)", r"matching.joint.\1.\2"),
    (r"COND_DNET\.outlogits\.0\.(.+)", r"matching.logits.\1"),
]


def read_attngan(files: Sequence[Path], *, mixed_padding: bool = False, within: Sequence[str] = ()) -> tuple[AttnGAN, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held; another player's weights are 0.

    mixed_padding: whether it hides padding as the authors' code does. within: as `read_networks` takes it.
    """
    from limner.methods.attngan import AttnGAN, AttnGANSettings

    states = trees.read_players(
        files, lambda path: read_file(path, GENERATOR, TITLE, within), "the authors' netG_epoch_N.pth (or bird_AttnGAN2.pth)"
    )
    values, conditions = sizes(states, "attention.0", TITLE)
    settings = AttnGANSettings(**values, mixed_padding=mixed_padding)
    return trees.built(lambda: AttnGAN(settings, conditions), states, TITLE), trees.order(states)


def read_file(path: Path, generator: trees.Names, title: str, within: Sequence[str] = ()) -> dict[str, dict[str, Tensor]]:
    """The players that a file holds, and their tensors under Limner's names; generator, title: AttnGAN's, or those of a later method."""
    wanted = f"not a network of {title}: give the authors' netG_epoch_N.pth, netD0.pth, netD1.pth or netD2.pth"
    found = read_networks(path, trees.player, wanted, within=within)
    return {player: named_tensors(path, player, plain, generator, title) for player, plain in found.items()}


def named_tensors(path: Path, player: str, plain: Mapping[str, Tensor], generator: trees.Names, title: str) -> dict[str, Tensor]:
    """A player's tensors under Limner's names, given the authors'."""
    unknown = f"not a network of {title}: give the authors' netG_epoch_N.pth or netD0.pth to netD2.pth"
    if player == "generator":
        named = {trees.renamed(key, generator, path, unknown): value for key, value in plain.items()}
        named.pop(trees.UNUSED, None)
        return trees.without_kernels(named)
    first = 11  # how many layers img_code_s16 has
    trunk = enumerate(trees.trunk(plain))
    later = [(rf"{name}\.(\d)\.(.+)", rf"picture.{{{first + 3 * place}+\1}}.\2") for place, name in trunk]
    return {trees.renamed(key, [*DISCRIMINATOR, *later], path, unknown): value for key, value in plain.items()}


def sizes(states: Mapping[str, Mapping[str, Tensor]], words: str, title: str) -> tuple[dict[str, Any], Conditions]:
    """Every width as a setting, from the shapes of the weights; what a missing network would say stays as published.

    words: the generator's first projection of words. title: AttnGAN's, or that of a later method.
    """
    from limner.core.trainable import Conditions

    state = states["generator"]
    try:
        levels, later, pictures = count(state, r"first\.layers\.\d"), count(state, r"later\.\d"), count(state, r"pictures\.\d")
        condition = state["augmentation.linear.weight"].shape[0] // 4
        conditions = Conditions(
            resolution=4 * 2 ** (levels + later),
            sentence_width=state["augmentation.linear.weight"].shape[1],
            word_width=state[f"{words}.project.weight"].shape[1] if later else None,
        )
        values: dict[str, Any] = {
            "branches": later + 1,
            "last_picture_only": pictures < later + 1,
            "condition_width": condition,
            "noise_width": state["first.linear.0.weight"].shape[1] - condition,
            "generator_channels": state["pictures.0.0.weight"].shape[1],
            "residual_blocks": count(state, r"later\.0\.residuals\.\d"),
        }
        width = trees.common_width(states)
        if width is not None:
            unconditional = any(key.startswith("reality.") for player, held in states.items() if player != "generator" for key in held)
            values |= {"discriminator_channels": width, "unconditional_loss": unconditional}
        elif values["last_picture_only"]:
            values["unconditional_loss"] = False
    except (KeyError, IndexError) as error:
        raise trees.not_one("generator", title, f"it lacks {error}") from error
    return values, conditions


IMPORTER = NetworkImporter(
    name="attngan",
    help="AttnGAN's generator, with its text encoder and discriminators: netG_epoch_N.pth, text_encoderN.pth, netD0.pth ...",
    description=f"""Turn networks of AttnGAN's authors (taoxugit/AttnGAN) into Limner's attngan.
{trees.WITH_TEXT}.""",
    examples=(
        "limner import attngan bird_AttnGAN2.pth --text text_encoder200.pth --words captions.pickle --out models/birds",
        "limner import attngan netG_epoch_600.pth netD0.pth netD1.pth netD2.pth --out networks/birds",
    ),
    options=trees.TreeOptions,
    read=read_attngan,
    source="github.com/taoxugit/AttnGAN",
)
import_attngan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
