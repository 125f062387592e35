"""Checkpoints of github.com/aelnouby/Text-to-Image-Synthesis (`gen_N.pth`, `disc_N.pth`) become Limner's `dcgan-cls`.

Its types `gan_cls` and `wgan_cls` have the same networks, so that a file does not tell which of the two trained it; their generators
paint alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limner.core.errors import CheckpointError, SettingsError
from limner.interop.importer import EncoderOptions, Files, NetworkImporter, filled
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.dcgan_cls import DCGANCLS, DCGANCLSSettings

PREFIXES = {
    "generator": {"projection.": "text.", "netG.": "layers."},
    "discriminator": {"netD_1.": "picture.", "projector.projection.": "text.", "netD_2.0.": "joint."},
}
"""What the port calls the parts of each network, and what Limner does."""
Objective = Literal["cross-entropy", "wasserstein"]


@dataclass(frozen=True, kw_only=True)
class Options(EncoderOptions):
    """What `limner import dcgan-cls` takes."""

    files: Files
    """The port's gen_N.pth, disc_N.pth or both."""
    objective: Objective = "cross-entropy"
    """Which of the port's types trained them: gan_cls or wgan_cls."""


def read_dcgan_cls(
    files: Sequence[Path], objective: Objective = "cross-entropy", *, within: Sequence[str] = ()
) -> tuple[DCGANCLS, list[str]]:
    """The port's files as a method in evaluation mode, and the players whose weights they held; another player's network is fresh.

    files: a generator, a discriminator or both, in any order. objective: which of the port's types trained them, `gan_cls` or `wgan_cls`.
    within: as `read_networks` takes it.
    """
    from limner.methods.dcgan_cls import DCGANCLS

    states: dict[str, dict[str, Tensor]] = {}
    for path in files:
        refusal = "no conditional network of the port (its types gan_cls and wgan_cls): give another file"
        for player, state in read_networks(path, _player, refusal, within=within).items():
            if player in states:
                raise SettingsError(f"{path} is a second {player}: give one generator, one discriminator or one of each")
            states[player] = {_renamed(key, PREFIXES[player]): value for key, value in state.items()}
    if not states:
        raise SettingsError("no file to import: give the port's gen_N.pth, disc_N.pth or both")
    settings, conditions = _sizes(states, objective)
    method = filled(
        DCGANCLS(settings, conditions),
        states,
        lambda player, detail: f"the {player} is not the port's gan_cls or wgan_cls ({detail}): give another file",
    )
    return method, sorted(states, reverse=True, key=lambda player: player == "generator")


def _player(tensors: Mapping[str, Tensor]) -> str | None:
    """The player whose network these tensors are."""
    for player, names in PREFIXES.items():
        if {_renamed(key, names).split(".")[0] for key in tensors} == {name.rstrip(".") for name in names.values()}:
            return player
    return None


def _renamed(key: str, names: Mapping[str, str]) -> str:
    for before, after in names.items():
        if key.startswith(before):
            return after + key.removeprefix(before)
    return key


def _sizes(states: Mapping[str, Mapping[str, Tensor]], objective: Objective) -> tuple[DCGANCLSSettings, Conditions]:
    """Every width, from the shapes of the weights; what a missing network would say stays as published."""
    from limner.core.trainable import Conditions
    from limner.methods.dcgan_cls import DCGANCLSSettings

    values: dict[str, Any] = {"objective": objective}
    resolutions, projections = set(), set()
    for player, state in states.items():
        part = "layers." if player == "generator" else "picture."
        convolutions = [value for key, value in state.items() if key.startswith(part) and value.ndim == 4]
        projections.add(tuple(state["text.0.weight"].shape))
        if not convolutions or state["text.0.weight"].ndim != 2:
            raise CheckpointError(f"the {player} is not the port's gan_cls or wgan_cls (weights of other shapes): give another file")
        if player == "generator":
            values["generator_channels"] = convolutions[-1].shape[0]
            values["noise_width"] = convolutions[0].shape[0] - state["text.0.weight"].shape[0]
            resolutions.add(2 ** (len(convolutions) + 1))
        else:
            values["discriminator_channels"] = convolutions[0].shape[0]
            resolutions.add(2 ** (len(convolutions) + 2))
    if len(resolutions) > 1 or len(projections) > 1:
        raise CheckpointError("generator and discriminator are of different sizes: give two files of one training")
    ((text_width, sentence_width),) = projections
    (resolution,) = resolutions
    return DCGANCLSSettings(text_width=text_width, **values), Conditions(resolution=resolution, sentence_width=sentence_width)


IMPORTER = NetworkImporter(
    name="dcgan-cls",
    help="generator and discriminator of the PyTorch port of GAN-CLS: gen_N.pth, disc_N.pth",
    description="Turn networks of the PyTorch port (aelnouby/Text-to-Image-Synthesis) into Limner's dcgan-cls.",
    examples=(
        "limner import dcgan-cls gen_200.pth --encoder encoders/flowers --out models/flowers",
        "limner import dcgan-cls gen_200.pth disc_200.pth --out networks/flowers",
    ),
    options=Options,
    read=read_dcgan_cls,
    source="github.com/aelnouby/Text-to-Image-Synthesis",
)
import_dcgan_cls = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
