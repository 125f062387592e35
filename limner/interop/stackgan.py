"""Checkpoints of github.com/hanzhanggit/StackGAN-Pytorch (`netG_epoch_N.pth`, `netD_epoch_last.pth` of either stage) become `stackgan`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import CheckpointError, SettingsError
from limner.interop.importer import EncoderOptions, Files, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.stackgan import StackGAN, StackGANSettings

COMMON = {r"^ca_net\.fc\.": "text.linear.", r"^upsample(\d+)\.": lambda found: f"up.{int(found[1]) - 1}.", r"^img\.": "picture."}
GENERATORS: dict[str, dict[str, Any]] = {
    "generator-1": COMMON | {r"^fc\.": "start."},
    "generator-2": COMMON | {r"^encoder\.": "reading.", r"^hr_joint\.": "joint.", r"^residual\.(\d+)\.block\.": r"residual.\1.layers."},
}
DISCRIMINATOR: dict[str, Any] = {
    r"^encode_img\.": "picture.",
    r"^get_cond_logits\.outlogits\.([01])\.": r"matching.joint.\1.",
    r"^get_cond_logits\.outlogits\.3\.": "matching.logits.",
    r"^get_uncond_logits\.outlogits\.0\.": "alone.logits.",
}
"""What the authors call the parts of each network, and what Limner does."""
STAGE_1_PREFIX = "STAGE1_G."
PARTS = {"fc": "generator-1", "hr_joint": "generator-2", "get_uncond_logits": "discriminator-2", "get_cond_logits": "discriminator-1"}
"""By which part each network is known, the first that is found."""
WANTED = "give netG_epoch_N.pth or netD_epoch_last.pth of either stage"


@dataclass(frozen=True, kw_only=True)
class Options(EncoderOptions):
    """What `limner import stackgan` takes."""

    files: Files
    """Generators and discriminators of Stage-I, Stage-II or both, in any order; a Stage-II generator has its Stage-I within."""


def read_stackgan(files: Sequence[Path], *, within: Sequence[str] = ()) -> tuple[StackGAN, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held; other networks are fresh.

    files: in any order; a Stage-II generator holds its Stage-I within, and one of Stage-I alone makes a method that paints Stage-I's
    pictures. within: as `read_networks` takes it.
    """
    from limner.methods.stackgan import StackGAN

    states: dict[str, dict[str, Tensor]] = {}
    inner: dict[str, Tensor] = {}
    for path in files:
        for player, state in read_networks(path, _player, f"not a network of StackGAN-Pytorch: {WANTED}", within=within).items():
            if player in states:
                raise SettingsError(f"{path} is a second {player}: give at most one of each")
            states[player] = state
            if player == "generator-2":
                inner = {key.removeprefix(STAGE_1_PREFIX): value for key, value in state.items() if key.startswith(STAGE_1_PREFIX)}
                states[player] = {key: value for key, value in state.items() if not key.startswith(STAGE_1_PREFIX)}
    if not states:
        raise SettingsError(f"no file to import: {WANTED}")
    if inner:
        _check_same(states.get("generator-1", inner), inner)
        states["generator-1"] = inner  # of the two, the one whose statistics Stage-II was trained with
    named = {player: dict(zip(renamed_keys(player, state), state.values(), strict=True)) for player, state in states.items()}
    settings, conditions = _sizes(named)
    try:
        method = StackGAN(settings, conditions)
    except SettingsError as error:
        raise CheckpointError(f"the {' and the '.join(named)} cannot be of the authors' StackGAN ({error}): {WANTED}") from error
    filled(method, named, lambda player, detail: f"the {player} is not the authors' StackGAN ({detail}): {WANTED}")
    if not any(player.endswith("2") for player in named):
        method.stage = 1
    return method, [player for player in method.players() if player in named]


def _player(tensors: Mapping[str, Tensor]) -> str | None:
    """The player whose network these tensors are."""
    parts = {name.split(".")[0] for name in tensors}
    return next((player for part, player in PARTS.items() if part in parts and (part != "fc" or "ca_net" in parts)), None)


def _check_same(alone: Mapping[str, Tensor], within: Mapping[str, Tensor]) -> None:
    """Raise SettingsError where a Stage-I generator is not the one in a Stage-II generator's file; running statistics may differ."""
    import torch

    learned = [key for key in within if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    if not all(key in alone and torch.equal(alone[key], within[key]) for key in learned):
        raise SettingsError("the Stage-I generator is not the one that the Stage-II generator was trained on: leave it out")


def renamed_keys(player: str, keys: Iterable[str]) -> list[str]:
    """Limner's names of a player's tensors, given the authors'."""
    names = GENERATORS.get(player, DISCRIMINATOR)

    def renamed(key: str) -> str:
        for pattern, replacement in names.items():
            new, found = re.subn(pattern, replacement, key)
            if found:
                return new
        return key

    return [renamed(key) for key in keys]


def _sizes(states: Mapping[str, Mapping[str, Tensor]]) -> tuple[StackGANSettings, Conditions]:
    """Every width, from the shapes of the weights; what missing networks would say follows the published ones."""
    found: dict[str, set[int]] = {}

    def note(name: str, value: int) -> None:
        found.setdefault(name, set()).add(value)

    try:
        for player, state in states.items():
            convolutions = [value for key, value in state.items() if key.startswith("picture.") and value.ndim == 4]
            if player.startswith("discriminator"):
                narrowest = convolutions[0].shape[0]
                note("discriminator_channels", narrowest)
                note("condition_width", state["matching.joint.0.weight"].shape[1] - state["matching.joint.0.weight"].shape[0])
                strided = sum(value.shape[-1] == 4 for value in convolutions)
                note("resolution" if player.endswith("2") else "rough", 2 ** (strided + 2))
                continue
            twice, sentence_width = state["text.linear.weight"].shape
            note("condition_width", twice // 2)
            note("sentence_width", sentence_width)
            levels = len({key.split(".")[1] for key in state if key.startswith("up.")})
            if player == "generator-1":
                code, width = state["start.0.weight"].shape
                note("noise_width", width - twice // 2)
                note("generator_channels", code // (8 * 16))
                note("rough", 4 * 2**levels)
            else:
                note("generator_channels", state["reading.0.weight"].shape[0])
                note("residual_blocks", len({key.split(".")[1] for key in state if key.startswith("residual.")}))
                note("factor", 2 ** (levels - 2))
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"the {player} is not the authors' StackGAN (weights of other shapes): {WANTED}") from error
    for name, values in found.items():
        if len(values) > 1:
            raise CheckpointError(f"the files are of different sizes ({name.replace('_', ' ')}): give those of one training")
    sizes: dict[str, int] = {name: values.pop() for name, values in found.items()}
    return _settings(sizes)


def _settings(sizes: dict[str, int]) -> tuple[StackGANSettings, Conditions]:
    from limner.core.trainable import Conditions
    from limner.methods.stackgan import StackGANSettings

    # What is missing is in the proportion to what is there that it has in the published networks.
    if "generator_channels" in sizes:
        sizes.setdefault("discriminator_channels", max(sizes["generator_channels"] // 2, 1))
    else:
        sizes["generator_channels"] = 2 * sizes["discriminator_channels"]
    rough, final, sentence_width = sizes.pop("rough", None), sizes.pop("resolution", None), sizes.pop("sentence_width", 1024)
    factor = sizes.get("factor", final // rough if final and rough else StackGANSettings().factor)
    resolution = final or (rough or 64) * factor
    if rough and resolution != rough * factor:
        raise CheckpointError(f"the files are of different sizes ({rough} px, {resolution} px): give those of one training")
    return StackGANSettings(**(sizes | {"factor": factor})), Conditions(resolution=resolution, sentence_width=sentence_width)  # type: ignore[arg-type]


IMPORTER = NetworkImporter(
    name="stackgan",
    help="generators and discriminators of StackGAN-Pytorch, either stage: netG_epoch_N.pth, netD_epoch_last.pth",
    description="Turn networks of the authors' PyTorch program (hanzhanggit/StackGAN-Pytorch) into Limner's stackgan.",
    examples=(
        "limner import stackgan netG_epoch_90.pth --encoder encoders/coco --out models/coco",
        "limner import stackgan stage1/netD_epoch_last.pth stage2/netG_epoch_90.pth stage2/netD_epoch_last.pth --out networks/coco",
    ),
    options=Options,
    read=read_stackgan,
    source="github.com/hanzhanggit/StackGAN-Pytorch",
)
import_stackgan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
