"""Where other people's weights end up: a model that paints, or networks that wait for the sentences they were trained with."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from limner.core import folder
from limner.core.errors import CheckpointError, SettingsError
from limner.core.files import sha256
from limner.core.method import Method
from limner.model import save_model
from limner.text.encoder import TextEncoder
from limner.text.no_text import NoText


def keep_imported(
    name: str, method: Method, players: Collection[str], files: Sequence[Path], out: Path, encoder: TextEncoder | None, source: str
) -> str:
    """Write what was read from other people's files to a Limner folder, and return its kind: "method" or "networks".

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
        return "networks"
    if not any(method.players()[player].averaged for player in players):
        raise SettingsError("a model folder holds what paints: give the generator's file too, or no text encoder to keep the networks")
    wanted = method.conditions
    for what, given, width in (
        ("words", encoder.word_width, wanted.word_width),
        ("sentences", encoder.sentence_width, wanted.sentence_width),
    ):
        if width is not None and given != width:
            raise SettingsError(
                f"the text encoder's {what} have {given} numbers, the generator wants {width}: give the encoder that it was trained with"
            )
    if wanted.labels:
        with torch.no_grad():
            method.read_names(encoder.eval())
    about = {
        "data": f"what {files[0].name} was trained on",
        "source": source,
        "files": {file.name: sha256(file) for file in files},
    }
    save_model(out, name, method, encoder, about, _card(method, about))
    return "method"


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


def save_networks(out: Path, name: str, method: Method, players: Collection[str]) -> None:
    """Write the networks of some players of a method, whole or not at all. `name` is the method's."""
    config = {
        "name": name,
        "settings": dataclasses.asdict(method.settings),
        "conditions": dataclasses.asdict(method.conditions),
        "players": list(players),
    }
    folder.write(out, "networks", config, {"method": _tensors(method, players)})


def load_networks(path: Path) -> tuple[Method, list[str]]:
    """The method of a folder that `save_networks` wrote, on the CPU in evaluation mode, and the players whose weights it holds.

    Other players' networks are fresh. Raises CheckpointError where the folder cannot be read.
    """
    saved = folder.read(path, "networks")
    try:
        with saved.being_read():
            method, players = cast("Method", folder.restored(saved, "method", whole=False)), list(saved.config["players"])
            if saved.config.get("by_player"):
                _fill_by_player(method, saved, players)
            elif saved.part("method").keys() != _tensors(method, players).keys():
                raise CheckpointError(f"the weights in {path} do not fit {saved.config['name']}: use the Limner that wrote them")
    except SettingsError as error:
        raise CheckpointError(str(error)) from error
    return method.eval(), players


def _tensors(method: Method, players: Collection[str]) -> dict[str, Tensor]:
    """The tensors of these players' networks, and the method's own, under their names in the method."""
    modules = {id(module) for player in players for module in method.players()[player].module.modules()}
    parts = [name for name, module in method.named_modules() if id(module) in modules]
    return {key: value for key, value in method.state_dict().items() if "." not in key or any(key.startswith(f"{part}.") for part in parts)}


def _fill_by_player(method: Method, saved: folder.Saved, players: Collection[str]) -> None:
    """Give a method the tensors of a folder of version 0.1: those of networks are named by player, its own by their names alone."""
    own = {key: value for key, value in saved.tensors.items() if "." not in key}
    method.load_state_dict(own, strict=False)
    for player in players:
        method.players()[player].module.load_state_dict(saved.part(player))
