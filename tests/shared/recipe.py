"""Weights that golden sets give by a recipe: from numpy alone, keyed on the names of the authors' state dictionary."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def recipe_weights(facts: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Tensor]:
    """Every tensor of an entry of golden.json that has a `recipe` and `keys_and_shapes`.

    facts: the whole of golden.json. `recipe_key_prefix`, in either, goes before a key where its seed is made; a factor for tensors of more
    than one dimension is read from the recipe's words.
    """
    prefix = entry.get("recipe_key_prefix", facts.get("recipe_key_prefix", ""))
    factor = re.search(r"multiplied by ([0-9]+(?:\.[0-9]+)?)", entry["recipe"])
    return {key: _drawn(key, shape, prefix, float(factor[1]) if factor else 1.0) for key, shape in entry["keys_and_shapes"]}


def _drawn(key: str, shape: list[int], prefix: str, factor: float) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    draw = np.random.RandomState(zlib.crc32((prefix + key).encode()) & 0x7FFFFFFF)
    if key.endswith("running_var"):
        value = draw.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        value = 0.1 * draw.standard_normal(shape)
    elif len(shape) < 2:
        value = float(key.endswith("weight")) + 0.1 * draw.standard_normal(shape)
    else:
        value = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    tensor = torch.from_numpy(np.asarray(value).astype(np.float32))
    return tensor * factor if len(shape) > 1 else tensor
