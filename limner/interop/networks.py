"""A method's networks without a text encoder: where other people's weights wait for the sentences that they were trained with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from limner import methods
from limner.core.errors import CheckpointError, LimnerError
from limner.core.files import sha256, whole_folder
from limner.core.method import Conditions, Method

FORMAT, VERSION, WEIGHTS = "limner-networks", 1, "networks.safetensors"


def save_networks(folder: Path, name: str, method: Method, players: Collection[str]) -> None:
    """Write the networks of some players of a method, whole or not at all. `name` is the method's."""
    modules = {player: method.players()[player].module for player in players}
    tensors = {f"{player}.{key}": value for player, module in modules.items() for key, value in module.state_dict().items()}
    config = {
        "format": FORMAT,
        "version": VERSION,
        "method": name,
        "settings": dataclasses.asdict(method.settings),
        "conditions": dataclasses.asdict(method.conditions),
        "players": list(modules),
    }
    try:
        with whole_folder(folder) as fresh:
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, fresh / WEIGHTS)
            config["weights_sha256"] = sha256(fresh / WEIGHTS)
            (fresh / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"cannot write the networks to {folder}: {error.strerror or error}; free some space or choose another folder"
        ) from error


def load_networks(folder: Path) -> tuple[Method, list[str]]:
    """The method of a folder that `save_networks` wrote, on the CPU in evaluation mode, and the players whose weights it holds.

    Other players' networks are fresh. Raises CheckpointError where the folder cannot be read.
    """
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict) or (config.get("format"), config.get("version")) != (FORMAT, VERSION):
            raise CheckpointError(f"{folder} holds no networks of this version: give a folder that `limner import` wrote")
        if sha256(folder / WEIGHTS) != config["weights_sha256"]:
            raise CheckpointError(f"{folder / WEIGHTS} is not the file its config.json speaks of: copy or import the folder again")
        method_class = methods.get(config["method"])
        method = method_class(msgspec.convert(config["settings"], method_class.Settings), msgspec.convert(config["conditions"], Conditions))
        tensors, players = load_file(folder / WEIGHTS), config["players"]
        for player in players:
            part = {key.removeprefix(f"{player}."): value for key, value in tensors.items() if key.startswith(f"{player}.")}
            method.players()[player].module.load_state_dict(part)
    except LimnerError as error:
        raise CheckpointError(str(error)) from error
    except (OSError, ValueError, SafetensorError, msgspec.ValidationError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read the networks in {folder} ({str(error).splitlines()[0]}): copy or import it again") from error
    return method.eval(), players
