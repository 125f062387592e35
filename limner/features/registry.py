"""Feature networks by name: `load_feature_network("garden")`, `load_feature_network("squeezenet=weights.safetensors")`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from limner.core.errors import SettingsError, unknown_name
from limner.features.network import FeatureNetwork

FOLDER_VARIABLE = "LIMNER_FEATURES"


def _garden(path: Path | None) -> FeatureNetwork:
    from limner.features.garden_judge import load_judge

    return load_judge(path)


def _squeezenet(path: Path | None) -> FeatureNetwork:
    from limner.features.squeezenet import load_squeezenet

    assert path is not None
    return load_squeezenet(path)


@dataclass(frozen=True)
class Entry:
    """How one feature network is found and loaded."""

    sentence: str
    load: Callable[[Path | None], FeatureNetwork]
    pattern: str | None
    """Which file of the features folder holds its weights; None where they ship with Limner."""


FEATURE_NETWORKS: Mapping[str, Entry] = {
    "garden": Entry("the shipped judge of garden attributes, pooled; needs no file", _garden, None),
    "squeezenet": Entry("SqueezeNet v1.0 trained on ImageNet; needs its weights", _squeezenet, "squeezenet*.safetensors"),
}


def load_feature_network(spec: str, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The network that `NAME` or `NAME=PATH` asks for, frozen, on a device.

    Weights that do not ship are read from PATH, or from the folder that the environment variable LIMNER_FEATURES names. Raises
    SettingsError for a name that does not exist, and for weights that are not there.
    """
    name, _, given = spec.partition("=")
    if name not in FEATURE_NETWORKS:
        raise unknown_name("feature network", name, FEATURE_NETWORKS)
    entry = FEATURE_NETWORKS[name]
    path = Path(given).expanduser() if given else None
    if path is None and entry.pattern is not None:
        path = _in_folder(name, entry.pattern)
    if path is not None and not path.exists():
        raise SettingsError(f"no weights of the feature network '{name}' at {path}: give an existing file as {name}=PATH")
    return entry.load(path).to(device)


def _in_folder(name: str, pattern: str) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE)
    found = sorted(Path(folder).glob(pattern)) if folder else []
    if not found:
        where = f"{folder} holds no {pattern}" if folder else f"{FOLDER_VARIABLE} is not set"
        fix = f"give them as {name}=PATH.safetensors, or use 'garden', which ships with Limner"
        raise SettingsError(f"the feature network '{name}' needs its weights and {where}: {fix}")
    return found[0]
