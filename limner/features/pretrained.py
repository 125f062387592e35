"""Feature networks that others have published, and how their weight files are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from limner.core.errors import CheckpointError, SettingsError
from limner.core.state_dicts import read_state_dict
from limner.features.network import StagedNetwork


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where a network's weights were published."""

    file: str
    """The file's name there."""
    url: str
    """What to download; or, where the published file is not one that can be read as it is, the page it came from."""
    sha256: str = ""
    """How the file's SHA-256 begins; empty where the file cannot be downloaded."""
    advice: str = ""
    """How to come by the weights, where they cannot be downloaded."""


class PretrainedNetwork(StagedNetwork):
    """A feature network that others have published.

    published: its weights. unused: beginnings of tensor names that its files hold and it has no use for.
    """

    published: Published
    unused: tuple[str, ...] = ()

    @classmethod
    def renamed(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a published file under this network's own names."""
        return dict(tensors)


Network = TypeVar("Network", bound=PretrainedNetwork)


def load_pretrained(build: Callable[[], Network], path: Path) -> Network:
    """The network that `build` makes with the weights of a file (`.safetensors` or `.pth`, as `read_state_dict` takes them), frozen.

    Raises SettingsError where the file cannot be read, or holds something else than this network's float32 weights.
    """
    with torch.device("meta"):
        network = build()
    needed = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    wanted, choose = "give a whole .safetensors or .pth file of named tensors", "give a file of that network alone"
    try:
        tensors = read_state_dict(
            path, lambda tensors: needed <= network.renamed(tensors).keys(), wanted=wanted, choose=choose, finite=False
        )
    except (CheckpointError, OSError) as error:
        raise SettingsError(f"no weights can be read for the feature network '{network.name}': {error}") from error
    return filled(build, tensors, str(path))


def filled(build: Callable[[], Network], tensors: Mapping[str, Tensor], where: str) -> Network:
    """The network that `build` makes with these weights, under their published names, frozen; `where` is what an error names.

    It is made without storage, so that no random number is drawn, and holds the tensors themselves, not copies. Those under the names that
    `unused` begins are left out, and counters that old files lack are made.
    """
    with torch.device("meta"):
        network = build()
    given = {name: value for name, value in network.renamed(tensors).items() if not name.startswith(network.unused)}
    expected = network.state_dict()
    for name in expected:
        if name.endswith("num_batches_tracked") and name not in given:
            given[name] = torch.zeros((), dtype=torch.int64)
    problem = _difference(given, expected) or _not_finite(tensors)
    if problem:
        right = f"its published file is {network.published.file} from {network.published.url}"
        raise SettingsError(f"{where} does not hold the weights of '{network.name}' ({problem}): {right}")
    network.load_state_dict(given, assign=True)
    return network.freeze()


def _difference(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """The first thing in which tensors are not what a network expects."""
    missing, surplus = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if missing:
        return f"{missing[0]} and {len(missing) - 1} more are missing" if len(missing) > 1 else f"{missing[0]} is missing"
    if surplus:
        return f"{surplus[0]} has no place" if len(surplus) == 1 else f"{surplus[0]} and {len(surplus) - 1} more have no place"
    for name, value in expected.items():
        if given[name].shape != value.shape:
            return f"{name} is {list(given[name].shape)}, not {list(value.shape)}"
        if given[name].dtype != value.dtype:
            return f"{name} is {str(given[name].dtype)[6:]}, and other than {str(value.dtype)[6:]} would give other features"
    return None


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The first tensor with a value that is not a number; such are the classifiers of files made for their convolutions alone."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.sum().isfinite()):  # one such value makes a sum that is none
            return f"{name} has values that are not numbers"
    return None
