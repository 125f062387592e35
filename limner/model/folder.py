"""Models on disk: what is shared, and what ships with Limner.

A model folder holds `model.safetensors` (the text encoder, the networks that paint, their running average, and the style encoder where
there is one), `config.json` (method, settings, vocabulary, where it comes from) and `README.md` (its card).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner import methods
from limner.core.errors import CheckpointError, LimnerError, unknown_name
from limner.core.files import readable, recover, sha256, whole_folder
from limner.core.method import Conditions, Method
from limner.core.plugins import how_to_give
from limner.model.model import Model
from limner.model.style import StyleEncoder
from limner.nn.initialization import weights_loaded_next
from limner.text.encoder import TextEncoder
from limner.text.registry import encoder_config, encoder_from_config

FORMAT, VERSION = "limner-model", 1


def save_model(
    folder: Path,
    name: str,
    method: Method,
    encoder: TextEncoder,
    about: dict[str, Any],
    card: str,
    *,
    style: StyleEncoder | None = None,
) -> None:
    """Write a model folder, whole or not at all. `name` is the method's; the method's present weights are saved, of those players that
    paint. style: a style encoder that goes with them."""
    config: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "method": name,
        **({"method_source": source} if (source := methods.source(name)) else {}),
        "settings": dataclasses.asdict(method.settings),
        "conditions": dataclasses.asdict(method.conditions),
        "text": encoder_config(encoder),
        "about": about,
    }
    tensors = {f"text.{key}": value for key, value in encoder.state_dict().items()}
    tensors |= {f"method.{key}": value for key, value in painting_state(method).items()}
    if style is not None:
        config["style"] = {"widths": style.widths, "channels": style.channels}
        tensors |= {f"style.{key}": value for key, value in style.state_dict().items()}
    try:
        with whole_folder(folder) as fresh:
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, fresh / "model.safetensors")
            (fresh / "model.safetensors").chmod(0o644)  # safetensors leaves it to its owner alone, and it is made to be shared
            config["weights_sha256"] = sha256(fresh / "model.safetensors")
            (fresh / "config.json").write_text(readable(json.dumps(config, ensure_ascii=False, indent=1)) + "\n", encoding="utf-8")
            (fresh / "README.md").write_text(readable(card), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"cannot write the model to {folder}: {error.strerror or error}; free some space or choose another folder"
        ) from error


def painting_state(method: Method) -> dict[str, Tensor]:
    """The tensors of the players that paint or are kept, and the method's own buffers, under their names in the method."""
    kept = [player.module for player in method.players().values() if player.averaged or player.kept]
    painters = {id(module) for part in kept for module in part.modules()}
    names = [name for name, module in method.named_modules() if id(module) in painters]
    return {key: value for key, value in method.state_dict().items() if "." not in key or any(key.startswith(f"{name}.") for name in names)}


def load(name_or_path: str | Path, device: str = "cpu") -> Model:
    """Load a shipped model by name, or one from a run folder or model folder.

    Raises CheckpointError where there is none or it cannot be read, SettingsError for a name that does not exist.
    """
    with folder_of(name_or_path) as folder:
        return load_folder(folder).to(device)


@contextmanager
def folder_of(name_or_path: str | Path) -> Iterator[Path]:
    """The model folder of a shipped model, a run folder, or the folder itself.

    Raises CheckpointError where there is none, SettingsError for a name that does not exist.
    """
    folder = Path(name_or_path)
    if not folder.exists() and str(name_or_path) in shipped_models():
        with resources.as_file(resources.files("limner") / "shipped" / str(name_or_path)) as shipped:
            yield shipped
    elif (folder / "recipe.yaml").exists():
        recover(folder / "model")
        if not (folder / "model").exists():
            raise CheckpointError(
                f"the run {folder} has no model yet: it writes one with its first checkpoint; go on with `limner train --resume`"
            )
        yield folder / "model"
    elif folder.exists():
        yield folder
    elif len(folder.parts) == 1:
        raise unknown_name("shipped model or folder", str(name_or_path), shipped_models())
    else:
        raise CheckpointError(
            f"there is no folder {folder}: give a run folder, a model folder or a shipped name ({', '.join(shipped_models())})"
        )


def shipped_models() -> list[str]:
    """Names of the models that come with Limner."""
    shipped = resources.files("limner") / "shipped"
    return sorted(entry.name for entry in shipped.iterdir() if (entry / "config.json").is_file() and _describes_model(entry))


def _describes_model(entry: Any) -> bool:
    return bool(json.loads((entry / "config.json").read_text(encoding="utf-8")).get("format") == FORMAT)


def load_folder(folder: Path) -> Model:
    """Load a model folder onto the CPU."""
    config = read_config(folder)
    weights = folder / "model.safetensors"
    try:
        if sha256(weights) != config["weights_sha256"]:
            raise CheckpointError(f"{weights} is not the file its config.json speaks of (cut short or changed): copy the folder again")
        method_class = _method_class(config, folder)
        settings: Any = msgspec.convert(config["settings"], method_class.Settings)
        with weights_loaded_next():
            method = method_class(settings, msgspec.convert(config["conditions"], Conditions))
        encoder = encoder_from_config(config["text"])
        tensors = load_file(weights)
        encoder.load_state_dict(_part(tensors, "text."))
        style = None
        if "style" in config:
            style = StyleEncoder(config["style"]["widths"], config["style"]["channels"], method.conditions.resolution)
            style.load_state_dict(_part(tensors, "style."))
        missing, unexpected = method.load_state_dict(_part(tensors, "method."), strict=False)
        if unexpected or set(missing) & painting_state(method).keys():
            raise CheckpointError(f"the weights in {folder} do not fit {config['method']}: use the Limner that wrote them")
    except LimnerError as error:
        raise CheckpointError(str(error)) from error
    except (OSError, SafetensorError, msgspec.ValidationError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read the model in {folder} ({str(error).splitlines()[0]}): copy the folder again") from error
    return Model(method, encoder, config["about"], style)


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder, checked to be of this version."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} is no model or run folder (no config.json, no recipe.yaml): give one that `limner train` wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path} ({error}): copy the folder again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{path} does not describe a Limner model: give a folder that `limner train` wrote")
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{folder} is a model of version {config.get('version')}, this Limner reads version {VERSION}: "
            "use the Limner that wrote it, or train it again"
        )
    return config


def _method_class(config: dict[str, Any], folder: Path) -> type[Method]:
    """The class that a model folder names. Nothing in the folder is executed: a method from outside must have been given or installed."""
    name, source = config["method"], config.get("method_source")
    if isinstance(source, str) and name not in methods.names():
        raise CheckpointError(f"{folder} needs the method '{name}', which is no part of Limner: {how_to_give(source)}")
    return methods.get(name)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
