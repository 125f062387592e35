"""Text encoders on disk, alone or as part of whatever reads with them."""

from __future__ import annotations

from pathlib import Path

from limner.core import folder
from limner.core.errors import CheckpointError, SettingsError, unknown_name
from limner.core.folder import Saved
from limner.text.bert import is_pretrained, load_bert
from limner.text.encoder import TextEncoder
from limner.text.registry import encoder_config, encoder_from_config

_SHIPPED_SUFFIX = "-text"


def save_encoder(encoder: TextEncoder, path: str | Path, card: str | None = None) -> None:
    """Write an encoder to a folder, whole or not at all: a folder that exists is replaced once the new one is complete."""
    config = {"name": "text", "text": encoder_config(encoder)}
    folder.write(Path(path), "text", config, {"text": encoder.state_dict()}, card)


def load_encoder(path: str | Path) -> TextEncoder:
    """The text encoder of any folder that holds one, or of a run: on the CPU, in evaluation mode.

    It may be an encoder by itself, or that of a model that paints or of a matching model, of which nothing else is built; or a pretrained
    sentence encoder (`limner.text.bert`). Raises CheckpointError where there is none or it cannot be read.
    """
    if is_pretrained(Path(path)):
        return load_bert(Path(path))
    with folder.located(path, "text") as found:
        return encoder_of(folder.read(found, "text", "method", "matching"))


def encoder_of(saved: Saved) -> TextEncoder:
    """The text encoder that a folder holds, with its weights, in evaluation mode."""
    with saved.being_read():
        try:
            encoder = encoder_from_config(saved.config["text"])
        except SettingsError as error:  # a kind of encoder from a later version
            raise CheckpointError(f"cannot read a text encoder from {saved.folder} ({error}): use the Limner that wrote it") from error
        encoder.load_state_dict(saved.part("text"))
    return encoder.eval()


def shipped_encoders() -> list[str]:
    """Names of the encoders that come with Limner."""
    return [name.removesuffix(_SHIPPED_SUFFIX) for name in folder.shipped("text")]


def load_shipped_encoder(name: str) -> TextEncoder:
    """Load an encoder that comes with Limner, such as "garden"."""
    if name not in shipped_encoders():
        raise unknown_name("shipped text encoder", name, shipped_encoders())
    return load_encoder(f"{name}{_SHIPPED_SUFFIX}")


def named_encoder(name: str, setting: str = "text.encoder") -> TextEncoder:
    """The text encoder of a shipped name, or of a run, model or encoder folder.

    setting: where the name was given, for the error. Raises SettingsError where there is nothing of that name, CheckpointError where it
    holds no text encoder.
    """
    if Path(name).exists():
        return load_encoder(name)
    if name not in shipped_encoders():
        known = ", ".join(shipped_encoders())
        raise SettingsError(f"{setting} is '{name}': there is no such folder, and the shipped encoders are {known}")
    return load_shipped_encoder(name)
