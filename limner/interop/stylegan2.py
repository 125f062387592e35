"""Checkpoints of StyleGAN2 become Limner's `stylegan2`: those of rosinality/stylegan2-pytorch, and state dicts of NVIDIA's PyTorch code.

Of rosinality's: a training's `NNNNNN.pt` ({g, d, g_ema, ...}), and what `convert_weight.py` writes ({g_ema, latent_avg}). Of
NVlabs/stylegan2-ada-pytorch: state dicts of G, G_ema and D, one a file or together; the project's own .pkl files hold source code that
runs when they are read, and are refused. Where a file has a running average of the generator, that is what is read.

The maps of noise that files hold are left out: Limner draws them anew for each picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from limner.core.errors import CheckpointError, SettingsError
from limner.interop.importer import EncoderOptions, Files, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.methods.stylegan2 import StyleGAN2, StyleGAN2Settings

    Tensors = Mapping[str, Tensor]

Names = dict[str, dict[str, str | Callable[[re.Match[str]], str]]]


def _level(side: str) -> int:
    """Of 4 px 0, of 8 px 1, and so on."""
    return int(side).bit_length() - 3


ROSINALITY: Names = {
    "generator": {
        r"^style\.(\d+)\.": lambda found: f"mapping.layers.{int(found[1]) - 1}.",
        r"^input\.input$": "synthesis.constant",
        r"^conv1\.": "synthesis.convolutions.0.",
        r"^convs\.(\d+)\.": lambda found: f"synthesis.convolutions.{int(found[1]) + 1}.",
        r"^to_rgb1\.": "synthesis.pictures.0.",
        r"^to_rgbs\.(\d+)\.": lambda found: f"synthesis.pictures.{int(found[1]) + 1}.",
        r"\.conv\.": ".",
        r"\.noise\.weight$": ".noise_strength",
        r"\.activate\.bias$": ".bias",
        r"^latent_avg$": "mapping.mean",
    },
    "discriminator": {
        r"^convs\.0\.[01]\.": "colours.",
        r"^convs\.(\d+)\.": lambda found: f"blocks.{int(found[1]) - 1}.",
        r"\.conv1\.[01]\.": ".first.",
        r"\.conv2\.[12]\.": ".second.",
        r"\.skip\.1\.": ".past.",
        r"^final_conv\.[01]\.": "last.",
        r"^final_linear\.0\.": "hidden.",
        r"^final_linear\.1\.": "score.",
    },
}
"""What rosinality's code calls the parts of each network, as patterns, and what Limner does."""
NVIDIA: Names = {
    "generator": {
        r"^mapping\.fc(\d+)\.": r"mapping.layers.\1.",
        r"^mapping\.embed\.": "mapping.condition.",
        r"^mapping\.w_avg$": "mapping.mean",
        r"^synthesis\.b4\.const$": "synthesis.constant",
        r"^synthesis\.b(\d+)\.conv([01])\.": lambda found: f"synthesis.convolutions.{2 * _level(found[1]) - 1 + int(found[2])}.",
        r"^synthesis\.b(\d+)\.torgb\.": lambda found: f"synthesis.pictures.{_level(found[1])}.",
        r"\.affine\.": ".modulation.",
    },
    "discriminator": {
        r"^mapping\.fc(\d+)\.": r"mapping.layers.\1.",
        r"^mapping\.embed\.": "mapping.condition.",
        r"^b\d+\.fromrgb\.": "colours.",
        r"^b4\.conv\.": "last.",
        r"^b4\.fc\.": "hidden.",
        r"^b4\.out\.": "score.",
        r"\.conv0\.": ".first.",
        r"\.conv1\.": ".second.",
        r"\.skip\.": ".past.",
    },
}
"""What NVIDIA's code calls them. Blocks of its discriminator are named by their sides."""
LEFT_OUT = re.compile(r"(?:^|\.)(?:kernel|resample_filter|noise_const)$|^noises\.")
"""Constants, and maps of noise."""
AVERAGED = (("g_ema", "d"), ("G_ema", "D"))
"""The entries that are read of a checkpoint with a running average, by project."""
SAMPLES = 4096
"""Latents whose mean style is taken where a file has none, as rosinality's `mean_latent` is asked for."""
_WANTED = "give rosinality's NNNNNN.pt, or state dicts of NVIDIA's networks"
_PICKLE = (
    "is a pickle of NVIDIA's code and holds source code that runs when it is read: in a checkout of stylegan2-ada-pytorch that you trust, "
    "load it and save `torch.save({'G_ema': data['G_ema'].state_dict(), 'D': data['D'].state_dict()}, 'new.pt')`, and import new.pt"
)


@dataclass(frozen=True, kw_only=True)
class Options(EncoderOptions):
    """What `limner import stylegan2` takes."""

    needs: ClassVar[str] = "--encoder"
    files: Files
    """A training's NNNNNN.pt, a converted file, or state dicts of a generator, a discriminator or both."""


def read_stylegan2(files: Sequence[Path], *, within: Sequence[str] = ()) -> tuple[StyleGAN2, list[str]]:
    """The files as a method in evaluation mode, and the players whose weights they held; another player's network is fresh.

    files: a generator, a discriminator or both, in one file or two. within: as `read_networks` takes it; by default the running average.
    """
    from limner.core.trainable import Conditions
    from limner.methods.stylegan2 import StyleGAN2

    states: dict[str, dict[str, Tensor]] = {}
    for path in files:
        for player, state in _networks(path, within).items():
            if player in states:
                raise SettingsError(f"{path} is a second {player}: {_WANTED}")
            states[player] = limner_state(player, state)
    if not states:
        raise SettingsError(f"no file to import: {_WANTED}")
    settings, resolution, condition = _sizes(states)
    generator = states.get("generator")
    averaged = generator is not None and "mapping.mean" in generator
    if generator is not None and not averaged:
        generator["mapping.mean"] = generator["mapping.layers.0.bias"].new_zeros(settings.style_width)
    method = filled(
        StyleGAN2(settings, Conditions(resolution=resolution, sentence_width=condition)),
        states,
        lambda player, detail: f"the {player} is not StyleGAN2's ({detail}): {_WANTED}",
    )
    if generator is not None and not averaged and settings.unconditional:
        _take_mean(method)
    return method, sorted(states, reverse=True, key=lambda player: player == "generator")


def _networks(path: Path, within: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """A file's networks by player, under the files' names; the mean style, where it lies next to the generator, is with it."""
    from limner.core.state_dicts import read_file

    if is_nvidia_pickle(path):
        raise CheckpointError(f"{path} {_PICKLE}")
    content = read_file(path, _WANTED)
    if not within and isinstance(content, Mapping):
        within = next((names for names in AVERAGED if names[0] in content), ())
    found = read_networks(path, _player, f"not a network of StyleGAN2: {_WANTED}", within=within)
    if "generator" in found and isinstance(content, Mapping) and hasattr(content.get("latent_avg"), "shape"):
        found["generator"]["latent_avg"] = content["latent_avg"].reshape(-1)
    return found


def is_nvidia_pickle(path: Path) -> bool:
    """Whether a file is a pickle that NVIDIA's code wrote, with source code or with its own classes in it."""
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
    except OSError:
        return False  # the reader of files says what is wrong
    return start[:1] == b"\x80" and any(word in start for word in (b"torch_utils.persistence", b"_reconstruct_persistent_obj", b"dnnlib"))


def limner_state(player: str, state: Tensors) -> dict[str, Tensor]:
    """A network under Limner's names and in its shapes."""
    names = {theirs: ours for theirs in state if (ours := limner_name(player, theirs, state)) is not None}
    return {ours: _shaped(ours, state[theirs]) for theirs, ours in names.items()}


def limner_name(player: str, name: str, state: Tensors) -> str | None:
    """What Limner calls a tensor of a network `state`; None for what it leaves out."""
    if LEFT_OUT.search(name):
        return None
    nvidia = any(".affine." in key or ".fromrgb." in key for key in state)
    if nvidia and player == "discriminator":
        largest = max(_level(found[1]) for key in state if (found := re.match(r"b(\d+)\.fromrgb\.", key)))
        name = re.sub(r"^b(\d+)\.(?=conv0|conv1|skip)", lambda found: f"blocks.{largest - _level(found[1])}.", name)
    for pattern, ours in (NVIDIA if nvidia else ROSINALITY)[player].items():
        name = re.sub(pattern, ours, name)
    return name


def _shaped(name: str, value: Tensor) -> Tensor:
    """A tensor without the axes of length 1 that the files have; one of another shape as it is, since it is refused where it is loaded."""
    if name.endswith("noise_strength"):
        return value.reshape(()) if value.numel() == 1 else value
    if re.match(r"synthesis\.pictures\.\d+\.(?:weight|bias)$", name):
        whole = value.numel() > 0 and value.numel() % 3 == 0  # three colours
        return value.reshape((3, -1) if name.endswith("weight") else (-1,)) if whole else value
    if name == "synthesis.constant":
        return value.reshape(1, *value.shape[-3:]) if value.numel() == value.shape[-3:].numel() else value
    return value[0] if value.ndim == 5 and len(value) == 1 else value


def _player(tensors: Tensors) -> str | None:
    """The player whose network these tensors are."""
    if "input.input" in tensors or "synthesis.b4.const" in tensors:
        return "generator"
    return "discriminator" if "final_linear.1.weight" in tensors or "b4.out.weight" in tensors else None


def _sizes(states: Mapping[str, Tensors]) -> tuple[StyleGAN2Settings, int, int]:
    """Every width, from the shapes of the weights, the resolution, and the width of a condition; what a missing network would say stays as
    published."""
    from limner.families.style.generator import map_widths
    from limner.methods.stylegan2 import StyleGAN2Settings

    values: dict[str, Any] = {}
    found: set[tuple[int, ...]] = set()
    conditions: set[int] = set()
    for player, state in states.items():
        try:
            if player == "generator":
                levels = sum(bool(re.match(r"synthesis\.pictures\.\d+\.bias", key)) for key in state)
                widths = tuple(state[f"synthesis.pictures.{level}.weight"].shape[1] for level in range(levels))
                values["style_width"] = len(state["mapping.layers.0.bias"])
                condition = state.get("mapping.condition.weight")
                values["noise_width"] = state["mapping.layers.0.weight"].shape[1] - (0 if condition is None else values["style_width"])
                values["mapping_layers"] = sum(bool(re.match(r"mapping\.layers\.\d+\.bias", key)) for key in state)
            else:
                levels = sum(bool(re.match(r"blocks\.\d+\.past\.weight", key)) for key in state) + 1
                coarse = [state[f"blocks.{place}.past.weight"].shape[0] for place in reversed(range(levels - 1))]
                widths = (*coarse, len(state["colours.bias"]))
                condition = state.get("mapping.condition.weight")
                if condition is not None:
                    values["discriminator_layers"] = sum(bool(re.match(r"mapping\.layers\.\d+\.bias", key)) for key in state)
        except (KeyError, IndexError) as error:
            raise CheckpointError(f"the {player} is not StyleGAN2's (no weights {error}): {_WANTED}") from error
        found.add(widths)
        conditions.add(0 if condition is None else condition.shape[1])
    if len(found) > 1 or len(conditions) > 1:
        raise CheckpointError("generator and discriminator are of different sizes: give two files of one training")
    (widths,), (read,) = found, conditions
    resolution = 4 << (len(widths) - 1)
    values |= {"channel_limit": max(widths), "channel_base": widths[-1] * resolution, "unconditional": not read}
    if resolution < 8 or tuple(map_widths(resolution, values["channel_base"], values["channel_limit"])) != widths:
        raise CheckpointError(f"the widths of the network's maps, {list(widths)}, are not those of a StyleGAN2: {_WANTED}")
    return StyleGAN2Settings(**values), resolution, read


def _take_mean(method: StyleGAN2) -> None:
    """Set the mean style to that of random latents, drawn from a seed."""
    import numpy as np
    import torch

    from limner.core.noise import gaussian

    mapping = method.generator.mapping
    with torch.no_grad():
        z = gaussian((method.settings.noise_width,), 0, np.arange(SAMPLES), "mean style")
        mapping.mean.copy_(mapping(z).mean(0))


IMPORTER = NetworkImporter(
    name="stylegan2",
    help="StyleGAN2's networks: rosinality's NNNNNN.pt and converted files, state dicts of stylegan2-ada-pytorch",
    description="Turn networks of rosinality/stylegan2-pytorch, or state dicts of NVlabs/stylegan2-ada-pytorch, into Limner's stylegan2.",
    examples=(
        "limner import stylegan2 550000.pt --out models/faces",
        "limner import stylegan2 550000.pt --within g --out models/faces-not-averaged",
        "limner import stylegan2 state.pt --out models/ada",
    ),
    options=Options,
    read=read_stylegan2,
    source="github.com/rosinality/stylegan2-pytorch or github.com/NVlabs/stylegan2-ada-pytorch",
)
import_stylegan2 = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
