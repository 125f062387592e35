"""Checkpoints of AttnGAN's authors (taoxugit/AttnGAN: `bird_AttnGAN2.pth`, `netG_epoch_N.pth`, `netD0.pth` to `netD2.pth`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from limner.core.errors import CheckpointError, SettingsError
from limner.core.method import Conditions, Method
from limner.interop.networks import keep_imported
from limner.interop.state_dicts import read_state_dict
from limner.methods.attngan import NAME, AttnGAN, AttnGANSettings, discriminator_name
from limner.text.encoder import TextEncoder

MethodType = TypeVar("MethodType", bound=Method)
SYSTEM = "AttnGAN"
SOURCE = "github.com/taoxugit/AttnGAN"
GENERATOR: list[tuple[str, str]] = [
    (r"ca_net\.fc\.(.+)", r"augmentation.linear.\1"),
    (r"h_net1\.fc\.(\d)\.(.+)", r"first.linear.\1.\2"),
    (r"h_net1\.upsample(\d)\.(.+)", r"first.layers.{\1-1}.\2"),
    (r"h_net(\d)\.att\.conv_context\.weight", r"attention.{\1-2}.project.weight"),
    (r"h_net(\d)\.residual\.(\d)\.block\.(.+)", r"later.{\1-2}.residuals.\2.layers.\3"),
    (r"h_net(\d)\.upsample\.(.+)", r"later.{\1-2}.upsampling.\2"),
    (r"img_net(\d)\.img\.(.+)", r"pictures.{\1-1}.\2"),
    (r"img_net\.img\.(.+)", r"pictures.0.\1"),
]
"""What the authors call the generator's parts, and what Limner does; what stands in braces is a difference."""
UNUSED = "unused"
"""The name of weights that a file holds and the authors' code never calls."""
DISCRIMINATOR: list[tuple[str, str]] = [
    (r"img_code_s16\.(\d+)\.(.+)", r"picture.\1.\2"),
    (r"UNCOND_DNET\.outlogits\.0\.(.+)", r"reality.logits.\1"),
    (r"COND_DNET\.jointConv\.(\d)\.(.+)", r"matching.joint.\1.\2"),
    (r"COND_DNET\.outlogits\.0\.(.+)", r"matching.logits.\1"),
]
TRUNKS = {64: [], 128: ["img_code_s32", "img_code_s32_1"], 256: ["img_code_s32", "img_code_s64", "img_code_s64_1", "img_code_s64_2"]}
"""What follows `img_code_s16` in the discriminator of each side, in order: a convolution, its normalisation and a LeakyReLU each."""


def import_attngan(files: Sequence[Path], out: Path, encoder: TextEncoder | None = None, *, mixed_padding: bool = False) -> None:
    """Turn the authors' files into a Limner folder.

    files: a generator, with any of its discriminators. out: the folder, which must not exist or be empty. encoder: the text encoder that
    they were trained with (`limner.interop.damsm.read_text_encoder`), which makes `out` a model that paints captions. mixed_padding:
    whether it hides padding as the authors' code did.
    Raises CheckpointError for a file that is not theirs, SettingsError for a combination that cannot work.
    """
    method, players = read_attngan(files, mixed_padding=mixed_padding)
    check_words(method, encoder)
    keep_imported(NAME, method, players, files, out, encoder, SOURCE)


def read_attngan(files: Sequence[Path], *, mixed_padding: bool = False) -> tuple[AttnGAN, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held; another player's weights are 0."""
    states = read_states(files, GENERATOR, SYSTEM)
    values, conditions = sizes(states, "attention.0", SYSTEM)
    method = filled(lambda: AttnGAN(AttnGANSettings(**values, mixed_padding=mixed_padding), conditions), states, SYSTEM)
    return method, in_order(states)


def check_words(method: Method, encoder: TextEncoder | None) -> None:
    """Raises SettingsError for a text encoder whose words are not as wide as the generator's."""
    if encoder is not None and method.settings.reads_words and encoder.word_width != method.conditions.word_width:
        raise SettingsError(
            f"the text encoder's words have {encoder.word_width} numbers, the generator wants {method.conditions.word_width}: "
            "give the encoder that it was trained with"
        )


def read_states(files: Sequence[Path], generator: Sequence[tuple[str, str]], system: str) -> dict[str, dict[str, Tensor]]:
    """The tensors of AttnGAN's files, or of an heir's, by player and under Limner's names.

    generator: `GENERATOR`, or the heir's. system: the paper's name for it, for errors.
    """
    states: dict[str, dict[str, Tensor]] = {}
    for path in files:
        player, state = _read(path, generator, system)
        if player in states:
            raise SettingsError(f"{path} is a second {player.replace('-', ' of side ')}: give each file once")
        states[player] = state
    if "generator" not in states:
        raise SettingsError("no generator among the files: give the authors' netG_epoch_N.pth (or bird_AttnGAN2.pth)")
    return states


def in_order(states: Iterable[str]) -> list[str]:
    """The players of the files: the generator, then discriminators by side."""
    return sorted(states, key=lambda player: (player != "generator", len(player), player))


def filled(build: Callable[[], MethodType], states: Mapping[str, Mapping[str, Tensor]], system: str) -> MethodType:
    """What `build` makes with the files' weights, in evaluation mode; the weights of players without a file are 0."""
    with torch.device("meta"):  # initial weights, which these replace, would take longer than all else
        method = build()
    method._apply(lambda value: torch.zeros_like(value, device="cpu"))
    players = method.players()
    for player, state in states.items():
        if player not in players:
            raise CheckpointError(f"the generator paints {method.conditions.resolution} px and needs no {player}: leave that file out")
        expected = players[player].module.state_dict()
        complete = {key: value for key, value in expected.items() if key.endswith("num_batches_tracked")} | state  # old files lack these
        try:
            players[player].module.load_state_dict(complete)
        except RuntimeError as error:
            raise _not_one(player, " ".join(str(error).split("\n\t")[1:2]).strip(), system) from error
    return method.eval()


def _read(path: Path, generator: Sequence[tuple[str, str]], system: str) -> tuple[str, dict[str, Tensor]]:
    """Which player a file holds, and its tensors under Limner's names."""
    plain = {name.removeprefix("module."): value for name, value in read_state_dict(path).items()}  # DataParallel's prefix
    if "ca_net.fc.weight" in plain:
        renamed = {_renamed(key, generator, path, system): value for key, value in plain.items()}
        renamed.pop(UNUSED, None)
        return "generator", {key: value.flatten(1) if key.endswith("project.weight") else value for key, value in renamed.items()}
    parts = {key.split(".")[0] for key in plain}
    side = next((side for side, trunk in TRUNKS.items() if parts - {"UNCOND_DNET", "COND_DNET"} == {"img_code_s16", *trunk}), None)
    if side is None or "COND_DNET" not in parts:
        raise CheckpointError(f"{path} is no network of {system}: give the authors' netG_epoch_N.pth, netD0.pth, netD1.pth or netD2.pth")
    first = 11  # how many layers img_code_s16 has
    later = [(rf"{name}\.(\d)\.(.+)", rf"picture.{{{first + 3 * place}+\1}}.\2") for place, name in enumerate(TRUNKS[side])]
    return discriminator_name(side), {_renamed(key, [*DISCRIMINATOR, *later], path, system): value for key, value in plain.items()}


def _renamed(key: str, names: Sequence[tuple[str, str]], path: Path, system: str) -> str:
    for theirs, ours in names:
        if found := re.fullmatch(theirs, key):
            return re.sub(r"\{(\d+)([+-])(\d+)\}", _computed, found.expand(ours))
    raise CheckpointError(f"'{key}' in {path} is of no network of {system}: give the authors' netG_epoch_N.pth or netD0.pth to netD2.pth")


def _computed(found: re.Match[str]) -> str:
    left, sign, right = found.groups()
    return str(int(left) + int(right) * (1 if sign == "+" else -1))


def sizes(states: Mapping[str, Mapping[str, Tensor]], words: str, system: str) -> tuple[dict[str, Any], Conditions]:
    """Every width as a setting, from the shapes of the weights; what a missing network would say stays as published.

    words: the generator's first projection of words.
    """
    state = states["generator"]

    def count(pattern: str) -> int:
        return len({found[0] for key in state if (found := re.match(pattern, key))})

    try:
        levels, later, pictures = count(r"first\.layers\.\d"), count(r"later\.\d"), count(r"pictures\.\d")
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
            "residual_blocks": count(r"later\.0\.residuals\.\d"),
        }
        judges = {player: state for player, state in states.items() if player != "generator"}
        widths = {state["picture.0.weight"].shape[0] for state in judges.values()}
        if len(widths) > 1:
            raise CheckpointError("the discriminators are of different widths: give files of one training")
        if judges:
            unconditional = any(key.startswith("reality.") for state in judges.values() for key in state)
            values |= {"discriminator_channels": widths.pop(), "unconditional_loss": unconditional}
        elif values["last_picture_only"]:
            values["unconditional_loss"] = False
    except (KeyError, IndexError) as error:
        raise _not_one("generator", f"it lacks {error}", system) from error
    return values, conditions


def _not_one(player: str, why: str, system: str) -> CheckpointError:
    return CheckpointError(f"the {player} is none of {system}'s ({why}): give another file")
