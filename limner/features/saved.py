"""The judges' folders: weights in half precision, and what to build them from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from limner.core import folder
from limner.features.network import FeatureNetwork

Network = TypeVar("Network", bound=FeatureNetwork)


def halved(network: nn.Module) -> dict[str, Tensor]:
    """A network's state, floating-point numbers in half precision."""
    return {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}


def save_network(network: FeatureNetwork, kind: str, config: Mapping[str, Any], path: Path, card: str | None) -> None:
    """Write the folder of a network of this kind."""
    folder.write(path, kind, dict(config), {kind: halved(network)}, card)


def load_network(kind: str, shipped: str, path: Path | None, build: Callable[[dict[str, Any]], Network]) -> Network:
    """The frozen network of a run or folder, or else of the shipped one; raises CheckpointError where it cannot be read.

    build: makes the network that a folder's description asks for.
    """
    with folder.located(shipped if path is None else path, kind) as found:
        saved = folder.read(found, kind)
    with saved.being_read():
        network = build(saved.config)
        network.load_state_dict(saved.part(kind))
    network.freeze()
    return network
