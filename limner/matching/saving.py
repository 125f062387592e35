"""Matching models on disk: their text encoder, and what training changes of the rest."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import msgspec

from limner.core import folder, registry
from limner.core.errors import CheckpointError
from limner.core.trainable import Conditions
from limner.matching.model import MatchingModel
from limner.text.saving import encoder_of

CARD = """# The matching model of a run

The text encoder of the run was trained by it, to match the training captions with their pictures. It judges whether a picture fits its
caption: `limner evaluate RUN` uses it where no other is given.
"""


def save_matching(path: Path, name: str, model: MatchingModel, about: dict[str, Any], card: str) -> None:
    """Write a model folder, whole or not at all. `name` is the model's, as `limner train` takes it; what it does not train is left out."""
    folder.save(path, name, model, model.encoder, about, card)


def save_matcher(path: Path, name: str, model: MatchingModel, about: dict[str, Any]) -> None:
    """Write the matching model with which a run has trained its text encoder, whole or not at all: the judge of what the run paints.

    name: what it is called by in the registry.
    """
    kept = MatchingModel.kept(model)
    config = {
        "name": name,
        "settings": dataclasses.asdict(model.settings),
        "conditions": dataclasses.asdict(model.conditions),
        "looks_with": model.looks_with,
        "about": about,
        "text": {"kind": model.encoder.kind, **model.encoder.config()},
    }
    folder.write(path, "matching", config, {"matching": kept, "text": model.encoder.state_dict()}, CARD)


def load_matching(path: Path | str, device: str = "cpu") -> MatchingModel:
    """Load a matching model from a run folder or model folder, in evaluation mode.

    Raises CheckpointError where there is none or it cannot be read, SettingsError where the network it looks with is not at hand.
    """
    with folder.located(path, "matching") as found:
        saved = folder.read(found, "matching")
    config = saved.config
    with saved.being_read():
        made = cast("type[MatchingModel]", registry.get(config["name"], "matching", "part"))  # a run's matcher is a part of it
        settings: Any = msgspec.convert(config["settings"], made.Settings)
        model = made(settings, msgspec.convert(config["conditions"], Conditions), encoder_of(saved))
        own = saved.part("matching")
        if own.keys() != (model.kept() or MatchingModel.kept(model)).keys():
            raise CheckpointError(f"the weights in {saved.folder} do not fit {config['name']}: use the Limner that wrote them")
        model.load_state_dict(own, strict=False)
    if model.looks_with != config["looks_with"]:
        raise CheckpointError(
            f"{saved.folder} was trained on features of {config['looks_with']}, not of {model.looks_with}: give that network"
        )
    model.about = config["about"]
    model.content_hash = saved.content_hash
    model.eval().requires_grad_(False)
    return model.to(device)
