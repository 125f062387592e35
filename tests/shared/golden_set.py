"""A folder of stored results: what it holds, read from its own json file."""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

ROOT = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden"))


class GoldenSet:
    """One system's facts and arrays. Skips the test, saying so, where the folder or the file is missing."""

    def __init__(self, system: str, name: str = "golden.json", root: Path = ROOT) -> None:
        self.folder = root / system
        if not (self.folder / name).exists():
            pytest.skip(f"no {system}/{name} in {root}: set LIMNER_GOLDEN to the folder that has one")
        self.facts: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        own = Path(name).with_suffix(".npz").name  # next to `extra.json` lies `extra.npz`
        default = own if (self.folder / own).exists() else "golden.npz"
        with np.load(self.folder / self.facts.get("arrays_file", default), allow_pickle=False) as arrays:
            self.arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        for name, entry in self.facts["arrays"].items():
            assert name not in self.arrays or list(self.arrays[name].shape) == entry["shape"], name

    @property
    def config(self) -> dict[str, Any]:
        return self.facts["config"]

    def part(self, name: str) -> Any:
        """One entry of the facts. Skips the test where this set has none."""
        if not self.facts.get(name):
            pytest.skip(f"{self.folder} has no {name}")
        return self.facts[name]

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What is given: pictures [B, 3, S, S] in [-1, 1] under their names without `_u8`, all else as stored."""
        found = {}
        for name, entry in self.facts["arrays"].items():
            if entry["role"] == "input" and name in self.arrays:
                value = self.arrays[name]
                found[name.removesuffix("_u8")] = value.float() / 127.5 - 1 if name.endswith("_u8") else value
        return found

    @property
    def outputs(self) -> dict[str, Tensor]:
        """What is to be compared, by name."""
        return {name: value for name, value in self.arrays.items() if self.facts["arrays"][name]["role"] == "output"}

    def stored(self, kind: str) -> Any:
        """All that is compared of one kind: "arrays", "losses" or "gradients". Skips the test where this set has none."""
        return self.outputs if kind == "arrays" else self.part({"losses": "loss_values", "gradients": "grad_l2_norms"}[kind])

    def sides(self, kind: str) -> list[int]:
        """Sides of the stored pictures of one kind ("real", "wrong", "fake"), from small to large."""
        return sorted(int(found[1]) for name in self.arrays if (found := re.fullmatch(rf"{kind}(\d+)_u8", name)))

    def views(self, name: str, pictures: Tensor) -> dict[str, Tensor]:
        """Pictures [B, 3, S, S] as they are stored: whole, a part that the note says, or mean, deviation and sum of sizes [B, 3, 3]."""
        wide = pictures.double()
        found = {name: pictures}
        found[f"{name}_stats"] = torch.stack([wide.mean((2, 3)), wide.std((2, 3), correction=0), wide.abs().sum((2, 3))], dim=-1)
        for key, entry in self.facts["arrays"].items():
            if key.startswith(f"{name}_") and (cut := re.search(r"x\[:, :, (.*?), (.*?)\]", entry.get("note", ""))):
                rows, columns = (slice(*(int(part) if part else None for part in text.split(":"))) for text in cut.groups())
                found[key] = pictures[:, :, rows, columns]
        return found

    def by_recipe(self, entry: str) -> dict[str, Tensor]:
        """A state dict that is stored as names and shapes: a function of each name, with the set's prefix before it, and of its shape."""
        prefixes = [self.facts[entry], self.facts]
        if (self.folder / "golden.json").exists():
            prefixes.append(json.loads((self.folder / "golden.json").read_text(encoding="utf-8")))
        prefix = next((facts["recipe_key_prefix"] for facts in prefixes if "recipe_key_prefix" in facts), "")
        return {key: by_recipe(key, shape, prefix) for key, shape in self.facts[entry]["keys_and_shapes"]}


def by_recipe(key: str, shape: list[int], prefix: str = "") -> Tensor:
    """A tensor as the stored recipe makes it from its name."""
    draw = np.random.RandomState(zlib.crc32((prefix + key).encode()) & 0x7FFFFFFF)
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_var"):
        value = draw.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        value = 0.1 * draw.standard_normal(shape)
    elif len(shape) < 2:
        value = (1 if key.endswith("weight") else 0) + 0.1 * draw.standard_normal(shape)
    else:
        value = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))
