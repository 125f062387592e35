"""Matching models by name. Listing them imports nothing."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from limner.core.errors import unknown_name
from limner.core.files import recover

if TYPE_CHECKING:
    from limner.matching.model import MatchingModel

MODELS: Mapping[str, tuple[str, str]] = {
    "clip": ("limner.matching.models.clip", "CLIP"),
    "damsm": ("limner.matching.models.damsm", "DAMSM"),
    "sje": ("limner.matching.models.sje", "SJE"),
    "vs-similarity": ("limner.matching.models.vs_similarity", "VSSimilarity"),
}
"""For each name, as `limner train` takes it, the module and the class."""

FORMAT = "limner-matching"
"""What config.json calls the format of a saved matching model."""


def names() -> list[str]:
    """The names of all matching models."""
    return sorted(MODELS)


def source(name: str) -> Path:
    """The file of a matching model."""
    return Path(__file__).parents[2].joinpath(*MODELS[name][0].split(".")).with_suffix(".py")


def get(name: str) -> type[MatchingModel]:
    """The class of a matching model, by name. Raises SettingsError, with the nearest name, where there is none."""
    if name not in MODELS:
        raise unknown_name("matching model", name, MODELS)
    module, made = MODELS[name]
    found: type[MatchingModel] = getattr(importlib.import_module(module), made)
    return found


def is_matching(path: Path | str) -> bool:
    """Whether a folder is a matching model, or a run that has trained one."""
    try:
        config = json.loads((model_folder(Path(path)) / "config.json").read_text(encoding="utf-8"))
        return bool(config["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def model_folder(path: Path) -> Path:
    """The model folder of a run, or the folder itself."""
    if (path / "recipe.yaml").exists():
        recover(path / "model")
        return path / "model"
    return path
