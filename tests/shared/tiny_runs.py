"""Runs of any method that take a second, and their states."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from limner import methods
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.training.checkpoints import Checkpoints


def tiny(name: str, steps: int, resolution: int = 32, **training: Any) -> Recipe:
    """The preset for CPUs at its smallest: few steps of few small pictures in each phase. training: laid over the training settings."""
    made = methods.get(name)
    recipe = from_preset(name, "cpu", made.world, resolution)
    fields = [field.name for field in dataclasses.fields(recipe.method_settings)]
    small: dict[str, Any] = {field: 4 for field in fields if field.endswith("batch_size")}
    small |= {field: (4,) for field in fields if field.endswith("batch_sizes")}  # of each phase
    small |= {field: 3 for field in fields if field == "halvings"}  # few codes to write
    values = {"steps": steps, "log_every": 1, "checkpoint_every": 1, "sample_every": 1000, "device": "cpu"} | training
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, **small),
        training=dataclasses.replace(recipe.training, **values),
        text=dataclasses.replace(recipe.text, encoder="garden") if made.world != "garden" else recipe.text,  # which no run trains first
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=40),
    )


def state_of(run: Path) -> dict[str, Any]:
    """A run's newest checkpoint."""
    state = Checkpoints(run).load()
    assert state is not None
    return state


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal bit for bit, the time that they took apart."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[key], other[key]) for key in one if key not in ("seconds", "core_seconds"))
        )
    if isinstance(one, (list, tuple)):
        return isinstance(other, (list, tuple)) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
