"""Where other people's weights end up: a model that paints, or networks that wait for the sentences they were trained with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from limner import methods
from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.core.files import sha256, whole_folder
from limner.core.method import Conditions, Method
from limner.model import save_model
from limner.nn.initialization import weights_loaded_next
from limner.text.encoder import TextEncoder
from limner.text.no_text import NoText

FORMAT, VERSION, WEIGHTS = "limner-networks", 1, "networks.safetensors"


def keep_imported(
    name: str, method: Method, players: Collection[str], files: Sequence[Path], out: Path, encoder: TextEncoder | None, source: str
) -> None:
    """Write what was read from other people's files to a Limner folder.

    name: the method's; players: those whose weights the files held; source: the project that the files come from. out: the folder, which
    must not exist or be empty. encoder: the text encoder that the painter was trained with, which makes `out` a model folder; without it
    `out` holds the networks, for `load_networks`: other sentences would mean nothing to them.
    Raises CheckpointError for a folder with something in it, SettingsError for an encoder that does not fit or players that do not paint.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} exists already: choose another --out")
    reads = method.reads_text(method.settings)
    if not reads and encoder is not None:
        raise SettingsError("the generator reads no text: give no text encoder")
    if not reads and any(method.players()[player].averaged for player in players):
        encoder = NoText()
    if encoder is None:
        save_networks(out, name, method, players)
        return
    if not any(method.players()[player].averaged for player in players):
        raise SettingsError("a model folder holds what paints: give the generator's file too, or no text encoder to keep the networks")
    wanted = method.conditions.sentence_width
    if encoder.sentence_width != wanted:
        raise SettingsError(
            f"the text encoder's sentences have {encoder.sentence_width} numbers, the generator wants {wanted}: "
            "give the encoder that it was trained with"
        )
    about = {
        "data": f"what {files[0].name} was trained on",
        "source": source,
        "files": {file.name: sha256(file) for file in files},
    }
    save_model(out, name, method, encoder, about, _card(method, about))


def _card(method: Method, about: Mapping[str, Any]) -> str:
    side, width = method.resolution, method.conditions.sentence_width
    painters = [player.module for player in method.players().values() if player.averaged]
    millions = sum(value.numel() for module in painters for value in module.parameters()) / 1e6
    weights = "\n".join(f"- `{name}`: sha256 {digest}" for name, digest in about["files"].items())
    what, read = ("from captions", f", sentences of {width} numbers") if method.reads_text(method.settings) else ("without captions", "")
    return f"""# {method.title}, {side} px

Paints {side} x {side} pictures {what}. Imported by Limner from files of {about["source"]}:

{weights}

Generator: {millions:.1f} million parameters{read}.

Terms: those of that project, and of the pictures and captions it was trained on.
"""


def save_networks(folder: Path, name: str, method: Method, players: Collection[str]) -> None:
    """Write the networks of some players of a method, whole or not at all. `name` is the method's."""
    modules = {player: method.players()[player].module for player in players}
    tensors = {f"{player}.{key}": value for player, module in modules.items() for key, value in module.state_dict().items()}
    tensors |= {key: value for key, value in method.state_dict().items() if "." not in key}  # what the method itself remembers
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
        settings: Any = msgspec.convert(config["settings"], method_class.Settings)
        conditions = msgspec.convert(config["conditions"], Conditions)
        with weights_loaded_next():
            method = method_class(settings, conditions)
        tensors, players = load_file(folder / WEIGHTS), config["players"]
        for player in players:
            part = {key.removeprefix(f"{player}."): value for key, value in tensors.items() if key.startswith(f"{player}.")}
            method.players()[player].module.load_state_dict(part)
        method.load_state_dict({key: value for key, value in tensors.items() if "." not in key}, strict=False)
    except LimnerError as error:
        raise CheckpointError(str(error)) from error
    except (OSError, ValueError, SafetensorError, msgspec.ValidationError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read the networks in {folder} ({str(error).splitlines()[0]}): copy or import it again") from error
    return method.eval(), players
