"""Weights of Keras's HDF5 files: arrays by layer, whatever the order of the layers in the file. Needs h5py: `pip install limner[keras]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import CheckpointError, SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Layers = dict[str, dict[str, NDArray[np.float32]]]

WANTED = "give an .h5 file that Keras's save_weights or save wrote"


def read_layers(path: Path) -> Layers:
    """The arrays of every layer that has any, by the layer's name and the array's: {"dense_1": {"kernel": ..., "bias": ...}}.

    Both a file of weights and one of a whole model are read; names in it may be bytes, as Keras 2.1 wrote them, or text.
    Raises SettingsError where h5py is missing, CheckpointError for a file that is missing, is no such file, is damaged, or holds values
    that are not finite.
    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise SettingsError(f"{path} is read by h5py, which is not installed: pip install 'limner[keras]'") from None
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}: {WANTED}")
    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            if "layer_names" not in group.attrs:
                held = ", ".join(sorted(group)[:4]) or "nothing"
                raise CheckpointError(f"{path} has no list of layers, as Keras 2 writes it (it holds {held}): {WANTED}")
            layers = {name: _arrays(path, name, group[name]) for name in map(_text, group.attrs["layer_names"])}
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is cut short, damaged, or no HDF5 file ({' '.join(str(error).split())[:80]}): {WANTED}") from error
    return {name: arrays for name, arrays in layers.items() if arrays}


def _arrays(path: Path, layer: str, group: Any) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    arrays = {}
    for name in map(_text, group.attrs["weight_names"]):
        value = np.asarray(group[name], dtype=np.float32)
        if not np.isfinite(value).all():
            raise CheckpointError(f"'{name}' in {path} has values that are not finite: the file is damaged, or its training failed")
        arrays[name.rpartition("/")[2].partition(":")[0]] = value
    return arrays


def _text(name: Any) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)


def by_kind(layers: Layers) -> dict[str, list[str]]:
    """The names of the layers that are "dense", "conv" and "norm", by what arrays they hold, in the order in which they were made.

    Keras counts layers of a kind as they are made: dense, dense_1 and so on, or dense_1, dense_2 in older versions. Where other names stand
    there, those of a kind keep the order of the file, which follows the depth of the network.
    """
    kinds: dict[str, list[str]] = {"dense": [], "conv": [], "norm": [], "other": []}
    for name, arrays in layers.items():
        kinds[_kind(arrays)].append(name)
    return {kind: sorted(names, key=_number) if is_counted(names) else names for kind, names in kinds.items()}


def _kind(arrays: Mapping[str, NDArray[np.float32]]) -> str:
    if {"moving_mean", "moving_variance"} <= arrays.keys():
        return "norm"
    kernel = arrays.get("kernel")
    return {2: "dense", 4: "conv"}.get(0 if kernel is None else kernel.ndim, "other")


def is_counted(names: list[str]) -> bool:
    """Whether layers of one kind have the names that Keras gives: one stem, and a number after it or none."""
    return len({re.sub(r"_\d+$", "", name) for name in names}) == 1


def _number(name: str) -> int:
    found = re.search(r"_(\d+)$", name)
    return int(found[1]) if found else 0
