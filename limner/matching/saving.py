"""Matching models on disk: a folder with `model.safetensors`, `config.json` and `README.md`, as models that paint have."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.core.errors import CheckpointError, LimnerError
from limner.core.files import readable, sha256, whole_folder
from limner.core.method import Conditions
from limner.matching.model import MatchingModel
from limner.matching.registry import FORMAT, get, model_folder
from limner.text.encoder import TextEncoder
from limner.text.registry import encoder_config, encoder_from_config

VERSION = 1


def save_matching(folder: Path, name: str, model: MatchingModel, about: dict[str, Any], card: str) -> None:
    """Write a model folder, whole or not at all. `name` is the model's, as `limner train` takes it; what it does not train is left out."""
    config = {
        "format": FORMAT,
        "version": VERSION,
        "model": name,
        "settings": dataclasses.asdict(model.settings),
        "conditions": dataclasses.asdict(model.conditions),
        "text": encoder_config(model.encoder),
        "looks_with": model.looks_with,
        "about": about,
    }
    tensors = {f"text.{key}": value for key, value in model.encoder.state_dict().items()}
    tensors |= {f"matching.{key}": value for key, value in model.trained().items()}
    try:
        with whole_folder(folder) as fresh:
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, fresh / "model.safetensors")
            (fresh / "model.safetensors").chmod(0o644)  # safetensors leaves it to its owner alone, and it is made to be shared
            config["weights_sha256"] = sha256(fresh / "model.safetensors")
            (fresh / "config.json").write_text(readable(json.dumps(config, ensure_ascii=False, indent=1)) + "\n", encoding="utf-8")
            (fresh / "README.md").write_text(readable(card), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"cannot write the model to {folder} ({error.strerror or error}): free some space") from error


def load_matching(path: Path | str, device: str = "cpu") -> MatchingModel:
    """Load a matching model from a run folder or model folder, in evaluation mode.

    Raises CheckpointError where there is none or it cannot be read, SettingsError where the network it looks with is not at hand.
    """
    folder = model_folder(Path(path))
    config, tensors = _read(folder)
    try:
        made = get(config["model"])
        settings: Any = msgspec.convert(config["settings"], made.Settings)
        model = made.from_saved(settings, msgspec.convert(config["conditions"], Conditions), encoder_from_config(config["text"]))
        model.encoder.load_state_dict(_part(tensors, "text."))
        own = _part(tensors, "matching.")
        if own.keys() != model.trained().keys():
            raise CheckpointError(f"the weights in {folder} do not fit {config['model']}: use the Limner that wrote them")
        model.load_state_dict(own, strict=False)
    except (RuntimeError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise CheckpointError(f"cannot read the model in {folder} ({str(error).splitlines()[0]}): copy the folder again") from error
    if model.looks_with != config["looks_with"]:
        raise CheckpointError(f"{folder} was trained on features of {config['looks_with']}, not of {model.looks_with}: give that network")
    model.about = config["about"]
    model.content_hash = str(config["weights_sha256"])[:12]
    model.eval().requires_grad_(False)
    return model.to(device)


def load_matching_encoder(path: Path | str) -> TextEncoder:
    """The text encoder of a matching model; what the model looks at pictures with is not needed."""
    folder = model_folder(Path(path))
    config, tensors = _read(folder)
    try:
        encoder = encoder_from_config(config["text"])
        encoder.load_state_dict(_part(tensors, "text."))
    except (LimnerError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read the text encoder in {folder} ({str(error).splitlines()[0]}): copy the folder again") from error
    return encoder.eval()


_WANTED = "give the folder of one that `limner train sje` (or clip, damsm, vs-similarity) or `limner import clip` wrote"
_OTHER_KINDS = {
    "limner-model": "holds a model that paints captions, and does not say how well they fit a picture",
    "limner-networks": "holds networks alone, without a text encoder",
    "limner-text-encoder": "holds a text encoder alone, which sees no pictures",
}
"""What a folder of another format holds."""


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    weights = folder / "model.safetensors"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            found = _OTHER_KINDS.get(str(config.get("format")) if isinstance(config, dict) else "", "is no matching model")
            raise CheckpointError(f"{folder} {found}: {_WANTED}")
        if config.get("version") != VERSION:
            raise CheckpointError(
                f"{folder} is of version {config.get('version')}, this Limner reads version {VERSION}: use the Limner that wrote it"
            )
        if sha256(weights) != config["weights_sha256"]:
            raise CheckpointError(f"{weights} is not the file its config.json speaks of (cut short or changed): copy the folder again")
        return config, load_file(weights)
    except FileNotFoundError as error:
        problem = f"{folder} holds no matching model (no {Path(error.filename or 'config.json').name})"
        if not folder.exists():
            shipped = resources.files("limner") / "shipped" / str(folder) / "config.json"
            problem = f"there is no folder {folder}"
            if shipped.is_file():
                kind = json.loads(shipped.read_text(encoding="utf-8")).get("format")
                problem = f"the shipped '{folder}' {_OTHER_KINDS.get(kind, 'is no matching model')}"
        raise CheckpointError(f"{problem}: {_WANTED}") from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"cannot read the matching model in {folder} ({error}): copy the folder again") from error


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
