"""Reads what Limner 0.1 wrote: folders, whose four formats became one in version 2, and settings that have another name now.

It can go when nobody has such folders and recipes any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.core.errors import CheckpointError

FORMATS: dict[Any, str] = {
    "limner-model": "method",
    "limner-matching": "matching",
    "limner-text-encoder": "text",
    "limner-networks": "networks",
    1: "judge",
}
"""The formats of version 0.1, and what they held."""

RENAMED: dict[tuple[str, Any], Any] = {("mismatch", "shift"): "neighbour"}
"""Values of a method's settings in version 0.1, and today's name for each."""


def renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with today's names for their values."""
    return {name: RENAMED.get((name, value), value) if isinstance(value, str) else value for name, value in settings.items()}


def renewed(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The description of such a folder as today's version has it. Raises CheckpointError for a version of theirs that never was."""
    kind = FORMATS[config["format"]]
    if config.get("version", 1) != 1:
        raise CheckpointError(f"{folder} has version {config['version']} of {config['format']}: use the Limner that wrote it")
    kept = {name: value for name, value in config.items() if name not in ("format", "version", "method", "method_source", "model", "kind")}
    named = {"name": config.get("method", config.get("model", {"judge": "garden-judge"}.get(kind, kind)))}
    if "method_source" in config:
        named["source"] = config["method_source"]
    if "settings" in kept:
        kept["settings"] = renamed(kept["settings"])
    if kind == "text":
        kept["text"] = kept.pop("encoder")
        kept["prefix"] = "text."
    if kind == "judge":
        kept["prefix"] = "judge."
    if kind == "networks":
        kept["weights_file"] = "networks.safetensors"
        kept["by_player"] = True
    return {"format": "limner", "version": 2, "kind": kind, **named, **kept}
