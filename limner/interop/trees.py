"""What the authors' checkpoints of AttnGAN and later methods have in common: a file for each network, and names for the parts of a tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeVar

from tyro.conf import arg

from limner.core.errors import CheckpointError, SettingsError
from limner.interop.importer import Files, ImportOptions, filled

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.method import Method
    from limner.text.encoder import TextEncoder

Names = list[tuple[str, str]]
MethodType = TypeVar("MethodType", bound="Method")

GENERATOR: Names = [
    (r"ca_net\.fc\.(.+)", r"augmentation.linear.\1"),
    (r"h_net1\.fc\.(\d)\.(.+)", r"first.linear.\1.\2"),
    (r"h_net1\.upsample(\d)\.(.+)", r"first.layers.{\1-1}.\2"),
    (r"h_net(\d)\.residual\.(\d)\.block\.(.+)", r"later.{\1-2}.residuals.\2.layers.\3"),
    (r"h_net(\d)\.upsample\.(.+)", r"later.{\1-2}.upsampling.\2"),
    (r"img_net(\d)\.img\.(.+)", r"pictures.{\1-1}.\2"),
]
"""What the authors call the generator's parts, and what Limner does; what stands in braces is a difference."""
WITH_TEXT = "With their text encoder and the captions.pickle that its words are numbered by, this makes a model that paints captions"
"""What the importers' descriptions say of a text encoder."""
UNUSED = "unused"
"""The name of weights that a file holds and the authors' code never calls."""
TRUNKS = {64: [], 128: ["img_code_s32", "img_code_s32_1"], 256: ["img_code_s32", "img_code_s64", "img_code_s64_1", "img_code_s64_2"]}
"""What follows `img_code_s16` in the discriminator of each side, in order: a convolution and what comes after it each."""


@dataclass(frozen=True, kw_only=True)
class TreeOptions(ImportOptions):
    """What importers of AttnGAN and later methods of its family take."""

    needs: ClassVar[str] = "--text and --words"
    files: Files
    """The authors' generator, and any of its discriminators: netG_epoch_N.pth, netD0.pth, netD1.pth, netD2.pth."""
    text: Annotated[Path | None, arg(metavar="FILE")] = None
    """The text_encoderN.pth that the generator was trained with: makes a model. Without it the networks alone are kept."""
    words: Annotated[Path | None, arg(metavar="FILE")] = None
    """The vocabulary of that text encoder: its captions.pickle, or a text of one word a line, that of id 1 first."""
    maximum_words: Annotated[int, arg(metavar="N")] = 25
    """Words of a caption that are read: as published 25 for birds and 20 for COCO when painting."""
    mixed_padding: bool = False
    """Hide padding from the attention as the authors' code does, which mixes the captions of a batch: pictures then depend on it."""

    def text_encoder(self) -> TextEncoder | None:
        """The encoder in the files that were given, or None. Raises SettingsError where one of the two is missing."""
        if (self.text is None) != (self.words is None):
            raise SettingsError("a text encoder and its vocabulary belong together: give --text and --words, or neither")
        if self.text is None or self.words is None:
            return None
        from limner.interop.damsm import read_text_encoder, read_words

        return read_text_encoder(self.text, read_words(self.words), self.maximum_words, within=self.within)


def player(state: Mapping[str, Tensor]) -> str | None:
    """The player whose network these tensors are: the generator, or a discriminator by its side."""
    from limner.families.tree import discriminator_name

    if "ca_net.fc.weight" in state:
        return "generator"
    parts = {key.split(".")[0] for key in state}
    if "COND_DNET" not in parts:
        return None
    sides = (side for side, later in TRUNKS.items() if parts - {"UNCOND_DNET", "COND_DNET"} == {"img_code_s16", *later})
    return next(map(discriminator_name, sides), None)


def trunk(state: Mapping[str, Tensor]) -> list[str]:
    """What follows `img_code_s16` in a discriminator of theirs, in order."""
    parts = {key.split(".")[0] for key in state}
    return next(later for later in TRUNKS.values() if parts - {"UNCOND_DNET", "COND_DNET"} == {"img_code_s16", *later})


def renamed(key: str, names: Names, path: Path, what: str) -> str:
    """Limner's name for theirs. Raises CheckpointError where none of `names` fits; what: a clause that says what was expected."""
    for theirs, ours in names:
        if found := re.fullmatch(theirs, key):
            return re.sub(r"\{(\d+)([+-])(\d+)\}", _computed, found.expand(ours))
    raise CheckpointError(f"'{key}' in {path} is of {what}")


def without_kernels(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, projections of words as matrices [O, I], which the authors hold as convolutions of one place [O, I, 1, 1]."""
    return {key: value.flatten(1) if key.endswith("project.weight") and value.ndim > 2 else value for key, value in state.items()}


def _computed(found: re.Match[str]) -> str:
    left, sign, right = found.groups()
    return str(int(left) + int(right) * (1 if sign == "+" else -1))


def read_players(
    files: Sequence[Path], read: Callable[[Path], Mapping[str, dict[str, Tensor]]], wanted: str
) -> dict[str, dict[str, Tensor]]:
    """The tensors of each player, under Limner's names, with the generator's among them.

    read: the players that a file holds, and their tensors. wanted: the generator's file, in words, for the error where it is missing.
    """
    states: dict[str, dict[str, Tensor]] = {}
    for path in files:
        for player, state in read(path).items():
            if player in states:
                raise SettingsError(f"{path} is a second {player.replace('-', ' of side ')}: give each file once")
            states[player] = state
    if "generator" not in states:
        raise SettingsError(f"no generator among the files: give {wanted}")
    return states


def built(build: Callable[[], MethodType], states: Mapping[str, Mapping[str, Tensor]], title: str) -> MethodType:
    """The method with those tensors, in evaluation mode; weights of players without a file are 0.

    Raises CheckpointError where the tensors are not those of its players. title: that of the system, for the error.
    """
    import torch

    with torch.device("meta"):  # initial weights, which these replace, would take longer than all else
        method = build()
    method._apply(lambda value: torch.zeros_like(value, device="cpu"))
    whole = {}
    for player, state in states.items():
        if player not in method.players():
            raise CheckpointError(f"the generator paints {method.conditions.resolution} px and needs no {player}: leave that file out")
        expected = method.players()[player].module.state_dict()
        counts = {key: value for key, value in expected.items() if key.endswith("num_batches_tracked")}  # old files lack these
        whole[player] = counts | dict(state)
    return filled(method, whole, lambda player, detail: str(not_one(player, title, detail)))


def order(players: Mapping[str, object]) -> list[str]:
    """Names of players: the generator, then discriminators by their sides."""
    return sorted(players, key=lambda player: (player != "generator", len(player), player))


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different beginnings of names fit a pattern."""
    return len({found[0] for key in state if (found := re.match(pattern, key))})


def common_width(states: Mapping[str, Mapping[str, Tensor]]) -> int | None:
    """Channels of the discriminators' first maps; None without discriminators."""
    widths = {state["picture.0.weight"].shape[0] for player, state in states.items() if player != "generator"}
    if len(widths) > 1:
        raise CheckpointError("the discriminators are of different widths: give files of one training")
    return widths.pop() if widths else None


def not_one(player: str, title: str, why: str) -> CheckpointError:
    """The error for a file that holds not a network of this player; title: the method's; why: what in the file says so."""
    return CheckpointError(f"the {player} is not {title}'s ({why}): give another file")
