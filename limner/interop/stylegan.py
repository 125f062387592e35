"""Checkpoints of github.com/rosinality/style-based-gan-pytorch become Limner's `stylegan`: `train_step-N.model.pt`, or its state dicts.

A training's file holds {generator, discriminator, g_running, ...}, of which the running average is read; later files are a state dict of
g_running alone. Whatever a training had reached, its networks have all nine sides, 4 to 1024 px.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import arg

from limner.core.errors import CheckpointError, SettingsError
from limner.interop.importer import Files, ImportOptions, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.methods.stylegan import StyleGAN
    from limner.text.encoder import TextEncoder

    Tensors = Mapping[str, Tensor]

NAMES: dict[str, dict[str, str | Callable[[re.Match[str]], str]]] = {
    "generator": {
        r"^style\.(\d+)\.": lambda found: f"mapping.layers.{int(found[1]) // 2}.",  # a LeakyReLU after each
        r"^generator\.progression\.": "blocks.",
        r"^generator\.to_rgb\.": "colours.",
        r"\.conv1\.input$": ".constant",
        r"^(blocks\.\d+)\.conv1\.[01]\.": r"\1.doubling.",
        r"^(blocks\.\d+)\.conv2\.": r"\1.convolution.",
        r"\.noise1\.weight_orig$": ".first.noise_strength",
        r"\.noise2\.weight_orig$": ".second.noise_strength",
        r"\.adain1\.": ".first.",
        r"\.adain2\.": ".second.",
        r"\.conv\.": ".",
        r"\.linear\.": ".",
        r"\.weight_orig$": ".weight",
    },
    "discriminator": {
        r"^from_rgb\.(\d+)\.(?:0\.)?": lambda found: f"colours.{8 - int(found[1])}.",
        r"^progression\.8\.conv1\.0\.": "last.",
        r"^progression\.8\.conv2\.0\.": "hidden.",
        r"^progression\.(\d+)\.conv1\.0\.": lambda found: f"firsts.{7 - int(found[1])}.",
        r"^progression\.(\d+)\.conv2\.1\.": lambda found: f"halvings.{7 - int(found[1])}.",
        r"^linear\.": "score.",
        r"\.conv\.": ".",
        r"\.linear\.": ".",
        r"\.weight_orig$": ".weight",
    },
}
"""What the code calls the parts of each network, as patterns, and what Limner does."""
SIDES = 9
BLUR = re.compile(r"\.weight_flip$")
_WANTED = "give train_step-N.model.pt, or a state dict of one of its networks"


@dataclass(frozen=True, kw_only=True)
class Options(ImportOptions):
    """What `limner import stylegan` takes."""

    needs: ClassVar[str] = "the generator's file"
    files: Files
    """A training's file, or a generator and a discriminator."""
    depth: Annotated[int | None, arg(metavar="D")] = None
    """Doublings from 4 px that the training had reached; by default the number in a name such as train_step-6.model.pt, else all 8."""

    def text_encoder(self) -> TextEncoder | None:
        """None: these generators read no text."""
        return None


def read_stylegan(files: Sequence[Path], depth: int | None = None, *, within: Sequence[str] = ()) -> tuple[StyleGAN, list[str]]:
    """The files as a method in evaluation mode, and the players whose weights they held; another player's network is fresh.

    depth: doublings that the training had reached. within: as `read_networks` takes it; by default the running average.
    """
    import numpy as np
    import torch

    from limner.core.noise import gaussian
    from limner.core.trainable import Conditions
    from limner.methods.stylegan import StyleGAN, StyleGANSettings

    states: dict[str, dict[str, Tensor]] = {}
    activated = True
    for path in files:
        for player, state in _networks(path, within).items():
            if player in states:
                raise SettingsError(f"{path} is a second {player}: {_WANTED}")
            if player == "discriminator":
                activated = "from_rgb.0.0.conv.bias" in state
            states[player] = limner_state(player, state)
            reached = re.search(r"train_step-(\d+)", path.name)
            depth = int(reached[1]) if depth is None and reached else depth
    if not states:
        raise SettingsError(f"no file to import: {_WANTED}")
    depth = SIDES - 1 if depth is None else depth
    if not 1 <= depth < SIDES:
        raise SettingsError(f"--depth is {depth}, and these networks grow to 1024 px: choose from 1 to {SIDES - 1}")
    values: dict[str, Any] = {"colour_activation": activated}
    try:
        widths = {tuple(len(state[f"{_after(player)}.{level}"]) for level in range(SIDES)) for player, state in _widths(states).items()}
        if (generator := states.get("generator")) is not None:
            values["noise_width"] = len(generator["mapping.layers.0.bias"])
            values["mapping_layers"] = sum(bool(re.match(r"mapping\.layers\.\d+\.bias", key)) for key in generator)
            generator["mapping.mean"] = generator["mapping.layers.0.bias"].new_zeros(values["noise_width"])
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"the networks are not StyleGAN's (no weights {error}): {_WANTED}") from error
    if len(widths) > 1:
        raise CheckpointError("generator and discriminator are of different sizes: give two files of one training")
    method = filled(
        StyleGAN(StyleGANSettings(channels=widths.pop(), **values), Conditions(resolution=4 << (SIDES - 1), sentence_width=0)),
        states,
        lambda player, detail: f"the {player} is not StyleGAN's ({detail}): {_WANTED}",
    )
    method.depth = depth
    if "generator" in states:
        with torch.no_grad():
            mapping = method.generator.mapping
            mapping.mean.copy_(mapping(gaussian((method.settings.noise_width,), 0, np.arange(4096), "mean style")).mean(0))
    return method, sorted(states, reverse=True, key=lambda player: player == "generator")


def _after(player: str) -> str:
    return "blocks" if player == "generator" else "colours"


def _widths(states: Mapping[str, Tensors]) -> dict[str, dict[str, Tensor]]:
    """The biases whose lengths are the channels of each side, by player."""
    found: dict[str, dict[str, Tensor]] = {}
    for player, state in states.items():
        ends = r"^(blocks\.\d+)\.convolution\.bias$" if player == "generator" else r"^(colours\.\d+)\.bias$"
        found[player] = {match[1]: value for key, value in state.items() if (match := re.match(ends, key))}
    return found


def _networks(path: Path, within: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """A file's networks by player, under the file's names."""
    from limner.core.state_dicts import read_file

    content = read_file(path, _WANTED)
    if not within and isinstance(content, Mapping) and "g_running" in content:
        within = ("g_running", "discriminator")
    return read_networks(path, _player, f"not a network of StyleGAN: {_WANTED}", within=within)


def limner_state(player: str, state: Tensors) -> dict[str, Tensor]:
    """A network under Limner's names and in its shapes."""
    return {ours: _shaped(theirs, value) for theirs, value in state.items() if (ours := limner_name(player, theirs, value)) is not None}


def limner_name(player: str, name: str, value: Tensor) -> str | None:
    """What Limner calls a tensor; None for what it leaves out: the filters of blurs, [C, 1, 3, 3] without a bias."""
    if BLUR.search(name) or (
        re.search(r"\.conv[12]\.\d\.weight$", name) and value.ndim == 4 and value.shape[1] == 1 and "_orig" not in name
    ):
        return None
    for pattern, ours in NAMES[player].items():
        name = re.sub(pattern, ours, name)
    return name


def _shaped(name: str, value: Tensor) -> Tensor:
    """A tensor in Limner's shape and scale.

    The weights of the transposed convolutions from 128 px on are mirrored, and their first axes exchanged. Those of the mapping network are
    large where their scale is small.
    """
    from limner.families.style.generator import SLOWER
    from limner.families.style.layers import GAIN

    if name.startswith("style."):
        return value / (SLOWER * GAIN if name.endswith("bias") else SLOWER)
    if name.endswith(("noise1.weight_orig", "noise2.weight_orig")):
        return value.flatten()
    if re.match(r"generator\.progression\.\d+\.conv1\.0\.weight$", name):
        return value.transpose(0, 1).flip(2, 3)
    return value


def _player(tensors: Tensors) -> str | None:
    """The player whose network these tensors are."""
    if "generator.progression.0.conv1.input" in tensors:
        return "generator"
    return "discriminator" if "linear.linear.weight_orig" in tensors and "progression.8.conv2.0.conv.bias" in tensors else None


IMPORTER = NetworkImporter(
    name="stylegan",
    help="StyleGAN's networks of rosinality/style-based-gan-pytorch: train_step-N.model.pt, state dicts",
    description="Turn networks of rosinality/style-based-gan-pytorch, the first StyleGAN, into Limner's stylegan.",
    examples=(
        "limner import stylegan train_step-6.model.pt --out models/faces",
        "limner import stylegan stylegan-256px-new.model --depth 6 --out models/faces",
    ),
    options=Options,
    read=read_stylegan,
    source="github.com/rosinality/style-based-gan-pytorch",
)
import_stylegan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
