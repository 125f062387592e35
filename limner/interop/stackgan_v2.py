"""Checkpoints of the authors' StackGAN-v2 (`netG_N.pth`, `netD0.pth`, `netD1.pth`, ...) become Limner's `stackgan-v2`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from limner.core.errors import CheckpointError, SettingsError
from limner.core.weights import weights_loaded_next
from limner.interop.importer import EncoderOptions, Files, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.stackgan_v2 import StackGANv2, StackGANv2Settings

BASE_SIDE = 64
"""Side of the pictures of the authors' first branch, whatever the number of branches."""
SENTENCE_WIDTH = 1024
"""Numbers in the authors' sentences, where no generator's file tells."""
TRUNK = re.compile(r"img_code_s(\d+)(?:_(\d+))?\.")
REFUSAL = "not a network of the authors' StackGAN-v2: give their netG_N.pth or netD0.pth, netD1.pth, ..."
Widths = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options(EncoderOptions):
    """What `limner import stackgan-v2` takes."""

    files: Files
    """The authors' netG_N.pth, some or all of netD0.pth, netD1.pth, netD2.pth, or both."""
    encoder: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The text encoder that the generator was trained with: makes a model that paints captions. Without it the networks alone are kept,
    unless the generator was trained without captions."""


def read_stackgan_v2(files: Sequence[Path], *, within: Sequence[str] = ()) -> tuple[StackGANv2, list[str]]:
    """The authors' files as a method in evaluation mode, and the players whose weights they held, the generator first; another player's
    network is fresh.

    files: a generator, any of the discriminators, or both, in any order. within: as `read_networks` takes it.
    """
    from limner.families.tree import discriminator_name
    from limner.methods.stackgan_v2 import StackGANv2

    states: dict[str, dict[str, Tensor]] = {}
    widths: dict[str, Widths] = {}
    for path in files:
        for player, plain in read_networks(path, _player, REFUSAL, within=within).items():
            if player in states:
                raise SettingsError(f"{path} is a second {player}: give one file of each network")
            states[player], widths[player] = _read(path, player, plain)
    if not states:
        raise SettingsError("no file to import: give the authors' netG_N.pth, some of netD0.pth, netD1.pth, netD2.pth, or both")
    settings, conditions = _sizes(widths)
    with weights_loaded_next():
        method = StackGANv2(settings, conditions)
    filled(method, states, lambda player, detail: f"the {player} is not the authors' StackGAN-v2 ({detail}): give another file")
    order = ["generator", *map(discriminator_name, method.sides)]
    return method, sorted(states, key=order.index)


def _player(tensors: Mapping[str, Tensor]) -> str | None:
    """The player whose network these tensors are."""
    from limner.families.tree import discriminator_name

    if "img_net1.img.0.weight" in tensors:
        return "generator"
    try:
        return discriminator_name(_discriminator_sizes(tensors)["side"])
    except (KeyError, IndexError):
        return None


def _read(path: Path, player: str, plain: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Widths]:
    """A player's tensors under Limner's names, and the sizes that their shapes tell."""
    try:
        if player == "generator":
            return {_generator_name(key): value for key, value in plain.items()}, _generator_sizes(plain)
        sizes = _discriminator_sizes(plain)
        names = _discriminator_names(plain, sizes["unconditional"])
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"{path} is {REFUSAL}") from error
    return {names[key]: value for key, value in plain.items()}, sizes


def _generator_name(key: str) -> str:
    """`h_net2.residual.0.block.3.weight` -> `later.0.residuals.0.layers.3.weight`. KeyError for a part that is not there."""
    part, _, rest = key.partition(".")
    if part == "ca_net":
        return rest.replace("fc.", "augmentation.linear.", 1)
    kind, number = part[:-1], int(part[-1])
    if kind == "img_net":
        return f"pictures.{number - 1}.{rest.removeprefix('img.')}"
    if kind != "h_net":
        raise KeyError(key)
    if number == 1:
        if rest.startswith("fc."):
            return f"first.linear.{rest.removeprefix('fc.')}"
        level, _, inner = rest.removeprefix("upsample").partition(".")
        return f"first.layers.{int(level) - 1}.{inner}"
    for theirs, ours in (("jointConv.", "join."), ("residual.", "residuals."), ("upsample.", "upsampling.")):
        if rest.startswith(theirs):
            return f"later.{number - 2}.{ours}{rest.removeprefix(theirs).replace('.block.', '.layers.')}"
    raise KeyError(key)


def _generator_sizes(state: Mapping[str, Tensor]) -> Widths:
    branches = max(int(key[len("img_net")]) for key in state if key.startswith("img_net"))
    inputs = state["h_net1.fc.0.weight"].shape[1]
    sizes: Widths = {
        "unconditional": "ca_net.fc.weight" not in state,
        "branches": branches,
        "generator_channels": state["img_net1.img.0.weight"].shape[1],
        "noise_width": inputs,
    }
    blocks = {key.split(".")[2] for key in state if key.startswith("h_net2.residual.")}
    if branches > 1:
        sizes["residual_blocks"] = len(blocks)
    if not sizes["unconditional"]:
        sizes["condition_width"] = state["ca_net.fc.weight"].shape[0] // 4
        sizes["sentence_width"] = state["ca_net.fc.weight"].shape[1]
        sizes["noise_width"] = inputs - sizes["condition_width"]
    return sizes


def _trunk_parts(state: Mapping[str, Tensor]) -> list[str]:
    """The parts of a discriminator's trunk after the first, in the order in which a picture passes them."""
    found = {match[0]: (int(match[1]), int(match[2] or 0)) for match in map(TRUNK.match, state) if match}
    narrowing = sorted((part for part, (_, number) in found.items() if number), key=lambda part: found[part])
    strided = sorted((part for part, (_, number) in found.items() if not number), key=lambda part: found[part])
    return [*strided[1:], *narrowing]


def _discriminator_names(state: Mapping[str, Tensor], unconditional: bool) -> dict[str, str]:
    """The authors' names of a discriminator's tensors, and Limner's."""
    names = {"img_code_s16.": "picture.", "jointConv.": "matching.joint.", "uncond_logits.0.": "reality.logits."}
    names["logits.0."] = "reality.logits." if unconditional else "matching.logits."
    parts = {part: 11 + 3 * place for place, part in enumerate(_trunk_parts(state))}  # each: convolution, normalisation, LeakyReLU
    renamed = {}
    for key in state:
        trunk = TRUNK.match(key)
        if trunk and trunk[0] in parts:
            layer, _, rest = key.removeprefix(trunk[0]).partition(".")
            renamed[key] = f"picture.{parts[trunk[0]] + int(layer)}.{rest}"
        else:
            before = next((name for name in names if key.startswith(name)), None)
            if before is None:
                raise KeyError(key)
            renamed[key] = names[before] + key.removeprefix(before)
    return renamed


def _discriminator_sizes(state: Mapping[str, Tensor]) -> Widths:
    strided = [part for part in _trunk_parts(state) if "_" not in part.removeprefix("img_code_")]
    base = state["img_code_s16.0.weight"].shape[0]
    sizes: Widths = {
        "unconditional": "jointConv.0.weight" not in state,
        "discriminator_channels": base,
        "side": BASE_SIDE * 2 ** len(strided),
    }
    if not sizes["unconditional"]:
        sizes["condition_width"] = state["jointConv.0.weight"].shape[1] - 8 * base
    return sizes


def _sizes(widths: Mapping[str, Widths]) -> tuple[StackGANv2Settings, Conditions]:
    """Every width, which all files must agree on; what a missing network would say stays as published."""
    from limner.core.trainable import Conditions
    from limner.methods.stackgan_v2 import StackGANv2Settings

    known: Widths = {}
    for player, sizes in widths.items():
        for name, value in sizes.items():
            if name != "side" and known.setdefault(name, value) != value:
                raise CheckpointError(
                    f"the {player} has another {name.replace('_', ' ')} than the other files ({value} and {known[name]}): "
                    "give files of one training"
                )
    highest = max((sizes["side"] for sizes in widths.values() if "side" in sizes), default=BASE_SIDE)
    branches = known.pop("branches", (highest // BASE_SIDE).bit_length())
    resolution = BASE_SIDE * 2 ** (branches - 1)
    if highest > resolution:
        raise CheckpointError(
            f"a discriminator looks at {highest} px and the generator paints {resolution} px at most: give files of one training"
        )
    sentence_width = 0 if known["unconditional"] else known.pop("sentence_width", SENTENCE_WIDTH)
    return StackGANv2Settings(branches=branches, **known), Conditions(resolution=resolution, sentence_width=sentence_width)


IMPORTER = NetworkImporter(
    name="stackgan-v2",
    help="generator and discriminators of StackGAN++: netG_N.pth, netD0.pth, netD1.pth, netD2.pth",
    description="Turn networks of the authors' StackGAN++ (hanzhanggit/StackGAN-v2) into Limner's stackgan-v2.",
    examples=(
        "limner import stackgan-v2 netG_210000.pth --encoder encoders/birds --out models/birds",
        "limner import stackgan-v2 netG_210000.pth netD0.pth netD1.pth netD2.pth --out networks/birds",
        "limner import stackgan-v2 dogs/netG_110000.pth --out models/dogs",
    ),
    options=Options,
    read=read_stackgan_v2,
    source="github.com/hanzhanggit/StackGAN-v2",
)
import_stackgan_v2 = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
