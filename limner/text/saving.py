"""Text encoders on disk: a folder with `model.safetensors`, `config.json` (vocabulary included) and, where given, a card."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from limner.core.errors import CheckpointError, LimnerError, unknown_name
from limner.core.files import readable
from limner.text.encoder import TextEncoder
from limner.text.registry import encoder_config, encoder_from_config

FORMAT = "limner-text-encoder"
VERSION = 1
_SHIPPED_SUFFIX = "-text"


def save_encoder(encoder: TextEncoder, folder: str | Path, card: str | None = None) -> None:
    """Write an encoder to a folder, whole or not at all: a folder that exists is replaced once the new one is complete."""
    folder = Path(folder)
    fresh, old = (folder.with_name(f".{folder.name}.{word}-{os.getpid()}") for word in ("new", "old"))
    try:
        fresh.mkdir(parents=True)
        weights = fresh / "model.safetensors"
        save_file({name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()}, weights)
        weights.chmod(0o644)  # safetensors leaves it to its owner alone, which an installed package cannot use
        config = {"format": FORMAT, "version": VERSION, "weights_sha256": _sha256(weights), "encoder": encoder_config(encoder)}
        (fresh / "config.json").write_text(readable(json.dumps(config, ensure_ascii=False, indent=1)) + "\n", encoding="utf-8")
        if card is not None:
            (fresh / "README.md").write_text(readable(card), encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except OSError as error:
        what = f"cannot write the text encoder to {folder} ({error.strerror or error})"
        raise CheckpointError(f"{what}: free some space or choose another folder") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def load_encoder(folder: str | Path) -> TextEncoder:
    """Read an encoder that `save_encoder` wrote: on the CPU, in evaluation mode. Raises CheckpointError where it cannot be read."""
    folder = Path(folder)
    config = _read_config(folder)
    weights = folder / "model.safetensors"
    try:
        if _sha256(weights) != config.get("weights_sha256"):
            what = f"{weights} is not the file that its config.json speaks of (cut short or changed)"
            raise CheckpointError(f"{what}: copy or save the folder again")
        encoder = encoder_from_config(config["encoder"])
        encoder.load_state_dict(load_file(weights))
    except LimnerError as error:
        raise CheckpointError(str(error)) from error
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"cannot read the text encoder in {folder} ({reason}): copy or save the folder again") from error
    return encoder.eval()


def shipped_encoders() -> list[str]:
    """Names of the encoders that come with Limner."""
    shipped = resources.files("limner") / "shipped"
    return sorted(
        entry.name.removesuffix(_SHIPPED_SUFFIX)
        for entry in shipped.iterdir()
        if entry.name.endswith(_SHIPPED_SUFFIX) and (entry / "config.json").is_file()
    )


def load_shipped_encoder(name: str) -> TextEncoder:
    """Load an encoder that comes with Limner, such as "garden"."""
    if name not in shipped_encoders():
        raise unknown_name("shipped text encoder", name, shipped_encoders())
    with resources.as_file(resources.files("limner") / "shipped" / f"{name}{_SHIPPED_SUFFIX}") as folder:
        return load_encoder(folder)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} holds no text encoder (no config.json): give a folder that a run or save_encoder wrote") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path} ({error}): copy or save the folder again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{path} does not describe a text encoder: give a folder that a run or save_encoder wrote")
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{folder} is of version {config.get('version')}, this Limner reads version {VERSION}: "
            "use the Limner that wrote it, or train the encoder again"
        )
    return config


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
