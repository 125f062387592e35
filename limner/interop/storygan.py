"""Checkpoints of github.com/yitong91/StoryGAN (`netG_epoch_N.pth`, `netD_im_epoch_last.pth`, `netD_st_epoch_last.pth`) become `storygan`.

The generator's file holds a network for conditioning augmentation, `ca_net`, which the authors' code never calls: it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from limner.core.errors import CheckpointError, SettingsError
from limner.interop.importer import EncoderOptions, Files, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.methods.storygan import StoryGAN

GENERATOR: dict[str, Any] = {
    r"^recurrent\.": "context.sentences.",
    r"^mocornn\.": "context.context.",
    r"^fc\.": "context.state_map.",
    r"^filter_net\.": "context.filter.",
    r"^image_net\.": "context.image.",
    r"^downsamples\.": "context.gist_map.",
    r"^upsample(\d+)\.": lambda found: f"layers.{int(found[1]) - 1}.",
}
DISCRIMINATOR: dict[str, Any] = {
    r"^encode_img\.": "picture.",
    r"^cate_classify\.": "category.",
    r"^get_cond_logits\.conv1\.": "head.picture.",
    r"^get_cond_logits\.convc\.": "head.text.",
    r"^get_cond_logits\.conv2\.0\.": "head.logit.",
}
"""What the authors call the parts of each network, and what Limner does."""
UNUSED = "ca_net."
WANTED = "give netG_epoch_N.pth, netD_im_epoch_last.pth, netD_st_epoch_last.pth or several of them"
FRAMES = 4
"""Frames of a story where no file says how many: those of CLEVR-SV."""


@dataclass(frozen=True, kw_only=True)
class Options(EncoderOptions):
    """What `limner import storygan` takes."""

    files: Files
    """The authors' netG, netD_im and netD_st files, or some of them, in any order."""
    frames: Annotated[int | None, arg(metavar="N")] = None
    """Frames of a story, which a generator's file does not say: by default those of the stories' discriminator, or the 4 of CLEVR-SV."""


def read_storygan(files: Sequence[Path], frames: int | None = None, *, within: Sequence[str] = ()) -> tuple[StoryGAN, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held; other networks are fresh.

    files: in any order. frames: of a story, where no file says it. within: as `read_networks` takes it.
    """
    from limner.methods.storygan import StoryGAN

    if frames is not None and frames < 2:
        raise SettingsError(f"--frames is {frames}: a story has at least 2 pictures")
    states: dict[str, dict[str, Tensor]] = {}
    for path in files:
        for player, state in read_networks(path, _player, f"not a network of StoryGAN: {WANTED}", within=within).items():
            if player in states:
                raise SettingsError(f"{path} is a second {player}: give at most one of each")
            used = {key: value for key, value in state.items() if not key.startswith(UNUSED)}
            levels = sum(key.startswith("upsample") and key.endswith(".1.weight") for key in used)
            states[player] = dict(zip(renamed_keys(player, used, levels), used.values(), strict=True))
    if not states:
        raise SettingsError(f"no file to import: {WANTED}")
    settings, conditions = _sizes(states, frames)
    from limner.core.trainable import Conditions
    from limner.methods.storygan import StoryGANSettings

    try:
        method = StoryGAN(StoryGANSettings(augmentation="none", **settings), Conditions(**conditions))
    except SettingsError as error:
        raise CheckpointError(f"the {' and the '.join(states)} cannot be of the authors' StoryGAN ({error}): {WANTED}") from error
    filled(method, states, lambda player, detail: f"the {player} is not the authors' StoryGAN ({detail}): {WANTED}")
    return method, [player for player in method.players() if player in states]


def _player(tensors: Mapping[str, Tensor]) -> str | None:
    """The player whose network these tensors are: the stories' discriminator has no categories."""
    parts = {name.split(".")[0] for name in tensors}
    if {"recurrent", "mocornn", "filter_net"} <= parts:
        return "generator"
    if "encode_img" not in parts or not any(name.startswith("get_cond_logits.convc.") for name in tensors):
        return None
    seen, told = (tensors[name].shape for name in ("get_cond_logits.conv1.0.weight", "get_cond_logits.convc.0.weight"))
    return "story-discriminator" if seen[1] > told[0] else "discriminator"


def renamed_keys(player: str, keys: Iterable[str], levels: int) -> list[str]:
    """Limner's names of a player's tensors, given the authors'. levels: how often the generator doubles the side."""
    names = GENERATOR | {r"^img\.0\.": f"layers.{levels}.0."} if player == "generator" else DISCRIMINATOR

    def renamed(key: str) -> str:
        for pattern, replacement in names.items():
            new, found = re.subn(pattern, replacement, key)
            if found:
                return new
        return key

    return [renamed(key) for key in keys]


def _sizes(states: Mapping[str, Mapping[str, Tensor]], frames: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of settings and of conditions, from the shapes of the weights; what missing networks would say stays as published."""
    found: dict[str, set[int]] = {"frames": set() if frames is None else {frames}}

    def note(name: str, value: int) -> None:
        found.setdefault(name, set()).add(value)

    try:
        for player, state in states.items():
            if player == "generator":
                width = state["context.context.weight_hh"].shape[1]
                note("sentence_width", width)
                note("noise_width", state["context.sentences.weight_ih"].shape[1] - width)
                note("generator_channels", state["context.gist_map.0.weight"].shape[0] // 8)
                note("resolution", 4 * 2 ** (len({key.split(".")[1] for key in state if key.startswith("layers.")}) - 1))
                continue
            code = state["head.logit.weight"].shape[1]
            note("sentence_width", state["head.text.0.weight"].shape[1])
            note("discriminator_channels", code // 8)
            note("resolution", 4 * 2 ** sum(key.startswith("picture.") and value.ndim == 4 for key, value in state.items()))
            if player == "story-discriminator":
                note("frames", state["head.picture.0.weight"].shape[1] // code)
            elif "category.weight" in state:
                note("category_count", state["category.weight"].shape[0])
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"the {player} is not the authors' StoryGAN (weights of other shapes): {WANTED}") from error
    for name, values in found.items():
        if len(values) > 1:
            raise CheckpointError(f"the files are of different sizes ({name.replace('_', ' ')}): give those of one training")
    sizes = {name: values.pop() for name, values in found.items() if values}
    fixed = {"resolution": 64, "sentence_width": 75, "frames": FRAMES, "category_count": 0}
    conditions = {name: sizes.pop(name, value) for name, value in fixed.items()}
    return sizes, conditions


IMPORTER = NetworkImporter(
    name="storygan",
    help="generator and discriminators of StoryGAN: netG_epoch_N.pth, netD_im_epoch_last.pth, netD_st_epoch_last.pth",
    description="Turn networks of the authors' program (yitong91/StoryGAN) into Limner's storygan.",
    examples=(
        "limner import storygan netG_epoch_120.pth --encoder encoders/attributes --out models/clevr-sv",
        "limner import storygan netG_epoch_120.pth netD_im_epoch_last.pth netD_st_epoch_last.pth --out networks/clevr-sv",
    ),
    options=Options,
    read=read_storygan,
    source="github.com/yitong91/StoryGAN",
)
import_storygan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
