"""HDF5 files as Keras writes weights to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Layers = Mapping[str, Mapping[str, Any]]


def write_weights(path: Path, layers: Layers, *, as_text: bool = False, within: str | None = None) -> Path:
    """layers: arrays by layer and name, in the order of the file. as_text: names as newer writers leave them; within: a group."""
    import h5py

    def names(values: list[str]) -> Any:
        return np.array(values, dtype=h5py.string_dtype()) if as_text else np.array([value.encode() for value in values])

    with h5py.File(path, "w") as file:
        root = file.create_group(within) if within else file
        root.attrs["layer_names"] = names(list(layers))
        root.attrs["backend"] = "tensorflow" if as_text else b"tensorflow"
        for layer, arrays in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = names([f"{layer}/{name}:0" for name in arrays]) if arrays else np.zeros(0)
            for name, value in arrays.items():
                group[f"{layer}/{name}:0"] = np.asarray(value, dtype=np.float32)
    return path


def glove_file(path: Path, words: list[str], vectors: Any) -> Path:
    """A text file of word vectors whose numbers are read back exactly."""
    rows = [" ".join([word, *map(repr, map(float, row))]) for word, row in zip(words, np.asarray(vectors), strict=True)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
